"""What PagerDuty tells back: signed, at least once, in any order, and also what we told it ourselves."""

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from monitoring import incidents
from monitoring.models import Channel, Incident, OutboxMessage, Resolution
from tests.monitoring.factories import make_channel, make_incident, make_monitor
from tests.monitoring.test_rest_channels import make_message

pytestmark = pytest.mark.django_db

SECRET = "from-pagerduty"


@pytest.fixture
def pager() -> Channel:
    return make_channel("pager", kind="pagerduty", url="", secret="r" * 32, inbound_secret=SECRET)


@pytest.fixture
def incident(pager: Channel) -> Incident:
    """One that the channel was told of."""
    found = make_incident(make_monitor(), opened_at=timezone.now() - timedelta(hours=1))
    incidents.comment(
        found.pk, "so that its log begins", actor="test", now=timezone.now() - timedelta(hours=1)
    )
    make_message(channel=pager, incident=found)
    found.refresh_from_db()
    return found


def event(incident_id: Any, kind: str = "acknowledged", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": str(uuid4()),
        "event_type": f"incident.{kind}",
        "resource_type": "incident",
        "occurred_at": timezone.now().isoformat(),
        "agent": {"type": "user_reference", "summary": "Ann Ito"},
        "data": {
            "incident_key": f"triageops:{incident_id}",
            "html_url": "https://acme.pagerduty.com/incidents/1",
        },
    }
    return {"event": values | changes}


def call(channel_id: int, body: Any, *, secret: str = SECRET, signature: str | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    if signature is None:
        signature = "v1=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"X-PagerDuty-Signature": signature}
    return Client().post(f"/api/v1/hooks/pagerduty/{channel_id}", raw, "application/json", headers=headers)


def said(channel: Channel, body: Any) -> str:
    answer = call(channel.pk, body)
    assert answer.status_code == 202, answer.json()
    return str(answer.json()["outcome"])


def test_acknowledged_there_is_acknowledged_here(pager: Channel, incident: Incident) -> None:
    told = event(incident.pk)
    assert said(pager, told) == "Acknowledged."
    incident.refresh_from_db()
    last = incident.events.order_by("-seq")[0]
    assert (incident.state, last.actor, last.by) == ("acknowledged", "PagerDuty: Ann Ito", None)
    assert last.details["pagerduty_event"] == told["event"]["id"]


def test_same_event_twice_does_nothing_even_after_it_was_undone(pager: Channel, incident: Incident) -> None:
    told = event(incident.pk)
    said(pager, told)
    incidents.unacknowledge(incident.pk, actor="bob", now=timezone.now())
    assert said(pager, told) == "Ignored: this event was acted on before."
    assert Incident.objects.get().state == "firing"


def test_event_older_than_the_last_decision_here_does_nothing(pager: Channel, incident: Incident) -> None:
    incidents.acknowledge(incident.pk, actor="bob", now=timezone.now())
    incidents.unacknowledge(incident.pk, actor="bob", now=timezone.now())
    old = event(incident.pk, occurred_at=(timezone.now() - timedelta(minutes=5)).isoformat())
    assert said(pager, old) == "Ignored: somebody decided otherwise since."
    assert Incident.objects.get().state == "firing"


def test_unacknowledged_there_fires_here_again(pager: Channel, incident: Incident) -> None:
    said(pager, event(incident.pk))
    assert said(pager, event(incident.pk, "unacknowledged")) == "Not acknowledged any more."
    assert Incident.objects.get().state == "firing"
    assert said(pager, event(incident.pk, "unacknowledged")) == "Ignored: it is so already."


def test_resolved_there_is_fixed_here(pager: Channel, incident: Incident) -> None:
    assert said(pager, event(incident.pk, "resolved")) == "Resolved."
    incident.refresh_from_db()
    assert (incident.state, incident.resolution) == ("resolved", "fixed")
    assert incident.events.order_by("-seq")[0].details["note"] == "in PagerDuty"
    assert said(pager, event(incident.pk, "resolved")) == "Ignored: it is so already."
    assert said(pager, event(incident.pk)).startswith("Ignored: ")


def test_echo_of_what_we_told_changes_nothing(pager: Channel, incident: Incident) -> None:
    ours = {"type": "inbound_integration_reference", "summary": "TriageOps"}
    incidents.acknowledge(incident.pk, actor="bob", now=timezone.now())
    version = Incident.objects.get().version
    messages = OutboxMessage.objects.count()
    assert said(pager, event(incident.pk, agent=ours)) == "Ignored: it is so already."
    assert (Incident.objects.get().version, OutboxMessage.objects.count()) == (version, messages)
    incidents.resolve(incident.pk, Resolution.EXPECTED, actor="bob", now=timezone.now())
    assert said(pager, event(incident.pk, "resolved", agent=ours)) == "Ignored: it is so already."
    assert Incident.objects.get().resolution == "expected"


def test_time_out_of_pagerduty_resolves_nothing_here(pager: Channel, incident: Incident) -> None:
    automaton = {"type": "service_reference", "summary": "Auto-resolve"}
    assert said(pager, event(incident.pk, "resolved", agent=automaton)).startswith("Ignored: no person")
    assert Incident.objects.get().state == "firing"


def test_other_events_change_nothing(pager: Channel, incident: Incident) -> None:
    for kind in ("triggered", "escalated", "reopened", "annotated", "priority_updated"):
        assert said(pager, event(incident.pk, kind)).startswith("Ignored: ")
    assert Incident.objects.get().version == incident.version


@pytest.mark.parametrize(
    "key", ["", "triageops:", "triageops:x", "triageops:7b0f3c52-2d9e-4a55-9d3f-0c1f6f3f2a10", "other:1"]
)
def test_unknown_key_is_taken_and_ignored(pager: Channel, key: str) -> None:
    assert said(pager, event("x", data={"incident_key": key})).startswith("Ignored: There is no incident")


def test_channel_answers_only_for_what_it_was_told(pager: Channel) -> None:
    stranger = make_incident(make_monitor())
    assert said(pager, event(stranger.pk)).startswith("Ignored: There is no incident")
    assert Incident.objects.get().state == "firing"


@pytest.mark.parametrize("signature", ["", "v1=", "v1=" + "0" * 64, "v2=x", "ü", "v1=" + "0" * 5000])
def test_wrong_signature_is_refused(pager: Channel, incident: Incident, signature: str) -> None:
    try:
        answer = call(pager.pk, event(incident.pk), signature=signature)
    except UnicodeError:
        pytest.skip("no client can send this")
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/bad-signature")
    assert Incident.objects.get().state == "firing"


def test_unknown_channel_other_kinds_and_missing_secrets_answer_alike(
    pager: Channel, incident: Incident
) -> None:
    hook = make_channel("hook", inbound_secret=SECRET)
    bare = make_channel("bare", kind="pagerduty", secret="r" * 32)
    for channel_id in (hook.pk, bare.pk, 999_999):
        for secret in (SECRET, ""):
            assert call(channel_id, event(incident.pk), secret=secret).status_code == 401


def test_changed_body_does_not_fit_its_signature(pager: Channel, incident: Incident) -> None:
    body = json.dumps(event(incident.pk)).encode()
    signature = "v1=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    changed = body.replace(b"acknowledged", b"unacknowledged")
    assert call(pager.pk, changed, signature=signature).status_code == 401
    assert call(pager.pk, body, signature=f"v1={'0' * 64},{signature}").status_code == 202


def test_large_and_unreadable_bodies_are_refused(pager: Channel) -> None:
    assert call(pager.pk, b" " * (64 * 1024 + 1)).status_code == 413
    for body in (b"{", b"[]", b'{"event": 5}', b"\xff"):
        assert call(pager.pk, body).status_code == 400


def test_resolve_of_a_monitors_incident_starts_its_slice_anew(pager: Channel, incident: Incident) -> None:
    assert incident.monitor is not None
    incident.monitor.slices.update(log_evidence=0.5)
    said(pager, event(incident.pk, "resolved"))
    assert list(incident.monitor.slices.values_list("log_evidence", flat=True)) == [None]


def test_event_without_a_time_is_believed(pager: Channel, incident: Incident) -> None:
    incidents.acknowledge(incident.pk, actor="bob", now=timezone.now())
    incidents.unacknowledge(incident.pk, actor="bob", now=timezone.now())
    assert said(pager, event(incident.pk, occurred_at="yesterday")) == "Acknowledged."
