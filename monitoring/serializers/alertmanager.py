"""Incidents and silences in the shapes of Alertmanager's API v2."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime

from monitoring.exports.masking import title_of
from monitoring.labels import public_labels_of
from monitoring.models import Flag, Incident, Silence
from monitoring.notifying.payloads import incident_url
from monitoring.quiet.causes import Causes
from monitoring.quiet.silences import state_of
from monitoring.routing.matchers import MATCHERS_MAX, InvalidMatcher, Matcher, from_api

FIRES_FOR = timedelta(minutes=5)
"""Alertmanager's resolve_timeout: what does not say when it ends."""

_REQUIRED = ("comment", "createdBy", "endsAt", "matchers", "startsAt")
_FNV_OFFSET, _FNV_PRIME, _SEPARATOR = 0xCBF29CE484222325, 0x100000001B3, b"\xff"


class Unprocessable(ValueError):
    """The body has not the form that the API asks for. code: go-openapi's."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class GivenSilence:
    id: str
    matchers: list[Matcher]
    starts_at: datetime
    ends_at: datetime
    comment: str
    created_by: str


def fingerprint(labels: Mapping[str, str]) -> str:
    """Prometheus' identity of a set of labels: FNV-1a of the names and values, sorted, each ended by a byte of ones."""
    found = _FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + _SEPARATOR + labels[name].encode() + _SEPARATOR:
            found = (found ^ byte) * _FNV_PRIME % 2**64
    return f"{found:016x}"


def alert_shape(
    incident: Incident,
    causes: Causes,
    receivers: Sequence[str],
    fingerprints: Mapping[str, str],
    now: datetime,
) -> dict[str, Any]:
    """What messages may say of it. A maintenance window stands among the silences.

    fingerprints: of the incidents that may hold this one back, by id.
    """
    labels = public_labels_of(incident)
    silenced = [one.key for one in causes.get(Flag.SILENCED, [])]
    silenced += [one.cause for one in causes.get(Flag.MAINTENANCE, [])]
    inhibited = [fingerprints.get(one.key, one.key) for one in causes.get(Flag.INHIBITED, [])]
    monitor = incident.monitor
    annotations = {
        "summary": title_of(incident, now),
        "runbook_url": monitor.runbook_url if monitor is not None else "",
        **{name: str(text) for name, text in incident.annotations.items()},
    }
    return {
        "annotations": {name: text for name, text in annotations.items() if text},
        "endsAt": time_text(max(incident.expected_until or now, now + FIRES_FOR)),
        "fingerprint": fingerprint(labels),
        "receivers": [{"name": name} for name in receivers],
        "startsAt": time_text(incident.onset_at),
        "status": {
            "inhibitedBy": inhibited,
            "silencedBy": silenced,
            "state": "suppressed" if silenced or inhibited else "active",
        },
        "updatedAt": time_text(incident.opened_at),
        "generatorURL": incident_url(incident),
        "labels": labels,
    }


def silence_shape(silence: Silence, now: datetime) -> dict[str, Any]:
    return {
        "id": str(silence.pk),
        "status": {"state": state_of(silence, now)},
        "updatedAt": time_text(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": time_text(silence.ends_at),
        "matchers": silence.matchers,
        "startsAt": time_text(silence.starts_at),
    }


def read_silence(body: Any) -> GivenSilence:
    """Raises Unprocessable or InvalidMatcher."""
    if not isinstance(body, Mapping):
        raise Unprocessable(400, "the body is no silence: send an object")
    for name in _REQUIRED:
        if body.get(name) is None:
            raise Unprocessable(602, f"{name} in body is required")
    texts = {name: body.get(name) or "" for name in ("id", "comment", "createdBy")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise Unprocessable(601, f"{name} in body must be of type string")
    given = body["matchers"]
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise Unprocessable(601, "matchers in body must be of type array")
    if len(given) > MATCHERS_MAX:
        raise InvalidMatcher(f"There are {len(given)} matchers; the most is {MATCHERS_MAX}.")
    return GivenSilence(
        texts["id"],
        [from_api({name: value for name, value in one.items() if value is not None}) for one in given],
        _time(body, "startsAt"),
        _time(body, "endsAt"),
        texts["comment"],
        texts["createdBy"],
    )


def groups_of(alerts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Alerts of one receiver and one name together."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for alert in alerts:
        for receiver in alert["receivers"]:
            found.setdefault((receiver["name"], alert["labels"]["alertname"]), []).append(alert)
    return [
        {"alerts": members, "labels": {"alertname": alertname}, "receiver": {"name": receiver}}
        for (receiver, alertname), members in sorted(found.items(), key=lambda item: item[0])
    ]


def time_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(body: Mapping[str, Any], name: str) -> datetime:
    text = body[name]
    try:
        at = parse_datetime(text) if isinstance(text, str) else None
        if at is not None and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Unprocessable(601, f"{name} in body must be of type date-time: {str(text)[:100]!r}")
