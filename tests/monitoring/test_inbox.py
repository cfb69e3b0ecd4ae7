"""The inbox: who is needed for what, the most urgent first, and how it stays current."""

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

from monitoring import incidents, tasks
from monitoring.models import (
    DeliveryAudit,
    EventKind,
    Incident,
    IncidentState,
    MessageStatus,
    OutboxMessage,
    Resolution,
    Source,
)
from monitoring.quiet import silences
from monitoring.reading import inbox
from tests.monitoring.factories import make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked; how often delivery would have been woken."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


def address() -> str:
    return reverse("admin:monitoring_inbox")


def page(client: Client, query: str = "") -> str:
    answer = client.get(address() + query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def reported(key: str, *, now: datetime, severity: str = "error", alertname: str = "") -> Incident:
    return incidents.report(
        Source.API,
        key,
        title=f"trouble with {key}",
        severity=severity,
        labels={"alertname": alertname or f"Trouble-{key}", "host": key},
        annotations={},
        onset_at=now,
        actor="key: infra",
        now=now,
    )


def silence(incident: Incident, now: datetime) -> None:
    until = now + timedelta(hours=1)
    silences.make(
        silences.exactly(incident),
        starts_at=now,
        ends_at=until,
        comment="a deploy",
        created_by="bea",
        now=now,
    )


def order(html: str) -> list[str]:
    return re.findall(r'class="in-title"[^>]*>([^<]+)<', html)


def test_inbox_without_incidents_says_what_will_appear(admin_client: Client) -> None:
    shown = page(admin_client)
    assert "No incident is open, so nobody is needed." in shown
    assert "will appear here by themselves" in shown
    assert "Deliveries have not been audited yet." in shown
    assert "Acknowledge chosen" not in shown


def test_inbox_is_a_short_address_that_messages_use() -> None:
    assert address() == "/admin/monitoring/incident/inbox/"


def test_inbox_begins_with_a_sentence_and_puts_the_most_urgent_first(
    admin_client: Client, admin_user: User, django_capture_on_commit_callbacks: Any
) -> None:
    now = timezone.now() - timedelta(hours=2)
    held = reported("silenced", now=now, severity="error")
    known = reported("known", now=now, severity="error")
    reported("late", now=now + timedelta(minutes=9), severity="error")
    reported("early", now=now, severity="error")
    reported("small", now=now, severity="warning")
    reported("grave", now=now + timedelta(minutes=9), severity="critical")
    incidents.acknowledge(known.pk, by=admin_user, until=now + timedelta(hours=4), now=now)
    with django_capture_on_commit_callbacks(execute=True):
        silence(held, timezone.now())
    shown = page(admin_client)
    assert "4 incidents need somebody, 1 is taken care of and 1 is silenced or held back." in shown
    names = ["grave", "early", "late", "known", "silenced", "small"]
    assert order(shown) == [f"trouble with {name}" for name in names]
    assert "admin takes care of it until" in shown
    # Why, by whom and until when: on the badge and in words.
    assert len(re.findall(r"Silenced by bea until [^<]*: a deploy", shown)) == 2
    assert re.search(r'to-count">4<', shown)


def test_inbox_leaves_out_suspicions_planted_and_resolved_ones(admin_client: Client) -> None:
    monitor = make_monitor()
    make_incident(monitor, slice_key="a", state=IncidentState.SUSPECT, title="may be bad")
    now = timezone.now()
    over = reported("over", now=now)
    incidents.resolve(over.pk, Resolution.FIXED, now=now)
    shown = page(admin_client)
    assert "No incident is open" in shown
    assert "1 suspicion" in shown
    assert order(shown) == []


def test_inbox_live_part_answers_304_until_something_changes(admin_client: Client) -> None:
    now = timezone.now()
    incident = reported("db", now=now)
    first = admin_client.get(address(), {"live": "1"})
    assert b"<html" not in first.content
    assert b"trouble with db" in first.content
    known = {"If-None-Match": first.headers["ETag"]}
    assert admin_client.get(address(), {"live": "1"}, headers=known).status_code == 304
    incidents.acknowledge(incident.pk, now=now)
    changed = admin_client.get(address(), {"live": "1"}, headers=known)
    assert changed.status_code == 200
    assert b"1 is taken care of" in changed.content
    again = {"If-None-Match": changed.headers["ETag"]}
    assert admin_client.get(address(), {"live": "1"}, headers=again).status_code == 304
    silence(incident, now)
    incidents.flag(Incident.objects.get(), "no_data", why="nothing comes", now=now)  # type: ignore[arg-type]
    assert admin_client.get(address(), {"live": "1"}, headers=again).status_code == 200


def test_inbox_page_and_its_live_part_carry_the_same_tag(admin_client: Client) -> None:
    reported("db", now=timezone.now())
    tag = admin_client.get(address(), {"live": "1"}).headers["ETag"]
    assert f'data-etag="{tag.replace(chr(34), "&quot;")}"' in page(admin_client)


def test_inbox_folds_many_of_one_story_and_acts_on_all_of_them(
    admin_client: Client, django_capture_on_commit_callbacks: Any, wakes: list[str]
) -> None:
    now = timezone.now()
    for number in range(12):
        reported(f"web-{number}", now=now, alertname="DiskFull")
    reported("db", now=now, severity="critical", alertname="DiskFull")
    reported("old", now=now - timedelta(hours=7), alertname="DiskFull")
    shown = page(admin_client)
    assert "12 incidents of “DiskFull”" in shown
    assert "And 2 more of them." in shown
    # What is graver, and what began at another time, stands for itself.
    assert order(shown)[0] == "trouble with db"
    [chosen] = re.findall(r'value="(story:[^"]+)"', shown)
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(address(), {"incident": chosen, "acknowledge": "selected"}, follow=True)
    assert "12 incidents were acknowledged." in answer.content.decode()
    assert Incident.objects.filter(state=IncidentState.ACKNOWLEDGED).count() == 12
    assert wakes == ["woken"]


def ask(client: Client, *chosen: str) -> str:
    """The question that is asked before many are resolved."""
    answer = client.post(address(), {"incident": list(chosen), "resolve": "1"})
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def confirm(client: Client, question: str, **given: str) -> Any:
    [ids] = re.findall(r'name="incidents" value="([^"]+)"', question)
    return client.post(reverse("admin:monitoring_resolve_many"), {"incidents": ids, "back": "inbox", **given})


def test_inbox_resolves_the_chosen_ones_after_a_question_with_reason_and_note(
    admin_client: Client, admin_user: User
) -> None:
    now = timezone.now()
    first, second, third = (reported(name, now=now) for name in ("a", "b", "c"))
    question = ask(admin_client, str(first.pk), str(second.pk))
    assert "Resolve 2 incidents: 2 error?" in question
    assert Incident.objects.unresolved().count() == 3
    confirm(admin_client, question, resolution="expected", note="a rebuild")
    states = dict(Incident.objects.values_list("pk", "state"))
    assert [states[one.pk] for one in (first, second, third)] == ["resolved", "resolved", "firing"]
    event = first.events.get(kind=EventKind.RESOLVED)
    assert (event.by, event.details["resolution"]) == (admin_user, "expected")
    assert event.details["note"] == "a rebuild"


def test_question_before_a_story_is_resolved_counts_by_severity_and_says_what_is_folded(
    admin_client: Client,
) -> None:
    now = timezone.now()
    for number in range(15):
        reported(f"web-{number}", now=now, alertname="DiskFull")
    grave = reported("db", now=now, severity="critical")
    incidents.acknowledge(grave.pk, now=now)
    [story] = re.findall(r'value="(story:[^"]+)"', page(admin_client))
    question = ask(admin_client, story, str(grave.pk))
    assert "Resolve 16 incidents: 1 critical, 15 error?" in question
    assert "15 of them are folded into lines of the inbox" in question
    assert "Nobody has acknowledged 15 of 16 incidents." in question
    assert "And 4 more" in question
    # What is found after the question stays open.
    late = reported("web-late", now=now, alertname="DiskFull")
    confirm(admin_client, question, resolution="fixed")
    assert [one.pk for one in Incident.objects.unresolved()] == [late.pk]


def test_question_without_a_reason_is_asked_again_and_none_is_preset(admin_client: Client) -> None:
    incident = reported("db", now=timezone.now())
    question = ask(admin_client, str(incident.pk))
    assert re.search(r'<option value="" selected>\s*Choose a reason', question)
    answer = confirm(admin_client, question, resolution="", note="hm")
    assert answer.status_code == 200
    assert "Choose why it is over." in answer.content.decode()
    assert Incident.objects.get().state == IncidentState.FIRING


def test_question_says_that_halted_experiments_stay_halted(admin_client: Client) -> None:
    now = timezone.now()
    incident = Incident.objects.create(
        experiment="exp-1",
        experiment_event=1,
        title="exp-1 was halted",
        severity="error",
        onset_at=now,
        opened_at=now,
    )
    assert "1 halted experiment stays halted." in ask(admin_client, str(incident.pk))


def test_question_for_who_may_only_look_is_refused(client: Client) -> None:
    incident = reported("db", now=timezone.now())
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(guest)
    given = {"incidents": str(incident.pk), "resolution": "fixed"}
    assert client.post(reverse("admin:monitoring_resolve_many"), given).status_code == 403
    assert Incident.objects.get().state == IncidentState.FIRING


def test_incident_list_asks_before_it_resolves_the_chosen_ones(admin_client: Client) -> None:
    incident = reported("db", now=timezone.now(), severity="critical")
    changelist = reverse("admin:monitoring_incident_changelist")
    given = {"action": "resolve_chosen", "_selected_action": str(incident.pk)}
    question = admin_client.post(changelist, given)
    assert "Resolve 1 incident: 1 critical?" in question.content.decode()
    assert Incident.objects.get().state == IncidentState.FIRING
    answer = confirm(admin_client, question.content.decode(), resolution="fixed", back="list")
    assert answer["Location"] == changelist
    assert Incident.objects.get().state == IncidentState.RESOLVED


def test_inbox_button_of_a_row_acknowledges_that_row_only(admin_client: Client) -> None:
    now = timezone.now()
    first, second = (reported(name, now=now) for name in ("a", "b"))
    # The browser sends what is chosen, and the list of reasons, along with the button.
    given = {"incident": str(second.pk), "acknowledge": str(first.pk), "resolution": "fixed"}
    admin_client.post(address(), given)
    states = dict(Incident.objects.values_list("pk", "state"))
    assert (states[first.pk], states[second.pk]) == ("acknowledged", "firing")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"acknowledge": "selected"}, "Nothing was chosen"),
        ({"incident": "01890000-0000-7000-8000-000000000000", "acknowledge": "selected"}, "does not exist"),
        ({"incident": "story:none", "acknowledge": "selected"}, "Nothing was chosen"),
    ],
)
def test_inbox_with_nothing_to_do_says_so(given: dict[str, str], words: str, admin_client: Client) -> None:
    assert words in admin_client.post(address(), given, follow=True).content.decode()


def test_inbox_for_who_may_only_look_has_no_buttons_and_does_nothing(client: Client) -> None:
    incident = reported("db", now=timezone.now())
    guest = User.objects.create_user("guest", is_staff=True)
    client.force_login(guest)
    assert client.get(address()).status_code == 403
    guest.user_permissions.add(Permission.objects.get(codename="view_incident"))
    shown = page(client)
    assert "trouble with db" in shown
    assert "Acknowledge" not in shown
    assert client.post(address(), {"acknowledge": str(incident.pk)}).status_code == 403
    assert Incident.objects.get().state == IncidentState.FIRING
    # What somebody has read is their own.
    assert client.post(address(), {"read": "1"}).status_code == 302


def test_inbox_marks_what_a_person_has_not_read(admin_client: Client) -> None:
    make_channel("inbox", kind="inbox", url="")
    now = timezone.now()
    reported("db", now=now - timedelta(minutes=1))
    assert OutboxMessage.objects.update(status=MessageStatus.DELIVERED, delivered_at=now) == 1
    shown = page(admin_client)
    assert "in-unread" in shown
    assert "Told here" in shown
    assert shown.count(">unread<") == 2
    admin_client.post(address(), {"read": "1"})
    assert ">unread<" not in page(admin_client)
    assert "Mark as read" not in page(admin_client)
    reported("db-2", now=timezone.now() + timedelta(seconds=1))
    assert page(admin_client).count("in-unread") == 1


def test_inbox_says_when_those_who_should_be_told_are_not(admin_client: Client) -> None:
    now = timezone.now()
    audit = DeliveryAudit.objects.create(audited_at=now, passed_at=now)
    assert "Every open incident was told, or is about to be; audited" in page(admin_client)
    make_channel("gone", is_enabled=False, disabled_reason="answered 410")
    assert "Channel “gone” was disabled: answered 410." in page(admin_client)
    audit.findings = [{"text": "incident x has no message"}]
    audit.save()
    assert "Incident x has no message" in page(admin_client)
    audit.audited_at = now - timedelta(minutes=10)
    audit.save()
    assert "Nobody has audited deliveries lately" in page(admin_client)


def test_inbox_of_a_thousand_shows_fifty_and_says_how_many_there_are(admin_client: Client) -> None:
    now = timezone.now()
    Incident.objects.bulk_create(
        Incident(
            source=Source.API,
            slice_key=str(number),
            labels={"alertname": f"Alert-{number}"},
            title=f"alert {number}",
            severity="warning",
            onset_at=now,
            opened_at=now,
        )
        for number in range(1_000)
    )
    page(admin_client)
    with CaptureQueriesContext(connection) as queries:
        shown = page(admin_client)
    assert len(queries) <= 10
    assert "1 000 incidents need somebody." in shown
    assert len(order(shown)) == 50
    assert "950 more incidents are open, less urgent than these." in shown
    assert "?state=open" in shown


def test_story_keeps_its_key_when_the_most_urgent_of_it_changes() -> None:
    now = timezone.now()
    first = [reported(f"web-{number}", now=now, alertname="DiskFull") for number in range(5)]
    [before] = inbox.lines(inbox.read())
    incidents.acknowledge(first[0].pk, now=now)
    [after] = inbox.lines(inbox.read())
    assert before.key == after.key
    assert before.first.id != after.first.id
    assert set(inbox.story_named(after.key)) == {one.pk for one in first}


def told_here(key: str, now: datetime, alertname: str) -> None:
    reported(key, now=now, alertname=alertname)
    OutboxMessage.objects.filter(status=MessageStatus.PENDING).update(
        status=MessageStatus.DELIVERED, delivered_at=now
    )


def test_inbox_says_messages_of_one_alert_once(admin_client: Client) -> None:
    make_channel("inbox", kind="inbox", url="")
    now = timezone.now()
    told_here("db", now, "Database")
    for number in range(20):
        told_here(f"web-{number}", now, "DiskFull")
    shown = page(admin_client)
    told = shown[shown.index("Told here") :]
    assert told.count("<li") == 2
    assert "and 19 more like it" in told


def test_inbox_does_not_speak_of_a_last_reading_to_who_never_read_it(admin_client: Client) -> None:
    reported("db", now=timezone.now() - timedelta(minutes=1))
    assert "since you last read" not in page(admin_client)
    assert "You have not marked the inbox as read yet: 1 incident in it." in page(admin_client)
    admin_client.post(address(), {"read": "1"})
    reported("db-2", now=timezone.now() + timedelta(seconds=1))
    assert "1 incident opened since you last read the inbox" in page(admin_client)
