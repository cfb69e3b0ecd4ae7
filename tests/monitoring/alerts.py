"""What Alertmanager's webhook sends."""

from datetime import datetime
from typing import Any

ZERO = "0001-01-01T00:00:00Z"


def alert(name: str = "HighLatency", **changes: Any) -> dict[str, Any]:
    """One that fires; `labels` are added to its name and severity."""
    labels = {"alertname": name, "severity": "critical"} | changes.pop("labels", {})
    values: dict[str, Any] = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{name} on all pods"},
        "startsAt": "2026-03-01T12:00:00.123456789Z",
        "endsAt": ZERO,
        "generatorURL": "http://prometheus.example.org/graph?g0.expr=up",
        "fingerprint": "c0ffee",
    }
    return values | changes


def payload(*alerts: Any, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "triageops",
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {"alertname": "HighLatency"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.org:9093",
        "notification_reason": "first",
        "alerts": list(alerts),
    }
    return body | changes


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
