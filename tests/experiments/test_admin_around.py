"""What stands around experiments: the list, copies, exports and imports, layers, the holdout, how clients ask."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from experiments import layers, lifecycle
from experiments.admin.differences import differences
from experiments.models import Experiment, ExperimentEvent, Holdout, Layer
from experiments.models.audit import SharedEvent
from feedback.models import ApiKey
from tests.experiments.admin_pages import HOLDOUT, IMPORT, LAYERS, LIST, page, text
from tests.experiments.factories import NOW, draft, running, stopped
from tests.experiments.test_admin_moves import archived, person

pytestmark = pytest.mark.django_db


def keys(client: Client, query: str) -> list[str]:
    return [row.key for row in client.get(LIST + query).context["cl"].result_list]


def test_list_hides_archived_ones_until_they_are_asked_for(admin_client: Client) -> None:
    archived()
    draft(key="next")
    assert keys(admin_client, "") == ["next"]
    assert keys(admin_client, "?state=archived") == ["llm_model_ab_test"]
    assert keys(admin_client, "?state=all") == ["next", "llm_model_ab_test"]
    assert keys(admin_client, "?state=nonsense") == ["next"]


def test_list_is_narrowed_by_layer_and_owner(admin_client: Client, admin_user: User) -> None:
    layer = layers.save(Layer(key="prompt"), by=None, now=NOW)
    draft(key="a", layer=layer)
    draft(key="b", owner=admin_user)
    assert keys(admin_client, f"?layer={layer.pk}") == ["a"]
    assert keys(admin_client, f"?owner={admin_user.pk}") == ["b"]
    assert keys(admin_client, "?owner=x&layer=y") == ["b", "a"]


def test_clone_is_a_draft_with_another_salt(admin_client: Client) -> None:
    experiment = running()
    answer = admin_client.post(page(experiment, "clone"), {"key": "again"}, follow=True)
    made = Experiment.objects.get(key="again")
    assert "again is a draft with the same definition" in text(answer)
    assert (made.state, made.salt != experiment.salt, made.variants.count()) == ("draft", True, 3)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("llm_model_ab_test", "There is an experiment"),
        ("a b", "Use letters, digits"),
        ("", "This field is required."),
    ],
)
def test_clone_with_a_wrong_key_is_asked_again(admin_client: Client, key: str, said: str) -> None:
    assert said in text(admin_client.post(page(draft(), "clone"), {"key": key}))
    assert Experiment.objects.count() == 1


def test_export_is_imported_again_from_text_and_from_a_file(admin_client: Client) -> None:
    experiment = draft(targeting={"language": "es"})
    answer = admin_client.get(page(experiment, "export"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="llm_model_ab_test.json"'
    document = answer.content
    admin_client.post(IMPORT, {"document": document.decode(), "key": "pasted"})
    admin_client.post(IMPORT, {"file": SimpleUploadedFile("x.json", document), "key": "uploaded"})
    for key in ("pasted", "uploaded"):
        made = json.loads(admin_client.get(page(Experiment.objects.get(key=key), "export")).content)
        assert made == json.loads(document) | {"key": key}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"key": ""}, "Choose a file, or paste its text."),
        ({"document": "{"}, "This is not JSON"),
        ({"document": "[]"}, "This is no JSON object."),
        ({"document": "{}"}, "format: This is no exported experiment."),
        (
            {"document": {"variants": [{"key": "a", "weight_bp": 10_000, "weight": 3}]}},
            "variants[0].weight: The field 'weight' is not known.",
        ),
        ({"document": {"alpha": "much"}}, "alpha: "),
        ({"document": {"layer": "none"}}, "layer: There is no layer 'none'."),
        ({"document": {}, "key": "a b"}, "Use letters, digits"),
        ({"file": SimpleUploadedFile("x.json", b"\xff\xfe\x00")}, "This is not JSON"),
    ],
)
def test_wrong_import_names_the_field(admin_client: Client, sent: dict[str, Any], said: str) -> None:
    if isinstance(sent.get("document"), dict):
        whole = {
            "format": "triageops.experiment/1",
            "key": "x",
            "definition": {"name": "x"} | sent["document"],
        }
        sent = sent | {"document": json.dumps(whole)}
    answer = admin_client.post(IMPORT, sent)
    assert answer.status_code == 200
    assert said in text(answer)
    assert not Experiment.objects.exists()


def test_copies_and_imports_need_the_permission_to_add(client: Client) -> None:
    experiment = draft()
    client.force_login(person("reader"))
    assert client.get(IMPORT).status_code == 403
    assert client.post(page(experiment, "clone"), {"key": "again"}).status_code == 403
    body = client.get(page(experiment)).content.decode()
    assert page(experiment, "clone") not in body
    assert page(experiment, "export") in body


def test_details_are_edited_after_the_start_and_promises_are_not(admin_client: Client) -> None:
    experiment = running()
    sent = {
        "name": "Better name",
        "hypothesis": "",
        "minimum_days": "7",
        "alpha": "0.2",
        "version": experiment.version,
    }
    admin_client.post(page(experiment, "details"), sent)
    found = Experiment.objects.get()
    assert (found.name, found.alpha, found.version) == ("Better name", 0.05, experiment.version + 1)
    assert "name: Which model → Better name" in text(admin_client.get(page(experiment, "audit")))
    again = admin_client.post(page(experiment, "details"), sent | {"name": "Stale"}, follow=True)
    assert "was changed. Look at it again and repeat." in text(again)


def test_ask_page_has_each_way_to_copy(admin_client: Client) -> None:
    body = text(
        admin_client.get(page(running(targeting={"language": "es"}, unit_attribute="clinic_id"), "ask"))
    )
    assert "/api/v1/experiments/llm_model_ab_test/assign" in body
    assert "/ofrep/v1/evaluate/flags/llm_model_ab_test" in body
    assert '"language": "..."' in body
    assert "/api/features/$TRIAGEOPS_CLIENT_KEY" in body
    assert 'attributes={"clinic_id": "user-1"}' in body


def test_epochs_page_of_a_draft_says_what_will_be_there(admin_client: Client) -> None:
    assert "Epochs appear here from the start on" in text(admin_client.get(page(draft(key="next"), "epochs")))
    said = text(admin_client.get(page(stopped(), "epochs")))
    assert "Epoch 1 · phase 1: start" in said


def test_audit_names_the_api_key() -> None:
    experiment = draft()
    key = ApiKey(name="deploy bot", scopes=[])
    key.take_secret(ApiKey.new_secret())
    key.save()
    lifecycle.start(experiment, by=key, now=NOW)
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    assert "API key deploy bot" in text(client.get(page(experiment, "audit")))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"coverage_bp": 3_000}, {"coverage_bp": 6_000}, ["coverage: 30 % → 60 %"]),
        ({"version": 1}, {"version": 2}, []),
        ({"auto_ship": False}, {"auto_ship": True}, ["auto ship: no → yes"]),
        (
            {"variants": [{"key": "gpt-4", "weight_bp": 5_000, "config": {"a": 1, "b": 2}}]},
            {
                "variants": [
                    {"key": "gpt-4", "weight_bp": 4_000, "config": {"a": 3, "c": None}},
                    {"key": "x", "weight_bp": 1},
                ]
            },
            [
                "variant gpt-4: weight 50 % → 40 %",
                "variant gpt-4: config a 1 → 3",
                "variant gpt-4: config b removed",
                "variant gpt-4: config c = –",
                "variant x: added, 0.01 %",
            ],
        ),
        ({"metrics": [{"key": "cost", "margin": 0}]}, {"metrics": []}, ["metric cost: removed"]),
        (
            {"forced": {"u": "a"}},
            {"forced": {"v": "b"}},
            ["unit v: forced to b, not analysed", "unit u: no longer forced"],
        ),
        (
            {"starts_at": None},
            {"starts_at": "2026-03-01T12:00:00+00:00"},
            ["starts at: – → 2026-03-01 12:00 UTC"],
        ),
        ({"state": "draft"}, {"state": "running", "epoch": 1}, ["state: draft → running", "epoch: – → 1"]),
    ],
)
def test_differences_are_only_what_changed(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    assert differences(before, after) == said


def test_layer_shows_who_has_which_slots(admin_client: Client) -> None:
    layer = layers.save(Layer(key="prompt"), by=None, now=NOW)
    running(key="a", layer=layer, layer_share_bp=3_000)
    stopped(key="b", layer=layer, layer_share_bp=2_000)
    draft(key="c", layer=layer)
    said = text(admin_client.get(LAYERS))
    assert "a 30 %" in said
    assert "free 70 %" in said
    said = text(admin_client.get(f"{LAYERS}{layer.pk}/change/"))
    assert "70 % of the layer prompt is free; 1 experiment has the rest." in said
    assert "b stopped" in said
    assert "c draft" in said


def test_layer_key_is_fixed_after_it_was_made(admin_client: Client) -> None:
    admin_client.post(f"{LAYERS}add/", {"key": "prompt", "description": "x", "reason": "they collide"})
    layer = Layer.objects.get()
    admin_client.post(f"{LAYERS}{layer.pk}/change/", {"key": "other", "description": "y"})
    layer.refresh_from_db()
    assert (layer.key, layer.description) == ("prompt", "y")
    assert admin_client.get(f"{LAYERS}{layer.pk}/delete/").status_code == 403
    answer = admin_client.post(LAYERS, {"action": "delete_selected", "_selected_action": [layer.pk]})
    assert Layer.objects.filter(pk=layer.pk).exists(), answer.status_code


def test_layer_shows_who_changed_it_when_and_why(admin_client: Client, admin_user: User) -> None:
    assert "Every change" not in text(admin_client.get(f"{LAYERS}add/"))
    admin_client.post(f"{LAYERS}add/", {"key": "prompt", "description": "x", "reason": "they <collide>"})
    one = f"{LAYERS}{Layer.objects.get().pk}/change/"
    admin_client.post(one, {"description": "y", "reason": "clearer"})
    admin_client.post(one, {"description": "y", "reason": "nothing differs"})
    assert list(SharedEvent.objects.values_list("action", "by", "reason")) == [
        ("edit", admin_user.pk, "clearer"),
        ("create", admin_user.pk, "they <collide>"),
    ]
    said = text(admin_client.get(one))
    assert "admin edit description: x → y clearer" in said
    assert "admin create key: – → promptdescription: – → x they <collide>" in said


def test_timeline_of_what_is_shared_has_pages(admin_client: Client) -> None:
    for share_bp in range(1, 42):
        layers.hold_out(share_bp, by=None, now=NOW)
    layers.save(Layer(key="global"), by=None, now=NOW)
    assert "the system change share share: 0.4 % → 0.41 %" in text(admin_client.get(HOLDOUT))
    said = text(admin_client.get(HOLDOUT, {"p": 2}))
    assert "share: 0 % → 0.01 %" in said
    assert "0.41 % –" not in said
    assert "key: – → global" not in said


def test_full_layer_refuses_the_start_with_what_to_do(admin_client: Client) -> None:
    layer = layers.save(Layer(key="prompt"), by=None, now=NOW)
    running(key="a", layer=layer, layer_share_bp=9_000)
    experiment = draft(layer=layer, layer_share_bp=2_000)
    answer = admin_client.post(page(experiment, "start"), {"version": 1}, follow=True)
    assert "The layer prompt has 10 % left; the experiment asks for 20 %. Take a smaller share" in text(
        answer
    )
    assert Experiment.objects.get(key="llm_model_ab_test").state == "draft"


def test_holdout_is_made_by_the_first_change_after_its_effects_are_shown(
    admin_client: Client,
) -> None:
    said = text(admin_client.get(HOLDOUT))
    assert "Nobody is held out." in said
    assert "Last changed" not in said
    assert not Holdout.objects.exists()
    running()
    said = text(admin_client.post(f"{HOLDOUT}share/", {"share_bp": "2.5"}))
    assert "leave 2.5 % of all units alone, instead of 0 %" in said
    assert "1 experiment under way keeps the holdout of the start" in said
    assert not Holdout.objects.exists()
    sent = {"share_bp": "2.5", "reason": "yearly", "step": "confirm"}
    answer = admin_client.post(f"{HOLDOUT}share/", sent, follow=True)
    assert "2.5 % of all units are held out" in text(answer)
    assert "admin change share share: 0 % → 2.5 % yearly" in text(answer)
    assert Holdout.objects.get().share_bp == 250
    said = text(admin_client.post(f"{HOLDOUT}share/", {"share_bp": "1"}))
    assert "may take part again" in said


def test_holdout_needs_permissions(client: Client) -> None:
    client.force_login(person("reader", "view_holdout"))
    assert "Change the share" not in text(client.get(HOLDOUT))
    assert client.post(f"{HOLDOUT}share/", {"share_bp": "5", "step": "confirm"}).status_code == 403
    client.force_login(person("stranger"))
    assert client.get(HOLDOUT).status_code == 403


def test_imports_leave_an_audit_row_with_the_person(admin_client: Client, admin_user: User) -> None:
    document = {"format": "triageops.experiment/1", "key": "x", "definition": {"name": "x"}}
    admin_client.post(IMPORT, {"document": json.dumps(document)})
    event = ExperimentEvent.objects.get()
    assert (event.action, event.by) == ("create", admin_user)
