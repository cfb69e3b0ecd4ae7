"""The page, the list and the file of an incident, and why somebody was told of it or not."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, ExperimentEvent
from feedback import ingest
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape
from feedback.tables import FEEDBACK, QUALITY_RECORDS, RESPONSES
from monitoring import guardrails, incidents, plots, tasks
from monitoring.exports import verifying
from monitoring.models import (
    AttemptOutcome,
    EscalationStep,
    Flag,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Resolution,
    Route,
    Silence,
    Source,
    Usefulness,
)
from monitoring.notifying import messages
from monitoring.quiet import silences
from monitoring.reading import samples
from tests.browser.world import api_key
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor
from tests.monitoring.halts import SOON, halt, running

pytestmark = pytest.mark.django_db

DIALOG = {"_form_submitted": "on"}


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked; how often delivery would have been woken."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


def page(client: Client, name: str, *args: Any, query: str = "") -> str:
    answer = client.get(reverse(f"admin:monitoring_{name}", args=args) + query)
    assert answer.status_code == 200
    return " ".join(re.sub("</?bdi>", "", answer.content.decode()).split())


def act(client: Client, incident: Incident, action: str, query: str = "", **given: str) -> Any:
    address = reverse(f"admin:monitoring_incident_{action}", args=[incident.pk]) + query
    return client.post(address, {**DIALOG, **given}, headers={"HX-Request": "true"})


def reported(now: datetime, key: str = "db", **labels: str) -> Incident:
    return incidents.report(
        Source.ALERTMANAGER,
        key,
        title=f"the disk of {key} is full",
        severity="error",
        labels={"alertname": "DiskFull", **labels},
        annotations={"description": "Make room.", "runbook_url": "https://runbooks.example.org/disk"},
        onset_at=now - timedelta(minutes=4),
        actor="alertmanager-prod",
        now=now,
    )


def buttons(client: Client, incident: Incident) -> set[str]:
    shown = page(client, "incident_change", incident.pk)
    root = reverse("admin:monitoring_incident_changelist") + f"{incident.pk}/"
    return set(re.findall(rf'hx-get="{root}([a-z-]+)/"', shown))


ALWAYS = {"comment", "judge", "silence"}


def test_buttons_are_exactly_what_the_state_allows(admin_client: Client) -> None:
    now = timezone.now()
    incident = reported(now)
    assert buttons(admin_client, incident) == ALWAYS | {"acknowledge", "resolve"}
    incidents.acknowledge(incident.pk, now=now)
    assert buttons(admin_client, incident) == ALWAYS | {"unacknowledge", "extend", "resolve"}
    incidents.resolve(incident.pk, Resolution.FIXED, now=now)
    assert buttons(admin_client, incident) == {"comment", "judge"}
    suspicion = make_incident(make_monitor(), state=IncidentState.SUSPECT)
    assert buttons(admin_client, suspicion) == {"comment"}


def test_buttons_are_hidden_from_who_may_only_look(client: Client) -> None:
    incident = reported(timezone.now())
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(guest)
    assert buttons(client, incident) == set()
    assert "Was it right to tell of it?" not in page(client, "incident_change", incident.pk)
    for action in ("silence", "comment", "judge", "unacknowledge"):
        assert act(client, incident, action).status_code == 403


def test_acknowledgement_with_an_end_is_extended_and_taken_back(admin_client: Client) -> None:
    incident = reported(timezone.now())
    act(admin_client, incident, "acknowledge", length="1800")
    incident.refresh_from_db()
    assert incident.acknowledged_until is not None
    assert timedelta(minutes=29) < incident.acknowledged_until - timezone.now() <= timedelta(minutes=30)
    assert "admin takes care of it until" in page(admin_client, "incident_change", incident.pk)
    act(admin_client, incident, "extend", length="28800")
    incident.refresh_from_db()
    assert incident.acknowledged_until - timezone.now() > timedelta(hours=7)
    act(admin_client, incident, "unacknowledge")
    incident.refresh_from_db()
    assert incident.state == IncidentState.FIRING


def test_silence_shows_what_it_covers_and_matches_exactly_this_incident(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    now = timezone.now()
    incident, other = reported(now, "db", host="db"), reported(now, "web", host="web")
    address = reverse("admin:monitoring_incident_silence", args=[incident.pk])
    asked = admin_client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "It covers this incident and no other" in asked
    assert f"incident_id=&quot;{incident.pk}&quot;" in asked
    with django_capture_on_commit_callbacks(execute=True):
        answer = act(admin_client, incident, "silence", "?to=inbox", length="7200", comment="a deploy")
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_inbox")
    silence = Silence.objects.get()
    assert (silence.created_by, silence.comment) == ("admin", "a deploy")
    assert incident.flags.active().get().kind == Flag.SILENCED
    assert not other.flags.exists()
    assert buttons(admin_client, incident) == {"acknowledge", "comment", "end-silence", "judge", "resolve"}
    assert re.search(
        r"Silenced by admin until [^<]*: a deploy", page(admin_client, "incident_change", incident.pk)
    )
    with django_capture_on_commit_callbacks(execute=True):
        act(admin_client, incident, "end_silence")
    assert not incident.flags.active().exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"length": "until", "comment": "x"}, "Say until when"),
        ({"length": "until", "until": "2020-01-01 10:00", "comment": "x"}, "That time has passed"),
        ({"length": "7200"}, "This field is required"),
        ({"length": "1", "comment": "x"}, "Select a valid choice"),
    ],
)
def test_silence_with_a_mistake_says_what_is_wrong(
    given: dict[str, str], words: str, admin_client: Client
) -> None:
    assert words in act(admin_client, reported(timezone.now()), "silence", **given).content.decode()
    assert not Silence.objects.exists()


def test_comment_and_judgement_are_kept_with_who_said_so(admin_client: Client) -> None:
    incident = reported(timezone.now())
    act(admin_client, incident, "comment", text="the cable was loose")
    # Without scripts: a plain form with three buttons.
    address = reverse("admin:monitoring_incident_judge", args=[incident.pk])
    answer = admin_client.post(address, {**DIALOG, "usefulness": "noise"})
    assert (answer.status_code, answer["Location"]) == (
        302,
        reverse("admin:monitoring_incident_change", args=[incident.pk]),
    )
    incident.refresh_from_db()
    assert incident.usefulness == Usefulness.NOISE
    shown = page(admin_client, "incident_change", incident.pk)
    assert "commented: the cable was loose" in shown.lower()
    assert 'value="noise" title="nobody had to act" aria-pressed="true"' in shown


def test_refused_transition_is_said_and_changes_nothing(admin_client: Client) -> None:
    incident = reported(timezone.now())
    incidents.resolve(incident.pk, Resolution.FIXED, now=timezone.now())
    act(admin_client, incident, "acknowledge")
    assert "cannot be acknowledged" in page(admin_client, "incident_change", incident.pk)


def test_page_of_a_report_has_the_words_of_its_source(admin_client: Client) -> None:
    incident = reported(timezone.now(), team="infra")
    shown = page(admin_client, "incident_change", incident.pk)
    for words in (
        "The disk of db is full.",
        "Make room.",
        "runbooks.example.org",
        "alertmanager-prod",
        "infra",
    ):
        assert words in shown


def test_page_of_a_suspicion_says_that_nobody_is_told(admin_client: Client) -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = make_incident(monitor, state=IncidentState.SUSPECT)
    shown = page(admin_client, "incident_change", incident.pk)
    assert "A suspicion for" in shown
    assert "Nobody: a suspicion is told to nobody." in shown


def test_page_shows_one_timeline_how_long_it_took_and_a_seal(admin_client: Client, admin_user: User) -> None:
    make_channel("ops")
    now = timezone.now() - timedelta(hours=1)
    incident = reported(now)
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=now + timedelta(seconds=31))
    incidents.acknowledge(incident.pk, by=admin_user, now=now + timedelta(minutes=2))
    incidents.resolve(
        incident.pk, Resolution.FIXED, by=admin_user, note="made room", now=now + timedelta(minutes=30)
    )
    shown = page(admin_client, "incident_change", incident.pk)
    table = shown[shown.index("What happened</h2>") : shown.index("Who was told</h2>")]
    steps = [
        "onset, as reported",
        "Opened",
        "ops told: trigger",
        "Acknowledged",
        "somebody fixed it: made room",
    ]
    assert [table.index(step) for step in steps] == sorted(table.index(step) for step in steps)
    for words in (
        "To detect, from the onset: <strong>4 min",
        "discovery: <strong>2 min",
        "discovery: <strong>30 min",
    ):
        assert (
            words.replace(" min", "\N{NARROW NO-BREAK SPACE}min") in shown.replace("\xa0", " ")
            or words in shown
        )
    head = incident.events.order_by("-seq")[0].hash[:16]
    assert f"The log is intact: 3 events, the last hash is {head}" in shown
    assert f"bin/manage alerts verify incident-{incident.pk}.json" in shown


def test_page_says_when_the_log_was_changed(admin_client: Client) -> None:
    incident = reported(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE monitoring_incidentevent SET actor = 'nobody'")
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    assert "The log is not as it was written: event 1 does not fit its hash." in page(
        admin_client, "incident_change", incident.pk
    )


def test_page_shows_every_attempt_with_the_receivers_answer(admin_client: Client) -> None:
    make_channel("ops")
    now = timezone.now()
    incident = reported(now)
    OutboxMessage.objects.get().attempts.create(
        number=1,
        started_at=now,
        seconds=0.2,
        outcome=AttemptOutcome.FAILED,
        status_code=503,
        answer="<i>busy</i>",
    )
    shown = page(admin_client, "incident_change", incident.pk)
    assert "503" in shown
    assert "&lt;i&gt;busy&lt;/i&gt;" in shown


def test_page_of_a_halt_tells_what_was_done_about_it_by_whom_and_why(
    admin_client: Client, admin_user: User
) -> None:
    halt(running())
    guardrails.open_halts(SOON)
    incident = Incident.objects.get()
    ExperimentEvent.objects.create(
        experiment=Experiment.objects.get(),
        at=SOON + timedelta(hours=1),
        by=admin_user,
        action="resume",
        reason="the prompt was mended",
        before={},
        after={},
    )
    shown = page(admin_client, "incident_change", incident.pk)
    assert "Variant claude-2 of experiment llm_model_ab_test." in shown
    assert "resume by admin: the prompt was mended" in shown


def record(now: datetime) -> None:
    """Three responses of one variant and one of another, the worst of them in the middle."""
    key = api_key(now)
    for number, (variant, value) in enumerate([("b", 0.5), ("b", 0.1), ("b", 0.3), ("a", 0.0)]):
        at = now - timedelta(minutes=10 - number)
        shape = ResponseShape(
            response_id=f"r-{number}", occurred_at=at, variant=variant, metrics={"helpfulness": value}
        )
        ingest.record(RESPONSES, shape, key.pk, now)
    said = FeedbackShape(response_id="r-2", feedback_type="negative", user_id="u", source="web")
    ingest.record(FEEDBACK, said, key.pk, now)
    for response, name, version, value in [
        ("r-0", "judge-1", "", 0.5),
        ("r-1", "judge-1", "", 0.6),
        ("r-1", "judge-2", "v3", 0.2),
    ]:
        judged = QualityShape(
            response_id=response,
            evaluator_kind="llm_judge",
            evaluator_name=name,
            evaluator_version=version,
            metrics={"tone": value},
        )
        ingest.record(QUALITY_RECORDS, judged, key.pk, now)


@pytest.mark.parametrize(
    ("metric", "labels", "difference", "found"),
    [
        ("helpfulness", {"variant": "b"}, -0.4, ["r-1", "r-2", "r-0"]),
        ("helpfulness", {"variant": "b"}, 0.4, ["r-0", "r-2", "r-1"]),
        ("feedback:negative", {"variant": "b"}, 0.4, ["r-2"]),
        ("volume", {"variant": "b"}, -4, ["r-2", "r-1", "r-0"]),
        ("tone", {"evaluator": "llm_judge:judge-1"}, -0.4, ["r-0", "r-1"]),
        ("tone", {"evaluator": "llm_judge:judge-2@v3"}, -0.4, ["r-1"]),
        ("tone", {"evaluator": "llm_judge:judge-2"}, -0.4, []),
        ("tone", {"evaluator": ""}, -0.4, []),
        ("tone", {}, -0.4, ["r-1", "r-0"]),
        ("tone", {}, 0.4, ["r-1", "r-0"]),
        ("latency_seconds", {}, 0.4, []),
        ("agreement:nurse", {"evaluator": "llm_judge:judge-1"}, -0.4, ["r-1", "r-0"]),
        ("helpfulness", {"language": "es"}, -0.4, []),
    ],
)
def test_samples_are_the_worst_of_the_group_since_the_onset(
    metric: str, labels: dict[str, str], difference: float, found: list[str]
) -> None:
    now = timezone.now()
    record(now)
    monitor = make_monitor(started_at=now)
    monitor.metric = metric
    incident = make_incident(
        monitor,
        labels=labels,
        onset_at=now - timedelta(minutes=30),
        opened_at=now,
        effect={"difference": difference},
    )
    with CaptureQueriesContext(connection) as queries:
        assert list(samples.of_incident(incident, monitor, now).ids) == found
    assert len(queries) == 1


def test_samples_of_a_rare_group_are_found_behind_many_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    record(now)
    monkeypatch.setattr(samples, "_LOOKED_AT", 1)
    monitor = make_monitor(started_at=now)
    onset_at = now - timedelta(minutes=30)
    incident = make_incident(
        monitor, labels={"variant": "b"}, onset_at=onset_at, opened_at=now, effect={"difference": -0.4}
    )
    # The newest response of all is one of variant a.
    assert list(samples.of_incident(incident, monitor, now).ids) == ["r-2"]


def test_samples_before_the_onset_and_of_checks_are_not_shown() -> None:
    now = timezone.now()
    record(now)
    monitor = make_monitor(started_at=now)
    incident = make_incident(monitor, onset_at=now - timedelta(minutes=8, seconds=30), opened_at=now)
    assert list(samples.of_incident(incident, monitor, now).ids) == ["r-3", "r-2"]
    incident.signal = "check"
    assert not samples.of_incident(incident, monitor, now).ids


def test_samples_on_the_page_are_links_for_who_may_see_responses(
    admin_client: Client, client: Client
) -> None:
    now = timezone.now()
    record(now)
    incident = make_incident(
        make_monitor(started_at=now), onset_at=now - timedelta(minutes=30), opened_at=now
    )
    assert "?q=r-3" in page(admin_client, "incident_change", incident.pk)
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(guest)
    shown = page(client, "incident_change", incident.pk)
    assert "r-3" in shown
    assert "?q=r-3" not in shown


@pytest.mark.parametrize("form", ["json", "html"])
def test_evidence_is_a_file_that_verifies(form: str, admin_client: Client, client: Client) -> None:
    incident = reported(timezone.now())
    address = reverse("admin:monitoring_incident_evidence", args=[incident.pk, form])
    answer = admin_client.get(address)
    assert answer["Content-Disposition"] == f'attachment; filename="incident-{incident.pk}.{form}"'
    assert verifying.verify_export(answer.content).is_intact
    if form == "json":
        assert json.loads(answer.content)["incident"]["id"] == str(incident.pk)
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get(address).status_code == 403


def titles(client: Client, query: str = "") -> set[str]:
    shown = page(client, "incident_changelist", query=query)
    return {one for one in ("fires", "known", "over", "may be", "faded", "the disk") if f">{one}" in shown}


def test_list_hides_suspicions_and_narrows_by_state_flag_source_and_judgement(admin_client: Client) -> None:
    now, monitor = timezone.now(), make_monitor()
    fires = make_incident(monitor, slice_key="a", title="fires")
    make_incident(monitor, slice_key="b", title="known", state="acknowledged", acknowledged_at=now)
    over = {"state": "resolved", "resolved_at": now}
    make_incident(monitor, slice_key="c", title="over", resolution="fixed", usefulness="noise", **over)
    make_incident(monitor, slice_key="d", title="may be", state="suspect")
    make_incident(monitor, slice_key="e", title="faded", resolution="faded", **over)
    reported(now, rack="r-17")
    fires.flags.create(kind=Flag.FLAPPING, why="it comes and goes", since=now)
    assert titles(admin_client) == {"fires", "known", "over", "the disk"}
    assert titles(admin_client, "?state=open") == {"fires", "known", "the disk"}
    assert titles(admin_client, "?state=acknowledged") == {"known"}
    assert titles(admin_client, "?state=resolved") == {"over"}
    assert titles(admin_client, "?state=suspect") == {"may be"}
    assert titles(admin_client, "?state=faded") == {"faded"}
    assert titles(admin_client, "?flag=flapping") == {"fires"}
    assert titles(admin_client, "?source=alertmanager") == {"the disk"}
    assert titles(admin_client, "?about=report") == {"the disk"}
    assert titles(admin_client, "?judged=noise") == {"over"}
    assert titles(admin_client, "?q=r-17") == {"the disk"}
    assert "it comes and goes" in page(admin_client, "incident_changelist")


def test_list_is_narrowed_by_the_channel_that_was_told(admin_client: Client) -> None:
    channel, now = make_channel("ops"), timezone.now()
    reported(now)
    make_incident(make_monitor(), title="fires")
    assert titles(admin_client, f"?told={channel.pk}") == set()
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=now)
    assert titles(admin_client, f"?told={channel.pk}") == {"the disk"}


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        ("acknowledge_chosen", "state", "acknowledged"),
        ("judge_noise", "usefulness", "noise"),
    ],
)
def test_list_acts_on_the_chosen_ones(
    action: str, field: str, value: str, admin_client: Client, admin_user: User
) -> None:
    now = timezone.now()
    chosen, left = reported(now, "a"), reported(now, "b")
    given = {"action": action, "_selected_action": [str(chosen.pk)]}
    admin_client.post(reverse("admin:monitoring_incident_changelist"), given)
    for incident in (chosen, left):
        incident.refresh_from_db()
    assert (getattr(chosen, field), getattr(left, field) == value) == (value, False)
    assert chosen.events.order_by("-seq")[0].by == admin_user


def told(client: Client, incident: Incident, query: str = "") -> str:
    return page(client, "incident_told", incident.pk, query=query)


def part(shown: str, channel: str) -> str:
    """What the page says of one channel."""
    start = shown.index(f"<h2>{channel} ")
    return shown[start : shown.index("</section>", start)]


def routes(first: Any, second: Any, later: Any) -> None:
    root = Route.objects.create(name="all", group_wait_seconds=0)
    root.channels.add(first)
    grave = Route.objects.create(name="pages", parent=root, matchers=['severity="critical"'])
    grave.channels.add(second)
    EscalationStep.objects.create(route=root, number=1, after_seconds=900).channels.add(later)


def test_told_page_says_who_was_told_when_by_which_route_and_why_others_were_not(
    admin_client: Client,
) -> None:
    ops, pager, boss, quiet = (make_channel(name) for name in ("ops", "pager", "boss", "quiet"))
    routes(ops, pager, boss)
    now = timezone.now()
    incident = reported(now)
    at = now + timedelta(seconds=31)
    OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=at, attempt_count=2)
    shown = told(admin_client, incident)
    assert "1 of 4 channels was told." in shown
    said = f"Told that it fires at {at:%Y-%m-%d %H:%M:%S} UTC at the 2nd attempt.</li><li>It was chosen by route all."
    assert said in part(shown, "ops")
    assert "Route “pages” names it, and did not take this: “severity” is “error”" in part(shown, "pager")
    assert "It is step 1 of route “all”" in part(shown, "boss")
    assert "No route names it; “all” took this." in part(shown, "quiet")
    assert quiet.name in shown


def test_told_page_says_what_held_a_message_back_and_until_when(
    admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    make_channel("ops")
    now = timezone.now()
    incident = reported(now)
    with django_capture_on_commit_callbacks(execute=True):
        silences.make(
            silences.exactly(incident),
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            comment="x",
            created_by="bea",
            now=now,
        )
    shown = told(admin_client, incident)
    assert "The only channel was not told; 1 is held back." in shown
    assert "it is held back since" in shown
    assert f"{now + timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"status": "dead", "attempt_count": 3, "reason": "answered 404"},
            "given up after 3 attempts: answered 404",
        ),
        (
            {"status": "superseded", "reason": "it was over before this was sent"},
            "it was over before this was sent",
        ),
        ({"attempt_count": 1, "reason": "answered 503"}, "1 attempt failed: answered 503; the next is at"),
        ({}, "To be told that it fires at"),
    ],
)
def test_told_page_says_what_became_of_a_message(
    changes: dict[str, Any], words: str, admin_client: Client
) -> None:
    make_channel("ops")
    incident = reported(timezone.now())
    OutboxMessage.objects.update(**changes)
    assert words in part(told(admin_client, incident), "ops")


def test_told_page_answers_for_one_channel_or_one_address(admin_client: Client) -> None:
    mail = make_channel("mail", kind="email", url="", recipients="nurse@example.org, Bea@example.org")
    make_channel("ops")
    incident = reported(timezone.now())
    by_address = told(admin_client, incident, "?who=bea@example.org")
    assert "<h2>mail " in by_address
    assert "<h2>ops " not in by_address
    assert "<h2>ops " not in told(admin_client, incident, f"?channel={mail.pk}")
    assert "No channel is called “carl@example.org”" in told(admin_client, incident, "?who=carl@example.org")
    assert "There is no such channel." in told(admin_client, incident, "?channel=x")


def test_told_page_of_a_suspicion_a_disabled_and_an_unnamed_channel(admin_client: Client) -> None:
    now = timezone.now()
    make_channel("ops", is_enabled=False, disabled_reason="answered 410")
    monitor = make_monitor(channels=())
    incident = make_incident(monitor, opened_at=now + timedelta(minutes=1))
    said = part(told(admin_client, incident), "ops")
    assert "It is disabled: answered 410." in said
    assert f"The monitor “{monitor.name}” does not name it." in said
    Incident.objects.update(state=IncidentState.SUSPECT)
    assert "Nobody is told of a suspicion." in part(told(admin_client, incident), "ops")


def test_told_page_is_for_who_may_see_incidents(client: Client) -> None:
    incident = reported(timezone.now())
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get(reverse("admin:monitoring_incident_told", args=[incident.pk])).status_code == 403


def test_delivery_page_says_why_the_channel_was_told_and_what_held_it_back(admin_client: Client) -> None:
    make_channel("ops")
    incident = make_incident(make_monitor(), onset_at=START)
    [message] = messages.enqueue(
        incident, MessageKind.TRIGGER, channels=[make_channel("b")], now=timezone.now()
    )
    OutboxMessage.objects.update(suppressed_by="a silence by bea", suppressed_since=timezone.now())
    shown = page(admin_client, "outboxmessage_change", message.pk)
    assert "every channel is told of this" in shown
    assert "a silence by bea" in shown


def test_home_counts_what_is_open_without_suspicions_and_those_that_passed(admin_client: Client) -> None:
    now, monitor = timezone.now(), make_monitor()
    make_incident(monitor, slice_key="a", title="known", state="acknowledged", acknowledged_at=now)
    make_incident(monitor, slice_key="b", title="may be", state="suspect")
    over = {"state": "resolved", "resolved_at": now}
    make_incident(monitor, slice_key="c", title="faded", resolution="faded", **over)
    shown = " ".join(admin_client.get(reverse("admin:index")).content.decode().split())
    assert "1 open incident, and nobody is needed now: known" in shown
    assert "may be" not in shown
    assert "faded" not in shown
    # Somebody takes care of it, so the inbox needs nobody.
    assert "to-count" not in shown
    make_incident(monitor, slice_key="d", title="fires")
    assert re.search(r'to-count">1<', admin_client.get(reverse("admin:index")).content.decode())


BUCKET = timedelta(seconds=300)


@pytest.mark.parametrize(
    ("detection", "open_for", "resolved", "before", "after"),
    [
        (2, 2, False, 20, 0),
        (10, 12, False, 30, 0),
        (10, 800, False, 100, 0),
        (10, 20, True, 30, 30),
    ],
)
def test_plots_of_an_incident_show_three_times_its_detection_before_and_after_it(
    detection: int, open_for: int, resolved: bool, before: int, after: int
) -> None:
    onset, now = START, START + 1000 * BUCKET
    end = onset + open_for * BUCKET
    incident = Incident(
        onset_at=onset, opened_at=onset + detection * BUCKET, resolved_at=end if resolved else None
    )
    shown = plots.around(incident, now if resolved else end)
    assert shown == (onset - before * BUCKET, end + after * BUCKET)


def _stretch(number: int, **changes: Any) -> plots.Stretch:
    values: dict[str, Any] = {
        "at": START + number * BUCKET, "n": 20, "value": 0.8, "near": None, "far": None, "expected": None, "low": None,
        "high": None, "log_evidence": -1.0, "is_frozen": False, "is_found": False, "is_exact": True,
    }  # fmt: skip
    return plots.Stretch(**values | changes)


def test_plots_of_an_incident_have_one_axis_and_no_line_where_nothing_was_watched() -> None:
    monitor = make_monitor()
    end = START + 30 * BUCKET
    incident = make_incident(monitor, onset_at=START + 10 * BUCKET, opened_at=START + 12 * BUCKET)
    stretches = [
        _stretch(0, log_evidence=None, is_watched=False),
        _stretch(10, log_evidence=None, n=0),
        _stretch(11, log_evidence=None),
        _stretch(12),
    ]
    trace = plots.Trace(monitor, "all", {}, START - BUCKET, end, BUCKET, stretches)
    metric = plots.metric_chart(trace, [incident], level=0.8, now=end).options
    evidence = plots.evidence_chart(trace, [incident]).options
    wanted = {"type": "time", "min": START.timestamp() * 1000, "max": end.timestamp() * 1000}
    assert metric["xAxis"] == evidence["xAxis"] == wanted
    marks = evidence["series"][-1]["markLine"]["data"][:2]
    assert [(one["name"], one["label"]["align"]) for one in marks] == [("onset", "right"), ("found", "left")]
    line = next(one for one in evidence["series"] if one["type"] == "line")
    assert [point[1] for point in line["data"]] == [None, 1e-4, pytest.approx(0.367879)]


def test_page_of_an_incident_has_its_main_buttons_before_everything_else_on_phones(
    admin_client: Client,
) -> None:
    shown = page(admin_client, "incident_change", reported(timezone.now()).pk)
    first = shown[shown.index('class="in-first"') :]
    places = [first.index(f">{word}</a>") for word in ("Acknowledge", "Silence", "Resolve")]
    assert places == sorted(places)
    assert places[-1] < first.index("Why was I told, or not?") < first.index("Was it right to tell of it?")


def test_title_and_words_of_a_report_are_isolated_where_they_stand_in_a_sentence(
    admin_client: Client,
) -> None:
    incident = reported(timezone.now(), host="db <1>")
    incidents.comment(incident.pk, "\u05d3", actor="ann", now=timezone.now())
    told = admin_client.get(reverse("admin:monitoring_incident_told", args=[incident.pk])).content.decode()
    assert f"<bdi>{incident.title}</bdi>" in told
    assert "<bdi>db &lt;1&gt;</bdi>" in told
    shown = admin_client.get(reverse("admin:monitoring_incident_change", args=[incident.pk]))
    assert "<bdi>\u05d3</bdi>" in shown.content.decode()


def test_page_of_a_report_without_an_onset_says_that_its_detection_is_not_known(
    admin_client: Client,
) -> None:
    now = timezone.now()
    incident = incidents.report(
        Source.API, "k", title="t", severity="error", labels={}, annotations={}, onset_at=now, actor="ci", now=now
    )  # fmt: skip
    shown = page(admin_client, "incident_change", incident.pk)
    assert "How long it took to detect is not known" in shown
    assert "To detect, from the onset: <strong>–</strong>" in shown
    assert "reported, without an onset" in shown
