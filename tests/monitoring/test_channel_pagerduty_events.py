import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.channels.pagerduty_events import BODY_MAX, UnreadableEvent, is_signed, read

EVENT: dict[str, Any] = {
    "event": {
        "id": "01BZXQ5Y2QWZ3VJQ6XNPJ5R9CV",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2026-03-01T12:00:22.169Z",
        "agent": {"id": "PLH1HKV", "summary": "Ana Müller", "type": "user_reference"},
        "client": None,
        "data": {
            "id": "PGR0VU2",
            "type": "incident",
            "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
            "status": "acknowledged",
            "incident_key": "triageops:0190",
            "service": {"summary": "Triage", "type": "service_reference"},
        },
    }
}


def signed(body: bytes, *secrets: str) -> str:
    return ",".join("v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)


def changed(**changes: Any) -> bytes:
    return json.dumps({"event": EVENT["event"] | changes}).encode()


def test_pagerduty_signature_of_the_body_is_accepted() -> None:
    body = json.dumps(EVENT, ensure_ascii=False).encode()
    assert is_signed(signed(body, "one"), body, ["one"])


def test_pagerduty_signature_of_a_known_vector_is_accepted() -> None:
    # RFC 4231, test case 2.
    header = "v1=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert is_signed(header, b"what do ya want for nothing?", ["Jefe"])


def test_pagerduty_signature_during_a_change_of_secret_is_accepted() -> None:
    assert is_signed(signed(b"x", "old", "new"), b"x", ["new"])
    assert is_signed(signed(b"x", "new"), b"x", ["old", "new"])
    assert is_signed("v2=zz, " + signed(b"x", "new"), b"x", ["new"])


@pytest.mark.parametrize(
    "header",
    ["", ",", "v1=", "v1", "v1=é", "v1=\udcff", "v2=" + "0" * 64, "0" * 64, "v1=" + "0" * 64, "v1=abc,,=,v1=", "\x00"],
)  # fmt: skip
def test_pagerduty_signature_that_is_none_is_refused(header: str) -> None:
    assert not is_signed(header, b"x", ["one"])


def test_pagerduty_signature_of_another_body_or_secret_is_refused() -> None:
    assert not is_signed(signed(b"x", "one"), b"x ", ["one"])
    assert not is_signed(signed(b"x", "one"), b"x", ["two"])
    assert not is_signed(signed(b"x", "one"), b"x", [])


def test_pagerduty_signature_without_a_secret_of_ours_is_refused() -> None:
    # Else whoever signs with nothing would be believed by a channel whose secret is not set.
    assert not is_signed(signed(b"x", ""), b"x", [""])


def test_pagerduty_event_says_what_happened_to_which_incident_and_by_whom() -> None:
    found = read(changed())
    assert (found.kind, found.dedup_key, found.who) == ("acknowledge", "triageops:0190", "Ana Müller")
    assert found.is_by_person
    assert found.occurred_at == datetime(2026, 3, 1, 12, 0, 22, 169000, tzinfo=UTC)
    assert (found.id, found.service) == ("01BZXQ5Y2QWZ3VJQ6XNPJ5R9CV", "Triage")


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("incident.unacknowledged", "unacknowledge"),
        ("incident.resolved", "resolve"),
        ("incident.reopened", "reopen"),
        ("incident.triggered", "trigger"),
        ("incident.delegated", "reassign"),
        ("incident.annotated", "other"),
        ("pagey.ping", "ping"),
        ("something.new", "other"),
    ],
)
def test_pagerduty_event_of_each_type_has_its_kind(event_type: str, kind: str) -> None:
    assert read(changed(event_type=event_type)).kind == kind


def test_pagerduty_event_of_our_own_doing_is_not_by_a_person() -> None:
    for agent in (None, {"summary": "TriageOps", "type": "integration_reference"}):
        assert not read(changed(agent=agent)).is_by_person
    assert read(changed(agent=None)).who == "PagerDuty"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"event":1}', b'{"event":{}}', b'{"event":{"event_type":7}}', b"[" * 99_999, b"\xff"],
)  # fmt: skip
def test_pagerduty_event_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        read(body)


def test_pagerduty_event_that_is_too_large_is_refused() -> None:
    with pytest.raises(UnreadableEvent, match="bytes"):
        read(b" " * (BODY_MAX + 1))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)  # fmt: skip
def test_pagerduty_event_with_anything_in_its_parts_is_read(part: Any) -> None:
    found = read(
        changed(agent=part, data={"incident_key": part, "html_url": part}, occurred_at=part, id=part)
    )
    assert "\x00" not in found.dedup_key
    assert len(found.who) <= 300


def test_pagerduty_event_with_signs_that_no_database_takes_is_cleaned() -> None:
    found = read(changed(agent={"summary": "a\x00\ud800b"}, data={"html_url": "javascript:alert(1)"}))
    assert (found.who, found.html_url) == ("a?b", "")
