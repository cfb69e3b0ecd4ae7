import json
from datetime import UTC, datetime
from typing import Any

import pytest

from monitoring.channels.channel import DeliveryError, Notice, Outgoing, Written
from monitoring.channels.pagerduty import EVENTS_URL, PagerDuty, dedup_key_of
from tests.monitoring.receiver import Receiver, answer, break_off

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"
INCIDENT = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
PAYLOAD: dict[str, Any] = {
    "at": "2026-03-01T11:59:00Z",
    "incident_id": INCIDENT,
    "state": "firing",
    "severity": "critical",
    "title": "helpfulness is below 0.8",
    "summary": "Found 5 min after it seems to have begun.",
    "monitor": "helpfulness floor",
    "metric": "helpfulness",
    "effect_text": "0.7 against 0.8",
    "labels": {"lang": "es"},
    "opened_at": "2026-03-01T11:58:00Z",
    "incident_url": "https://triage.example.org/admin/monitoring/incident/1/change/",
    "runbook_url": "https://runbooks.example.org/quality",
}
TAKEN = answer(
    202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": "k"}).encode()
)


def notice(kind: str = "trigger", payload: dict[str, Any] | None = None, **changes: Any) -> Notice:
    said = {name: changes.pop(name) for name in ("written", "complaint") if name in changes}
    values = {"dedup_key": f"triageops:{INCIDENT}"} | changes
    return Notice((Outgoing("msg_1", kind, PAYLOAD | (payload or {}), **values),), **said)


def event(given: Notice) -> dict[str, Any]:
    (body,) = PagerDuty(KEY).events(given)
    found: dict[str, Any] = json.loads(body)
    return found


def test_pagerduty_trigger_has_the_published_shape(receiver: Receiver) -> None:
    receiver.script.append(TAKEN)
    assert PagerDuty(KEY, receiver.url).send(notice(), now=NOW).status == 202
    got = receiver.got[0]
    assert got.headers["content-type"] == "application/json"
    assert "authorization" not in got.headers
    body = json.loads(got.body)
    details = body["payload"].pop("custom_details")
    assert body == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": f"triageops:{INCIDENT}",
        "payload": {
            "summary": "helpfulness is below 0.8",
            "source": "triageops/triage.example.org",
            "severity": "critical",
            "timestamp": "2026-03-01T11:58:00Z",
            "component": "helpfulness floor",
            "class": "helpfulness",
        },
        "client": "TriageOps",
        "client_url": PAYLOAD["incident_url"],
        "links": [
            {"href": PAYLOAD["incident_url"], "text": "Open incident"},
            {"href": PAYLOAD["runbook_url"], "text": "Runbook"},
        ],
    }
    assert details["Effect"] == "0.7 against 0.8"
    assert details["Labels"] == {"lang": "es"}


@pytest.mark.parametrize("kind", ["acknowledge", "resolve"])
def test_pagerduty_acknowledge_and_resolve_carry_the_key_and_nothing_else(kind: str) -> None:
    assert event(notice(kind)) == {
        "routing_key": KEY,
        "event_action": kind,
        "dedup_key": f"triageops:{INCIDENT}",
    }


def test_pagerduty_reminder_triggers_the_same_incident_again() -> None:
    found = event(notice("reminder", {"reminder": 2}))
    assert (found["event_action"], found["dedup_key"]) == ("trigger", f"triageops:{INCIDENT}")
    assert found["payload"]["summary"] == "Still firing, reminder 2 · helpfulness is below 0.8"


def test_pagerduty_test_is_opened_and_resolved_under_a_key_of_its_own(receiver: Receiver) -> None:
    receiver.script.extend([TAKEN, TAKEN])
    PagerDuty(KEY, receiver.url).send(notice("test", {"state": "test"}), now=NOW)
    first, second = (json.loads(got.body) for got in receiver.got)
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "triageops:test:msg_1"
    assert first["payload"]["severity"] == "info"


def test_pagerduty_summary_is_cut_at_its_limit() -> None:
    summary = event(notice(payload={"title": "🩺" * 5000}))["payload"]["summary"]
    assert (len(summary), summary[-1]) == (1024, "…")


def test_pagerduty_event_above_the_limit_loses_its_details_and_says_so() -> None:
    labels = {f"label{number}": "é" * 1000 for number in range(300)}
    (body,) = PagerDuty(KEY).events(notice(payload={"labels": labels}))
    assert len(body) <= 512_000
    found = json.loads(body)["payload"]
    assert "left out" in found["custom_details"]["Note"]
    assert found["summary"] == "helpfulness is below 0.8"


def test_pagerduty_event_at_the_limit_keeps_its_details() -> None:
    labels = {f"label{number}": "a" * 1000 for number in range(490)}
    (body,) = PagerDuty(KEY).events(notice(payload={"labels": labels}))
    assert 400_000 < len(body) <= 512_000
    assert json.loads(body)["payload"]["custom_details"]["Labels"] == labels


def test_pagerduty_key_of_any_length_stays_within_the_limit_and_apart() -> None:
    first, second = (
        dedup_key_of(Outgoing("msg_1", "trigger", {}, dedup_key="k" * 300 + end)) for end in "ab"
    )
    assert (len(first), first == second) == (255, False)
    assert dedup_key_of(Outgoing("msg_1", "resolve", {"incident_id": "7"})) == "triageops:7"


def test_pagerduty_trigger_with_nothing_known_has_what_is_required() -> None:
    found = event(Notice((Outgoing("msg_1", "trigger", {}),)))
    assert found["payload"]["summary"] == "An incident without a title"
    assert (found["payload"]["source"], found["payload"]["severity"]) == ("triageops", "error")
    assert "links" not in found
    assert "client_url" not in found


def test_pagerduty_links_are_of_the_web_only() -> None:
    found = event(notice(payload={"runbook_url": "javascript:alert(1)", "incident_url": "ftp://x"}))
    assert "links" not in found
    assert "client_url" not in found


def test_pagerduty_trigger_that_was_held_back_says_so_in_its_summary() -> None:
    held = notice(suppressed_since="2026-03-01T10:00:00Z", suppressed_by="maintenance “move”")
    assert (
        "(Suppressed since 2026-03-01T10:00:00Z by maintenance “move”;" in event(held)["payload"]["summary"]
    )


def test_pagerduty_trigger_in_an_administrators_words_keeps_the_facts() -> None:
    found = event(notice(written=Written("Wake\nup", "Go and see."), complaint=""))["payload"]
    assert (found["summary"], found["custom_details"]["Text"]) == ("Wake up", "Go and see.")
    assert found["custom_details"]["Effect"] == "0.7 against 0.8"


@pytest.mark.parametrize(
    ("status", "body", "permanent", "is_ambiguous", "said"),
    [
        (400, b'{"status":"invalid event","message":"Event object is invalid","errors":["no key"]}', True, False, "no key"),
        (400, b"not json", True, False, "400"),
        (400, b'{"message":{},"errors":[7,"bad key"]}', True, False, "bad key"),
        (429, b"", False, False, "429"),
        (500, b"", False, False, "500"),
        (502, b"", False, True, "502"),
        (302, b"", False, False, "redirect"),
        (200, b"<html>log in</html>", False, True, "instead of 202"),
        (202, b'{"status":"throttled"}', False, True, "throttled"),
        (202, b"[" * 50_000, None, None, ""),
        (202, b"", None, None, ""),
    ],
)  # fmt: skip
def test_pagerduty_answer_is_judged(
    receiver: Receiver, status: int, body: bytes, permanent: bool | None, is_ambiguous: bool | None, said: str
) -> None:
    receiver.script.append(answer(status, body, Retry_After="7"))
    channel = PagerDuty(KEY, receiver.url)
    if permanent is None:
        assert channel.send(notice(), now=NOW).status == 202
        return
    with pytest.raises(DeliveryError) as failed:
        channel.send(notice(), now=NOW)
    assert said in failed.value.reason
    assert (failed.value.permanent, failed.value.is_ambiguous) == (permanent, is_ambiguous)
    assert failed.value.retry_after == (7 if status in {400, 429, 500, 502, 302} else None)
    assert not failed.value.is_gone


def test_pagerduty_whose_connection_breaks_is_in_doubt(receiver: Receiver) -> None:
    receiver.script.append(break_off)
    with pytest.raises(DeliveryError) as failed:
        PagerDuty(KEY, receiver.url).send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous) == (False, True)


def test_pagerduty_settings_need_a_routing_key_and_no_address() -> None:
    assert PagerDuty.mistakes({"url": "", "secret": KEY}) == {}
    assert set(PagerDuty.mistakes({"url": "ftp://x", "secret": "short"})) == {"url", "secret"}
    assert PagerDuty(KEY).url == EVENTS_URL
