import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from experiments import allocation
from experiments.forms import equal_weights
from experiments.models import Assignment, Experiment, ExperimentEvent, State, Variant
from tests.experiments.factories import NOW, draft, running, stopped, units

pytestmark = pytest.mark.django_db

LIST = "/admin/experiments/experiment/"
ADD = "/admin/experiments/experiment/add/"
ASSIGNMENTS = "/admin/experiments/assignment/"
ARMS = [("gpt-4", "50", True), ("claude-2", "30", False), ("llama2-70b", "20", False)]


def page(experiment: Experiment, action: str = "change") -> str:
    return f"{LIST}{experiment.pk}/{action}/"


def text(answer: Any) -> str:
    """What a reader sees: no tags, single spaces."""
    body = re.sub(r"(?s)<(script|style|head).*?</\1>", "", answer.content.decode())
    return re.sub(r"\s+", " ", unescape(strip_tags(body)))


def form(
    arms: list[tuple[str, str, bool]], experiment: Experiment | None = None, **changes: Any
) -> dict[str, Any]:
    """What a browser sends for an experiment with these (key, weight in %, is control); known keys are edited rows."""
    known = {} if experiment is None else {row.key: row for row in experiment.variants.all()}
    rows = sorted(arms, key=lambda arm: arm[0] not in known)
    data = {
        "key": "llm_model_ab_test",
        "name": "Which model",
        "unit_kind": "user",
        "coverage_bp": "100",
        "seen_version": "" if experiment is None else experiment.version,
        "variants-TOTAL_FORMS": len(rows),
        "variants-INITIAL_FORMS": sum(arm[0] in known for arm in rows),
        "events-TOTAL_FORMS": 0,
        "events-INITIAL_FORMS": 0,
    }
    for number, (key, weight, is_control) in enumerate(rows):
        data |= {f"variants-{number}-key": key, f"variants-{number}-weight_bp": weight}
        data |= {f"variants-{number}-config": f'{{"model": "{key}"}}'}
        data |= {f"variants-{number}-is_control": "on"} if is_control else {}
        if key in known:
            data |= {
                f"variants-{number}-id": known[key].pk,
                f"variants-{number}-experiment": known[key].experiment_id,
            }
    return data | changes


def stored() -> list[tuple[str, int, bool]]:
    return list(Variant.objects.order_by("position").values_list("key", "weight_bp", "is_control"))


def test_add_stores_a_draft_with_variants_in_order(admin_client: Client) -> None:
    answer = admin_client.post(ADD, form(ARMS, coverage_bp="12.34"))
    experiment = Experiment.objects.get()
    assert answer.headers["Location"] == page(experiment)
    assert (experiment.state, experiment.coverage_bp, experiment.version) == (State.DRAFT, 1_234, 1)
    assert stored() == [("gpt-4", 5_000, True), ("claude-2", 3_000, False), ("llama2-70b", 2_000, False)]
    assert Variant.objects.get(key="gpt-4").config == {"model": "gpt-4"}


def test_add_page_suggests_the_reader_as_owner(admin_client: Client, admin_user: User) -> None:
    form_shown = admin_client.get(ADD).context["adminform"].form
    assert form_shown["owner"].value() == admin_user.pk


@pytest.mark.parametrize("count", [2, 3, 6, 7, 10])
def test_add_without_weights_shares_equally(admin_client: Client, count: int) -> None:
    admin_client.post(ADD, form([(f"arm-{number}", "", number == 0) for number in range(count)]))
    weights = [weight for _, weight, _ in stored()]
    assert weights == equal_weights(count)
    assert (sum(weights), max(weights) - min(weights) <= 1) == (10_000, True)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([("a", "50", True), ("b", "40", False)], "The weights sum to 90 %: add 10 %, or empty all of them"),
        ([("a", "33.34", True), ("b", "66.67", False)], "The weights sum to 100.01 %: take away 0.01 %"),
        ([("a", "50", True), ("b", "", False)], "Some weights are empty; fill in all of them, or none"),
        (
            [("a", "50", True), ("b", "50", True)],
            "Several variants are marked as the control; mark only one.",
        ),
        ([("a", "50", True), ("a", "50", False)], "Please correct the duplicate"),
        ([("a", "101", True), ("b", "0", False)], "Enter a percentage from 0 to 100."),
        ([("a", "-1", True), ("b", "0", False)], "Enter a percentage from 0 to 100."),
        ([("a", "NaN", True), ("b", "0", False)], "Enter a percentage, such as 33.34."),
        ([("a", "half", True), ("b", "0", False)], "Enter a percentage, such as 33.34."),
        ([("a", "33.333", True), ("b", "0", False)], "Enter at most two decimals"),
        ([("a b", "50", True), ("b", "50", False)], "Use letters, digits"),
    ],
)
def test_add_with_wrong_variants_says_what_to_do(
    admin_client: Client, arms: list[tuple[str, str, bool]], said: str
) -> None:
    answer = admin_client.post(ADD, form(arms))
    assert answer.status_code == 200
    assert said in text(answer)
    assert not Experiment.objects.exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[]", "must be an object"),
        ('"text"', "must be an object"),
        ("{", "This is not JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": 1, "a": 2}', "the name 'a' stands twice"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_add_with_wrong_config_says_what_is_wrong(admin_client: Client, config: str, said: str) -> None:
    answer = admin_client.post(ADD, form(ARMS, None, **{"variants-1-config": config}))
    assert said in text(answer)
    assert not Experiment.objects.exists()


def test_empty_config_is_the_empty_object(admin_client: Client) -> None:
    admin_client.post(ADD, form(ARMS, None, **{"variants-0-config": ""}))
    assert Variant.objects.get(key="gpt-4").config == {}


def test_change_of_a_draft_moves_the_control_and_counts_the_version(admin_client: Client) -> None:
    experiment = draft()
    arms = [
        ("gpt-4", "10", False),
        ("claude-2", "60", True),
        ("llama2-70b", "20", False),
        ("new", "10", False),
    ]
    answer = admin_client.post(page(experiment), form(arms, experiment))
    assert answer.status_code == 302
    assert stored() == [
        ("gpt-4", 1_000, False),
        ("claude-2", 6_000, True),
        ("llama2-70b", 2_000, False),
        ("new", 1_000, False),
    ]
    assert Experiment.objects.get().version == 2


def test_change_of_a_draft_swaps_keys_and_deletes(admin_client: Client) -> None:
    experiment = draft()
    names = {"variants-0-key": "claude-2", "variants-1-key": "gpt-4", "variants-2-DELETE": "on"}
    weights = {"variants-0-weight_bp": "40", "variants-1-weight_bp": "60"}
    answer = admin_client.post(page(experiment), form(ARMS, experiment, **names, **weights))
    assert answer.status_code == 302
    assert stored() == [("claude-2", 4_000, True), ("gpt-4", 6_000, False)]


def test_change_with_cleared_weights_shares_equally(admin_client: Client) -> None:
    experiment = draft()
    admin_client.post(page(experiment), form([(key, "", control) for key, _, control in ARMS], experiment))
    assert [weight for _, weight, _ in stored()] == [3_334, 3_333, 3_333]


def test_change_of_a_draft_that_somebody_else_changed_is_refused(admin_client: Client) -> None:
    experiment = draft()
    Experiment.objects.update(version=2, name="Another name")
    answer = admin_client.post(page(experiment), form(ARMS, experiment))
    assert "Somebody changed this experiment while you were editing it" in text(answer)
    assert Experiment.objects.get().name == "Another name"


def test_draft_page_lists_what_is_missing(admin_client: Client) -> None:
    said = text(admin_client.get(page(draft({"a": 4_000}, control=None))))
    assert "3 things are missing to start it." in said
    assert "It has 1 of at least two variants; add 1." in said
    assert "The weights sum to 40 %; make them 100 %." in said


def test_start_page_shows_the_effect_and_changes_nothing(admin_client: Client) -> None:
    experiment = draft(coverage_bp=3_000)
    said = text(admin_client.get(page(experiment, "start")))
    assert "It assigns 30 % of all users by weight: gpt-4 50 %, claude-2 30 %, llama2-70b 20 %." in said
    assert "The other 70 % get the config of the control gpt-4" in said
    assert "cannot be edited after the start" in said
    assert Experiment.objects.get().state == State.DRAFT


def test_start_page_of_an_incomplete_draft_has_no_button(admin_client: Client) -> None:
    answer = admin_client.get(page(draft({"a": 10_000}, control="a"), "start"))
    assert "llm_model_ab_test cannot start yet." in text(answer)
    assert "Start the experiment" not in text(answer)


def test_start_runs_with_audit_and_log_entry(admin_client: Client, admin_user: User) -> None:
    experiment = draft()
    answer = admin_client.post(
        page(experiment, "start"), {"version": 1, "reason": "agreed on Monday"}, follow=True
    )
    assert "The experiment llm_model_ab_test is running." in text(answer)
    event = ExperimentEvent.objects.get()
    assert (event.action, event.by, event.reason) == ("start", admin_user, "agreed on Monday")
    assert "Start. agreed on Monday" in LogEntry.objects.get().change_message
    assert Experiment.objects.get().started_at == event.at
    assert abs((datetime.now(UTC) - event.at).total_seconds()) < 60


def test_start_of_what_the_reader_did_not_see_is_refused(admin_client: Client) -> None:
    experiment = draft()
    Experiment.objects.update(version=2)
    answer = admin_client.post(page(experiment, "start"), {"version": 1}, follow=True)
    assert "was changed. Look at it again and repeat." in text(answer)
    assert Experiment.objects.get().state == State.DRAFT
    assert not LogEntry.objects.exists()


def test_stop_page_says_whom_it_moves_and_stop_stops(admin_client: Client) -> None:
    experiment = running({"gpt-4": 0, "claude-2": 10_000})
    for unit in units(3):
        allocation.assign(experiment.key, unit, now=NOW)
    said = text(admin_client.get(page(experiment, "stop")))
    assert "Everyone gets the config of the control gpt-4" in said
    assert "That changes it for 3 of 3 users assigned so far." in said
    admin_client.post(page(experiment, "stop"), {"version": 2})
    assert Experiment.objects.get().state == State.STOPPED


@pytest.mark.parametrize(
    ("make", "action"), [(running, "start"), (stopped, "start"), (stopped, "stop"), (draft, "stop")]
)
def test_move_from_a_wrong_state_is_told(admin_client: Client, make: Any, action: str) -> None:
    experiment = make()
    for call in (admin_client.get, admin_client.post):
        answer = call(page(experiment, action), {"version": experiment.version}, follow=True)
        assert f"experiment is {experiment.state}" in text(answer) or f"is {experiment.state};" in text(
            answer
        )
    assert Experiment.objects.get().version == experiment.version


@pytest.mark.parametrize(("make", "buttons"), [(draft, {"start"}), (running, {"stop"}), (stopped, set())])
def test_page_has_the_buttons_that_the_state_allows(
    admin_client: Client, make: Any, buttons: set[str]
) -> None:
    experiment = make()
    body = admin_client.get(page(experiment)).content.decode()
    assert {action for action in ("start", "stop") if f'href="{page(experiment, action)}"' in body} == buttons


@pytest.mark.parametrize("make", [running, stopped])
def test_started_experiment_is_read_only(admin_client: Client, make: Any) -> None:
    experiment = make()
    body = admin_client.get(page(experiment)).content.decode()
    assert 'name="name"' not in body
    assert 'name="variants-0-key"' not in body
    assert admin_client.post(page(experiment), form(ARMS, experiment)).status_code == 403
    assert admin_client.get(page(experiment, "delete")).status_code == 403


def test_running_page_begins_with_the_state_and_the_picture(admin_client: Client) -> None:
    experiment = running()
    for unit in units(40):
        allocation.assign(experiment.key, unit, now=NOW)
    answer = admin_client.get(page(experiment))
    said = text(answer)
    assert ": 40 users assigned to 3 variants." in said
    chart = answer.context["chart"]
    assert [row[1] for row in chart.rows] == ["20", "12", "8"]
    assert [row[0] for row in chart.rows] == ["gpt-4", "claude-2", "llama2-70b"]
    seen = [Assignment.objects.filter(variant__key=row[0]).count() for row in chart.rows]
    assert [row[2] for row in chart.rows] == [str(n) for n in seen]
    assert said.index("assigned to 3 variants") < said.index("beside what the weights promise")


def test_running_page_without_units_shows_how_to_ask(admin_client: Client) -> None:
    said = text(admin_client.get(page(running())))
    assert "Nobody is assigned yet." in said
    assert "curl http://testserver/api/v1/experiments/llm_model_ab_test/assign" in said


def test_page_shows_the_audit(admin_client: Client) -> None:
    said = text(admin_client.get(page(stopped())))
    assert "state: running → stopped" in said
    assert "state: draft → running" in said


def test_list_says_the_state_of_all_and_the_split(admin_client: Client) -> None:
    running()
    draft(key="next")
    said = text(admin_client.get(LIST))
    assert "1 experiment is running; 1 draft." in said
    assert "gpt-4 50 % control" in said


def test_empty_lists_say_what_to_do(admin_client: Client) -> None:
    assert "Define the first one" in text(admin_client.get(LIST))
    assert "Start an experiment" in text(admin_client.get(ASSIGNMENTS))


def test_assignments_are_found_by_the_whole_unit(admin_client: Client) -> None:
    experiment = running()
    for unit in ("user 1", "user 10", "josé"):
        allocation.assign(experiment.key, unit, now=NOW)
    found = {
        term: [row.unit for row in admin_client.get(ASSIGNMENTS, {"q": term}).context["cl"].result_list]
        for term in ("user 1", "user", "josé", "'; --")
    }
    assert found == {"user 1": ["user 1"], "user": [], "josé": ["josé"], "'; --": []}


def test_assignments_are_filtered_by_experiment_and_its_variants(admin_client: Client) -> None:
    first, second = running({"gpt-4": 10_000, "b": 0}), running({"gpt-4": 0, "c": 10_000}, key="second")
    for experiment in (first, second):
        allocation.assign(experiment.key, "user-1", now=NOW)
    variant = second.variants.get(key="c")
    answer = admin_client.get(ASSIGNMENTS, {"experiment__id__exact": second.pk, "variant": variant.pk})
    assert [(row.experiment, row.variant) for row in answer.context["cl"].result_list] == [(second, variant)]
    assert admin_client.get(ASSIGNMENTS, {"experiment__id__exact": "x", "variant": "y"}).status_code in {
        200,
        302,
    }


def test_assignments_cannot_be_changed(admin_client: Client) -> None:
    allocation.assign(running().key, "user-1", now=NOW)
    row = Assignment.objects.get()
    assert admin_client.get(f"{ASSIGNMENTS}{row.pk}/change/").status_code == 200
    assert admin_client.post(f"{ASSIGNMENTS}{row.pk}/change/", {"unit": "x"}).status_code == 403
    assert admin_client.get(f"{ASSIGNMENTS}{row.pk}/delete/").status_code == 403
    assert admin_client.get(f"{ASSIGNMENTS}add/").status_code == 403


def test_reader_without_change_permission_sees_and_cannot_move(client: Client) -> None:
    reader = User.objects.create_user("reader", password="secret", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(reader)
    experiment = draft()
    assert client.get(page(experiment)).status_code == 200
    assert client.get(page(experiment, "start")).status_code == 403
    assert client.post(page(experiment, "start"), {"version": 1}).status_code == 403
    assert page(experiment, "start") not in client.get(page(experiment)).content.decode()
    assert Experiment.objects.get().state == State.DRAFT


@pytest.mark.parametrize("number", ["999999", "abc", "1'"])
def test_page_of_no_experiment_is_no_error(admin_client: Client, number: str) -> None:
    assert admin_client.get(f"{LIST}{number}/change/").status_code == 302
    assert admin_client.get(f"{LIST}{number}/start/").status_code == 404


def test_every_page_costs_at_most_ten_queries(admin_client: Client) -> None:
    experiments = [draft(key="d"), stopped(key="s"), *(running(key=f"r{number}") for number in range(12))]
    for unit in units(20):
        allocation.assign("r0", unit, now=NOW)
    row = Assignment.objects.first()
    assert row is not None
    paths = [LIST, ADD, ASSIGNMENTS, f"{ASSIGNMENTS}?experiment__id__exact={row.experiment_id}"]
    paths += [f"{ASSIGNMENTS}{row.pk}/change/", page(experiments[0], "start"), page(experiments[2], "stop")]
    paths += [page(experiment) for experiment in experiments[:3]]
    paths += [page(experiment, "history") for experiment in experiments[:1]]
    costs = {}
    for path in paths:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert admin_client.get(path).status_code == 200, path
        costs[path] = len(captured)
    assert max(costs.values()) <= 10, costs
