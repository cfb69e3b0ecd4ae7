"""Changes of what is under way: first what they do, then the question; alone or with a second person."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from experiments import allocation, forcing, lifecycle, reviews
from experiments.models import ChangeRequest, EpochKind, Experiment, ExperimentEvent, State, Variant
from tests.experiments.admin_pages import page, text
from tests.experiments.factories import NOW, draft, running, stopped, units
from tests.experiments.test_admin_moves import person

pytestmark = pytest.mark.django_db


def weights(*percent: str, **more: Any) -> dict[str, Any]:
    return {f"weights-{number}-weight_bp": one for number, one in enumerate(percent)} | more


def guarded(forced: dict[str, str] | None = None) -> Experiment:
    """Running, under the two-person rule; grace asked for its start and alan approved it."""
    grace, alan = person("grace", "change_experiment"), person("alan", "approve_experiment")
    experiment = draft(requires_review=True)
    for unit, variant in (forced or {}).items():
        forcing.force(experiment, unit, variant, by=grace, now=NOW)
    asked = lifecycle.request_review(experiment, by=grace, now=NOW)
    return lifecycle.start(lifecycle.approve(asked, by=alan, now=NOW), by=grace, now=NOW)


def asked_for(client: Client, experiment: Experiment) -> ChangeRequest:
    client.force_login(User.objects.get(username="grace"))
    sent = weights(
        "40", "40", "20", step="confirm", kind="minimal_move", version=experiment.version, reason="cheap"
    )
    client.post(page(experiment, "weights"), sent)
    return ChangeRequest.objects.get()


def test_weights_begin_with_what_stands(admin_client: Client) -> None:
    form = admin_client.get(page(running(), "weights")).context["numbers"]
    assert [(field.label, field.value()) for field in form] == [
        ("gpt-4", "50"),
        ("claude-2", "30"),
        ("llama2-70b", "20"),
    ]


def test_weights_show_three_ways_with_what_each_does_before_anything_changes(admin_client: Client) -> None:
    experiment = running()
    for unit in units(200):
        allocation.assign(experiment.key, unit, now=NOW)
    answer = admin_client.post(page(experiment, "weights"), weights("30", "50", "20", step="preview"))
    ways = answer.context["ways"]
    assert [way.kind for way in ways] == [EpochKind.STICKY, EpochKind.MINIMAL_MOVE, EpochKind.RERANDOMISE]
    sticky, minimal, anew = (way.preview.moved_count for way in ways)
    assert sticky == 0 < minimal < anew
    said = text(answer)
    assert "gpt-4 50 % → 30 %, claude-2 30 % → 50 %: which way?" in said
    assert f"Moves {minimal} of 200 units" in said
    assert experiment.epochs.count() == 1


@pytest.mark.parametrize("kind", ["sticky", "minimal_move", "rerandomise"])
def test_weights_are_changed_in_the_chosen_way(admin_client: Client, admin_user: User, kind: str) -> None:
    experiment = running()
    sent = weights("30", "50", "20", step="confirm", kind=kind, version=experiment.version, reason="better")
    answer = admin_client.post(page(experiment, "weights"), sent, follow=True)
    assert "Done: weights gpt-4 30 %, claude-2 50 %, llama2-70b 20 %" in text(answer)
    epoch = experiment.epochs.get(ended_at=None)
    assert (epoch.number, epoch.kind, epoch.by, epoch.reason) == (2, kind, admin_user, "better")
    assert epoch.weights == {"gpt-4": 3_000, "claude-2": 5_000, "llama2-70b": 2_000}
    assert epoch.phase == (2 if kind == "rerandomise" else 1)


@pytest.mark.parametrize(
    ("percent", "said"),
    [
        (("50", "30", "19"), "The weights sum to 99 %; make them 100 %."),
        (("50", "30", "20"), "These are the weights that it has"),
        (("50", "30", ""), "Some weights are empty"),
        (("50.001", "29.999", "20"), "Enter at most two decimals"),
        (("110", "-10", "0"), "Enter a percentage from 0 to 100."),
    ],
)
@pytest.mark.parametrize("step", ["preview", "confirm"])
def test_wrong_weights_are_asked_again(
    admin_client: Client, percent: tuple[str, ...], said: str, step: str
) -> None:
    experiment = running()
    sent = weights(*percent, step=step, kind="sticky", version=experiment.version)
    assert said in text(admin_client.post(page(experiment, "weights"), sent))
    assert experiment.epochs.count() == 1


@pytest.mark.parametrize("kind", ["", "bandit", "start"])
def test_weights_in_no_known_way_are_refused(admin_client: Client, kind: str) -> None:
    experiment = running()
    sent = weights("30", "50", "20", step="confirm", kind=kind, version=experiment.version)
    assert "which way?" in text(admin_client.post(page(experiment, "weights"), sent))
    assert experiment.epochs.count() == 1


def test_back_from_the_previews_keeps_the_numbers(admin_client: Client) -> None:
    answer = admin_client.post(page(running(), "weights"), weights("30", "50", "20", step="edit"))
    assert [field.value() for field in answer.context["numbers"]] == ["30", "50", "20"]
    assert "Step 1 of 2" in text(answer)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("weights", weights("30", "50", "20", kind="sticky")),
        ("coverage", {"coverage_bp": "60"}),
        ("revise", {"config-0": '{"model": "gpt-5"}', "config-1": "{}", "config-2": "{}"}),
    ],
)
def test_stale_change_is_refused(admin_client: Client, name: str, sent: dict[str, Any]) -> None:
    experiment = running()
    answer = admin_client.post(
        page(experiment, name), sent | {"step": "confirm", "version": experiment.version - 1}, follow=True
    )
    assert "was changed. Look at it again and repeat." in text(answer)
    assert experiment.epochs.count() == 1


@pytest.mark.parametrize("name", ["weights", "coverage", "revise"])
@pytest.mark.parametrize("make", [draft, stopped])
def test_change_of_what_is_not_under_way_is_told(admin_client: Client, name: str, make: Any) -> None:
    experiment = make()
    said = text(admin_client.get(page(experiment, name), follow=True))
    assert f"The experiment is {experiment.state}; this is only possible while it is under way." in said


def test_coverage_says_what_it_does_then_changes(admin_client: Client) -> None:
    experiment = running(coverage_bp=5_000)
    said = text(admin_client.post(page(experiment, "coverage"), {"coverage_bp": "80", "step": "preview"}))
    assert "Coverage 50 % becomes 80 %. Moves none of 0 users" in said
    assert "Analysis restarts: no." in said
    sent = {"coverage_bp": "80", "step": "confirm", "version": experiment.version}
    admin_client.post(page(experiment, "coverage"), sent)
    assert Experiment.objects.get().coverage_bp == 8_000


@pytest.mark.parametrize(
    ("percent", "said"), [("0", "Nobody would take part"), ("100", "It is 100 % already.")]
)
def test_needless_coverage_is_refused(admin_client: Client, percent: str, said: str) -> None:
    sent = {"coverage_bp": percent, "step": "preview"}
    assert said in text(admin_client.post(page(running(), "coverage"), sent))


def test_new_version_says_that_the_analysis_restarts_and_is_made(admin_client: Client) -> None:
    experiment = running()
    configs = {
        "config-0": '{"model": "gpt-4"}',
        "config-1": '{"model": "claude-3"}',
        "config-2": '{"model": "llama2-70b"}',
    }
    said = text(admin_client.post(page(experiment, "revise"), configs | {"step": "preview"}))
    assert "A new version of claude-2 (version 2)" in said
    assert "Analysis restarts: yes, with units that were not exposed before" in said
    admin_client.post(
        page(experiment, "revise"), configs | {"step": "confirm", "version": experiment.version}
    )
    changed = Variant.objects.get(key="claude-2")
    assert (changed.version, changed.config) == (2, {"model": "claude-3"})
    assert experiment.epochs.get(ended_at=None).phase == 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"model": 5}', "It does not fit the schema. model: 5 is not of type"),
        ("{", "This is not JSON"),
        ('{"model": "gpt-4"}', "No config differs from what it is"),
    ],
)
def test_wrong_new_version_is_asked_again(admin_client: Client, config: str, said: str) -> None:
    experiment = running(config_schema={"properties": {"model": {"type": "string"}}})
    sent = {"config-0": config, "config-1": '{"model": "claude-2"}', "config-2": '{"model": "llama2-70b"}'}
    answer = admin_client.post(page(experiment, "revise"), sent | {"step": "preview"})
    assert said in text(answer)
    assert experiment.epochs.count() == 1


def test_two_persons_change_is_asked_for_shown_and_approved_by_another(client: Client) -> None:
    experiment = guarded()
    asked = asked_for(client, experiment)
    assert experiment.epochs.count() == 1
    assert "grace asks for a change: weights gpt-4 40 %, claude-2 40 %, llama2-70b 20 %" in text(
        client.get(page(experiment))
    )
    client.force_login(User.objects.get(username="alan"))
    decide = f"{page(experiment, 'decide')}?request={asked.pk}"
    said = text(client.get(decide))
    assert "Moves 0 of 0 units, the fewest that give the new weights" in said
    assert "because: cheap" in said
    version = Experiment.objects.get().version
    client.post(decide, {"version": version, "decision": "approve", "reason": "agreed"})
    assert experiment.epochs.get(ended_at=None).weights["gpt-4"] == 4_000
    assert ChangeRequest.objects.get().decided_by == User.objects.get(username="alan")
    assert "asks for a change" not in text(client.get(page(experiment)))


WAITING: list[tuple[str, dict[str, str], str, str]] = [
    (
        "ship",
        {"variant": "claude-2"},
        "ship claude-2",
        "Everyone who asks, but the global holdout, gets the config of claude-2",
    ),
    (
        "force",
        {"unit": "user <1>", "variant": "gpt-4"},
        "user <1> gets gpt-4",
        "The unit user <1> gets gpt-4 from now on",
    ),
    ("unforce", {"unit": "kept"}, "kept is no longer forced", "The unit kept is treated as any other again"),
]


@pytest.mark.parametrize(
    ("action", "arguments", "summary", "effect"), WAITING, ids=[one[0] for one in WAITING]
)
def test_two_persons_shipping_and_forced_units_are_shown_and_approved_by_another(
    client: Client, action: str, arguments: dict[str, str], summary: str, effect: str
) -> None:
    experiment, grace = guarded(forced={"kept": "gpt-4"}), User.objects.get(username="grace")
    if action == "ship":
        lifecycle.stop(experiment, by=grace, now=NOW)
    asked = reviews.request(Experiment.objects.get(), action, arguments, by=grace, now=NOW, reason="agreed?")
    client.force_login(User.objects.get(username="alan"))
    assert f"grace asks for a change: {summary}." in text(client.get(page(experiment)))
    decide = f"{page(experiment, 'decide')}?request={asked.pk}"
    said = text(client.get(decide))
    assert effect in said
    assert "because: agreed?" in said
    sent = {"version": Experiment.objects.get().version, "decision": "approve"}
    assert f"Approved: {summary}." in text(client.post(decide, sent, follow=True))
    assert ExperimentEvent.objects.latest("id").action == action
    assert ChangeRequest.objects.get().is_approved is True


def test_request_that_came_too_late_can_be_taken_back_after_the_end(client: Client) -> None:
    experiment = guarded()
    asked = asked_for(client, experiment)
    lifecycle.stop(Experiment.objects.get(), by=None, now=NOW)
    assert "grace asks for a change" in text(client.get(page(experiment)))
    sent = {"version": Experiment.objects.get().version, "decision": "refuse"}
    client.post(f"{page(experiment, 'decide')}?request={asked.pk}", sent)
    assert ChangeRequest.objects.get().is_approved is False
    assert "grace asks for a change" not in text(client.get(page(experiment)))


def test_ship_page_asks_for_the_second_person(client: Client) -> None:
    experiment = lifecycle.stop(guarded(), by=None, now=NOW)
    client.force_login(User.objects.get(username="grace"))
    assert "somebody else has to approve" in text(client.get(page(experiment, "ship")))
    sent = {"version": experiment.version, "variant": "claude-2", "reason": "it won"}
    said = text(client.post(page(experiment, "ship"), sent, follow=True))
    assert "The change is asked for; somebody else has to approve it." in said
    assert "grace asks for a change: ship claude-2." in said
    assert Experiment.objects.get().state == State.STOPPED
    asked = ChangeRequest.objects.get()
    assert (asked.action, asked.arguments, asked.reason) == ("ship", {"variant": "claude-2"}, "it won")


def test_forced_page_asks_for_the_second_person_after_the_draft(client: Client) -> None:
    experiment = guarded(forced={"kept": "gpt-4"})
    client.force_login(User.objects.get(username="grace"))
    assert "By the two-person rule" in text(client.get(page(experiment, "forced")))
    sent = {"unit": "tester", "variant": "claude-2", "reason": "demo", "version": experiment.version}
    said = text(client.post(page(experiment, "forced"), sent, follow=True))
    assert "The change is asked for; somebody else has to approve it." in said
    sent = {"remove": "kept", "version": Experiment.objects.get().version}
    assert "is asked for" in text(client.post(page(experiment, "forced"), sent, follow=True))
    assert list(ChangeRequest.objects.order_by("id").values_list("action", "arguments")) == [
        ("force", {"unit": "tester", "variant": "claude-2"}),
        ("unforce", {"unit": "kept"}),
    ]
    assert [row.unit for row in experiment.forced.standing()] == ["kept"]


def test_requester_can_only_take_the_change_back(client: Client) -> None:
    experiment = guarded()
    decide = f"{page(experiment, 'decide')}?request={asked_for(client, experiment).pk}"
    said = text(client.get(decide))
    assert "Take it back" in said
    assert "Approve and do it" not in said
    version = Experiment.objects.get().version
    answer = client.post(decide, {"version": version, "decision": "approve"}, follow=True)
    assert "Who asks for a change cannot approve it." in text(answer)
    client.post(decide, {"version": version, "decision": "refuse"})
    assert ChangeRequest.objects.get().is_approved is False
    assert experiment.epochs.count() == 1


def test_decision_needs_the_permission_and_an_open_request(client: Client) -> None:
    experiment = guarded()
    asked = asked_for(client, experiment)
    client.force_login(person("eve", "change_experiment"))
    decide = page(experiment, "decide")
    answer = client.post(f"{decide}?request={asked.pk}", {"version": 9, "decision": "approve"}, follow=True)
    assert "You may not approve changes" in text(answer)
    assert ChangeRequest.objects.get().decided_at is None
    for number in ("", "x", "999999"):
        assert client.get(f"{decide}?request={number}").status_code == 404


def test_forced_units_are_added_shown_and_removed(admin_client: Client, admin_user: User) -> None:
    experiment = running()
    sent = {
        "unit": "user <1>",
        "variant": "claude-2",
        "reason": "test account",
        "version": experiment.version,
    }
    said = text(admin_client.post(page(experiment, "forced"), sent, follow=True))
    assert "user <1> gets claude-2, and is not analysed." in said
    assert "not analysed admin" in said
    assert allocation.assign(experiment.key, "user <1>", now=NOW).reason == "forced"
    sent = {"remove": "user <1>", "version": Experiment.objects.get().version}
    assert "stays out of the analysis" in text(
        admin_client.post(page(experiment, "forced"), sent, follow=True)
    )
    assert not experiment.forced.standing().exists()
    assert [event.action for event in ExperimentEvent.objects.all()][:2] == ["unforce", "force"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"unit": ""}, "This field is required."),
        ({"unit": "u" * 129}, "at most 128 characters"),
        ({"unit": "u", "variant": "gpt-9"}, "not one of the available choices"),
        ({"unit": "u", "version": 1}, "was changed. Look at it again"),
    ],
)
def test_wrong_forced_unit_is_asked_again(admin_client: Client, sent: dict[str, Any], said: str) -> None:
    experiment = running()
    whole = {"variant": "gpt-4", "version": experiment.version} | sent
    assert said in text(admin_client.post(page(experiment, "forced"), whole))
    assert not experiment.forced.exists()


def test_forced_page_is_read_only_for_readers(client: Client) -> None:
    experiment = running()
    client.force_login(person("reader"))
    assert "Force this unit" not in text(client.get(page(experiment, "forced")))
    assert client.post(page(experiment, "forced"), {"remove": "u", "version": 2}).status_code == 403
