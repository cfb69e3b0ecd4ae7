"""Every button: shown when it would work, to who may press it; it says what it does, asks, and does it once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from experiments import allocation, lifecycle
from experiments.models import ChangeRequest, Experiment, ExperimentEvent, Look, State
from tests.experiments.admin_pages import page, text
from tests.experiments.factories import NOW, draft, running, stopped, units

pytestmark = pytest.mark.django_db

MOVES = {
    "request_review", "approve", "start", "schedule", "back_to_draft", "pause", "resume", "stop", "ship", "unship", "archive",
    "kill",
}  # fmt: skip
CHANGES = {"weights", "coverage", "revise"}


def person(name: str, *permissions: str) -> User:
    made = User.objects.create_user(name, password="secret", is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__in=("view_experiment", *permissions)))
    return made


def in_review(**changes: Any) -> Experiment:
    asked = draft(requires_review=True, **changes)
    return lifecycle.request_review(asked, by=person("grace", "change_experiment"), now=NOW)


def approved() -> Experiment:
    return lifecycle.approve(in_review(), by=person("alan", "change_experiment"), now=NOW)


def scheduled() -> Experiment:
    return lifecycle.schedule(draft(), by=None, now=NOW, at=NOW + timedelta(days=1))


def paused() -> Experiment:
    return lifecycle.pause(running(), by=None, now=NOW)


def halted() -> Experiment:
    return lifecycle.kill(running(), by=None, now=NOW)


def shipped() -> Experiment:
    return lifecycle.ship(stopped(), "claude-2", by=None, now=NOW)


def archived() -> Experiment:
    return lifecycle.archive(stopped(), by=None, now=NOW)


def shown(client: Client, experiment: Experiment) -> set[str]:
    body = client.get(page(experiment)).content.decode()
    return {name for name in MOVES | CHANGES if f'href="{page(experiment, name)}"' in body}


@pytest.mark.parametrize(
    ("make", "buttons"),
    [
        (draft, {"request_review", "start", "schedule", "archive"}),
        (lambda: draft(requires_review=True), {"request_review", "archive"}),
        (in_review, {"approve", "back_to_draft", "archive"}),
        (approved, {"start", "schedule", "back_to_draft", "archive"}),
        (scheduled, {"start", "back_to_draft", "archive"}),
        (running, {"pause", "stop", "kill"} | CHANGES),
        (paused, {"resume", "stop", "kill"} | CHANGES),
        (halted, {"resume", "stop"} | CHANGES),
        (stopped, {"ship", "archive"}),
        (shipped, {"unship", "archive"}),
        (archived, set()),
    ],
)
def test_page_has_the_buttons_that_the_state_allows(
    admin_client: Client, make: Callable[[], Experiment], buttons: set[str]
) -> None:
    assert shown(admin_client, make()) == buttons


@pytest.mark.parametrize(
    ("make", "name", "sent", "state"),
    [
        (lambda: draft(requires_review=True), "request_review", {}, State.REVIEW),
        (in_review, "approve", {}, State.REVIEW),
        (in_review, "back_to_draft", {}, State.DRAFT),
        (draft, "start", {}, State.RUNNING),
        (approved, "start", {}, State.RUNNING),
        (draft, "schedule", {"at_0": "2999-01-01", "at_1": "10:00"}, State.SCHEDULED),
        (running, "pause", {}, State.PAUSED),
        (paused, "resume", {}, State.RUNNING),
        (halted, "resume", {"reason": "the prompt is mended"}, State.RUNNING),
        (running, "kill", {}, State.HALTED),
        (paused, "stop", {}, State.STOPPED),
        (stopped, "ship", {"variant": "claude-2"}, State.SHIPPED),
        (shipped, "unship", {"reason": "complaints"}, State.STOPPED),
        (stopped, "archive", {}, State.ARCHIVED),
    ],
)
def test_move_asks_with_its_effects_then_is_done_and_in_the_audit(
    admin_client: Client,
    admin_user: User,
    make: Callable[[], Experiment],
    name: str,
    sent: dict[str, str],
    state: State,
) -> None:
    experiment = make()
    before = ExperimentEvent.objects.count()
    asked = admin_client.get(page(experiment, name))
    assert "What this does" in text(asked)
    assert asked.context["effects"]
    assert ExperimentEvent.objects.count() == before
    answer = admin_client.post(page(experiment, name), {"version": experiment.version, **sent}, follow=True)
    assert "The experiment llm_model_ab_test is " in text(answer)
    assert Experiment.objects.get().state == state
    event = ExperimentEvent.objects.first()
    assert event is not None
    assert (event.action, event.by, event.reason) == (name, admin_user, sent.get("reason", ""))
    assert ExperimentEvent.objects.count() == before + 1


@pytest.mark.parametrize(
    ("make", "name", "sent", "said"),
    [
        (halted, "resume", {"reason": ""}, "This field is required."),
        (shipped, "unship", {"reason": ""}, "This field is required."),
        (stopped, "ship", {}, "This field is required."),
        (stopped, "ship", {"variant": "gpt-9"}, "not one of the available choices"),
        (draft, "schedule", {"at_0": "2020-01-01", "at_1": "10:00"}, "or it has passed"),
        (draft, "schedule", {"at_0": "soon", "at_1": "10:00"}, "Enter a valid date"),
    ],
)
def test_move_with_wrong_input_says_so_and_changes_nothing(
    admin_client: Client, make: Callable[[], Experiment], name: str, sent: dict[str, str], said: str
) -> None:
    experiment = make()
    answer = admin_client.post(page(experiment, name), {"version": experiment.version, **sent})
    assert answer.status_code == 200
    assert said in text(answer)
    assert Experiment.objects.get().version == experiment.version


@pytest.mark.parametrize(
    ("make", "name"),
    [(running, "start"), (stopped, "start"), (stopped, "kill"), (draft, "stop"), (archived, "ship")],
)
def test_move_from_a_wrong_state_is_told(
    admin_client: Client, make: Callable[[], Experiment], name: str
) -> None:
    experiment = make()
    sent: dict[str, Any] = {"version": experiment.version, "variant": "gpt-4"}
    for call in (admin_client.get, admin_client.post):
        answer = call(page(experiment, name), sent, follow=True)
        assert f"xperiment llm_model_ab_test is {experiment.state};" in text(answer) or (
            f"The experiment is {experiment.state};" in text(answer)
        )
    assert Experiment.objects.get().version == experiment.version


@pytest.mark.parametrize("name", ["pause", "kill", "stop"])
def test_move_of_what_somebody_else_changed_is_refused(admin_client: Client, name: str) -> None:
    experiment = running()
    answer = admin_client.post(page(experiment, name), {"version": experiment.version - 1}, follow=True)
    assert "was changed. Look at it again and repeat." in text(answer)
    assert Experiment.objects.get().state == State.RUNNING


def test_kill_page_says_whom_it_touches_and_that_the_analysis_stays(admin_client: Client) -> None:
    experiment = running({"gpt-4": 0, "claude-2": 10_000})
    for unit in units(3):
        allocation.assign(experiment.key, unit, now=NOW)
    said = text(admin_client.get(page(experiment, "kill")))
    assert "That changes it for 3 of 3 users assigned so far." in said
    assert "Analysis restarts: no." in said


def test_requester_sees_no_approve_button_and_is_refused(client: Client) -> None:
    experiment = in_review()
    requester = User.objects.get(username="grace")
    requester.user_permissions.add(Permission.objects.get(codename="approve_experiment"))
    client.force_login(requester)
    assert "approve" not in shown(client, experiment)
    answer = client.post(page(experiment, "approve"), {"version": experiment.version}, follow=True)
    assert "Who asks for a review cannot approve. Let somebody else look at the experiment." in text(answer)
    assert Experiment.objects.get().approved_version is None


def test_requester_who_opens_the_approval_is_sent_back_at_once(client: Client) -> None:
    experiment = in_review()
    requester = User.objects.get(username="grace")
    requester.user_permissions.add(Permission.objects.get(codename="approve_experiment"))
    client.force_login(requester)
    answer = client.get(page(experiment, "approve"), follow=True)
    assert answer.redirect_chain[-1][0] == page(experiment)
    assert "You asked for this review, so somebody else has to approve it." in text(answer)


def looked(experiment: Experiment, decision: str, variant: str) -> None:
    checks = [
        {"name": "split", "level": "harm", "sentence": "the split is off.", "numbers": {}},
        {"name": "crossovers", "level": "ok", "sentence": "nobody crossed.", "numbers": {}},
    ]
    Look.objects.create(
        experiment=experiment,
        phase=experiment.epochs.latest("number").phase,
        at=NOW,
        seconds=1.0,
        unit_count=9,
        decision=decision,
        variant=variant,
        sentence=f"Sentence of {decision}.",
        health={"checks": checks, "traffic": []},
    )


def test_ship_page_without_a_look_warns(admin_client: Client) -> None:
    assert "Nobody has looked at the data" in text(admin_client.get(page(stopped(), "ship")))


@pytest.mark.parametrize("decision", ["keep", "wait", "harmful", "futile"])
def test_ship_page_warns_when_the_last_look_ships_nothing(admin_client: Client, decision: str) -> None:
    experiment = stopped()
    looked(experiment, "ship", "claude-2")
    looked(experiment, decision, "claude-2")
    said = text(admin_client.get(page(experiment, "ship")))
    assert f"The last look does not say that: Sentence of {decision}." in said
    assert "Data health, split: The split is off." in said
    assert "obody crossed" not in said


@pytest.mark.parametrize("decision", ["ship", "cheaper"])
def test_ship_page_says_which_variant_the_last_look_ships(admin_client: Client, decision: str) -> None:
    experiment = stopped()
    looked(experiment, decision, "claude-2")
    answer = admin_client.get(page(experiment, "ship"))
    said = text(answer)
    assert f"The last look says: Sentence of {decision}." in said
    assert "It says that of claude-2, and of no other variant." in said
    assert answer.context["button"] == "Ship"


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("claude-2", "The last look says: Sentence of ship."),
        ("llama2-70b", "The last look does not say that: Sentence of ship."),
    ],
)
def test_second_person_sees_what_the_last_look_says_of_the_variant(
    client: Client, admin_client: Client, variant: str, said: str
) -> None:
    experiment = lifecycle.stop(lifecycle.start(approved(), by=None, now=NOW), by=None, now=NOW)
    looked(experiment, "ship", "claude-2")
    client.force_login(User.objects.get(username="grace"))
    assert "Ask for this change" in text(client.get(page(experiment, "ship")))
    client.post(page(experiment, "ship"), {"version": experiment.version, "variant": variant})
    asked = ChangeRequest.objects.get()
    shown_to_other = text(admin_client.get(f"{page(experiment, 'decide')}?request={asked.pk}"))
    assert said in shown_to_other
    assert "Data health, split: The split is off." in shown_to_other


def test_approval_needs_its_own_permission(client: Client) -> None:
    experiment = in_review()
    client.force_login(person("eve", "change_experiment"))
    assert "approve" not in shown(client, experiment)
    assert client.get(page(experiment, "approve")).status_code == 403
    client.force_login(person("ann", "approve_experiment"))
    assert shown(client, experiment) == {"approve"}
    client.post(page(experiment, "approve"), {"version": experiment.version})
    assert Experiment.objects.get().approved_version == experiment.version + 1


@pytest.mark.parametrize("make", [draft, running, stopped])
def test_reader_sees_no_button_and_every_move_is_refused(
    client: Client, make: Callable[[], Experiment]
) -> None:
    experiment = make()
    client.force_login(person("reader"))
    assert shown(client, experiment) == set()
    for name in MOVES | CHANGES:
        assert client.get(page(experiment, name)).status_code == 403, name
        assert client.post(page(experiment, name), {"version": experiment.version}).status_code == 403, name
    assert Experiment.objects.get().version == experiment.version


@pytest.mark.parametrize(
    "name", ["start", "kill", "weights", "epochs", "forced", "audit", "ask", "clone", "export"]
)
def test_pages_of_no_experiment_are_not_found_and_need_a_login(admin_client: Client, name: str) -> None:
    for number in ("999999", "abc", "1'", "9" * 30):
        assert admin_client.get(f"/admin/experiments/experiment/{number}/{name}/").status_code == 404
    assert Client().get(f"/admin/experiments/experiment/1/{name}/").status_code == 302


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: draft({"gpt-4": 4_000}), "2 things are missing to start it."),
        (lambda: draft(requires_review=True), "Request a review, so that somebody else can approve"),
        (in_review, "somebody other than grace has to approve it"),
        (approved, "Approved; nobody is assigned yet."),
        (scheduled, "Starts by itself"),
        (running, "0 users assigned to 3 variants."),
        (paused, "Paused: everyone gets the config of the control gpt-4"),
        (halted, "Halted: everyone gets the config of the control gpt-4."),
        (stopped, "Ship a variant, or archive it."),
        (shipped, "Shipped: everyone but the global holdout gets the config of claude-2."),
        (archived, "Archived: clients that still ask are told"),
    ],
)
def test_page_says_the_state_and_what_to_do_next(
    admin_client: Client, make: Callable[[], Experiment], said: str
) -> None:
    assert said in text(admin_client.get(page(make())))


def test_reason_and_unit_are_shown_as_text(admin_client: Client) -> None:
    evil = "<script>alert(1)</script>"
    experiment = running()
    admin_client.post(page(experiment, "pause"), {"version": experiment.version, "reason": evil})
    for name in ("change", "audit", "epochs"):
        body = admin_client.get(page(experiment, name)).content.decode()
        assert evil not in body
    assert "&lt;script&gt;alert(1)" in admin_client.get(page(experiment, "audit")).content.decode()


def test_schedule_takes_the_time_in_utc(admin_client: Client) -> None:
    experiment = draft()
    at = timezone.now().replace(microsecond=0, second=0) + timedelta(days=3)
    sent = {"version": 1, "at_0": at.date().isoformat(), "at_1": at.time().isoformat()}
    admin_client.post(page(experiment, "schedule"), sent)
    assert Experiment.objects.get().starts_at == at
