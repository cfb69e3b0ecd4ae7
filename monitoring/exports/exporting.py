"""An incident as evidence: everything that is known of it, in one object that can be checked without the product.

`events` are sealed by their hashes (monitoring/history/chain.py), `head` is the last of them, and `digest` covers the whole export.
There is no text of patients or answers in it; what operators wrote is. Small groups are not named (monitoring/exports/masking.py).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings

from experiments.models import ExperimentEvent
from monitoring.definitions import FIELDS_OF_ROW
from monitoring.evidence import Evidence
from monitoring.exports import masking
from monitoring.history import chain
from monitoring.labels import is_small, public_labels_of
from monitoring.models import (
    DriftEvaluation,
    EventKind,
    Incident,
    IncidentEvent,
    Monitor,
    OutboxMessage,
    Reference,
)

FORMAT, FORMAT_VERSION = "triageops-incident", 1
RELEASE = "Unreleased"
"""As CHANGELOG.md names it; a test compares them."""
BEFORE_ONSET, AFTER_ONSET = 200, 400
"""Most buckets around the onset."""
_EXPERIMENT_CHANGES = 200
_FIELDS = (
    "source", "reported_by", "slice_key", "annotations", "signal", "title", "severity", "state", "onset_at", "opened_at",
    "acknowledged_at", "acknowledged_until", "hold_until", "expected_until", "resolved_at", "resolution", "usefulness",
    "judged_at", "alarm_count", "version",
)  # fmt: skip
_BUCKET = (
    "bucket_at", "n", "mean", "expected", "low", "high", "log_evidence", "is_alarm", "is_signal", "is_frozen",
)  # fmt: skip


def export(incident: Incident, now: datetime) -> dict[str, Any]:
    """Plain data as JSON has it; about ten queries. It should be read in one transaction."""
    events, is_masked = list(incident.events.order_by("seq")), is_small(incident)
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "exported_at": now,
        "product": {"name": "TriageOps", "release": RELEASE, "url": settings.BASE_URL},
        "is_masked": is_masked,
        "incident": _incident(incident, now),
        "labels": public_labels_of(incident),
        "effect": masking.effect_of(incident),
        "evidence": masking.evidence_of(incident),
        "monitor": _monitor(incident),
        "experiment": _experiment(incident),
        "times": times_of(incident, events),
        "flags": list(
            incident.flags.values("kind", "cause", "why", "who", "since", "until", "ended_at").order_by(
                "since", "pk"
            )
        ),
        "events": [_event(event, is_masked=is_masked) for event in events],
        "head": chain.verify(chain.Sealed.of(event) for event in events).head,
        "deliveries": _deliveries(incident),
        "evaluations": _evaluations(incident),
    }
    plain: dict[str, Any] = as_plain(body)
    return {**plain, "digest": digest_of(plain)}


def digest_of(exported: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of all but the digest itself."""
    rest = {name: value for name, value in exported.items() if name != "digest"}
    return hashlib.sha256(chain.canonical(rest).encode()).hexdigest()


def as_json(exported: Mapping[str, Any]) -> str:
    return json.dumps(exported, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def times_of(incident: Incident, events: Sequence[IncidentEvent]) -> dict[str, float | None]:
    """Seconds from the onset to its discovery, and from there to the first acknowledgement and to the end.

    The first is None where a report named no onset.
    """
    first = next((one.at for one in events if one.kind == EventKind.ACKNOWLEDGED), None)
    detected = _seconds(incident.onset_at, incident.opened_at)
    return {
        "to_detect_seconds": detected if incident.is_onset_known else None,
        "to_acknowledge_seconds": _seconds(incident.opened_at, first),
        "to_resolve_seconds": _seconds(incident.opened_at, incident.resolved_at),
    }


def as_plain(value: Any) -> Any:
    """What JSON can hold: times in UTC with microseconds, no NaN and no infinities."""
    if isinstance(value, Mapping):
        return {str(name): as_plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date | UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, str) else value


def _incident(incident: Incident, now: datetime) -> dict[str, Any]:
    return {
        "id": incident.pk,
        **{name: getattr(incident, name) for name in _FIELDS},
        "slice_key": masking.slice_key_of(incident),
        "title": masking.title_of(incident, now),
    }


def _event(event: IncidentEvent, *, is_masked: bool) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "kind": event.kind,
        "at": event.at,
        "by": event.by_id,
        "actor": event.actor,
        "details": masking.details_of(event, is_masked=is_masked),
        "hash": event.hash,
    }


def _monitor(incident: Incident) -> dict[str, Any] | None:
    """Its settings as they are now, and the reference that was in use when the incident was opened."""
    monitor = incident.monitor
    if monitor is None:
        return None
    versions = Reference.objects.filter(monitor=monitor, made_at__lte=incident.opened_at)
    reference = versions.values("version", "mode", "start_at", "end_at", "made_at", "n").first()
    return {
        "id": monitor.pk,
        "settings": {name: getattr(monitor, name) for name in FIELDS_OF_ROW},
        "channels": list(monitor.channels.values_list("name", flat=True)),
        "reference": reference,
        "budget": _budget(monitor),
    }


def _budget(monitor: Monitor) -> dict[str, float]:
    """False alarms in 30 days on average, at most."""
    return {
        "promised_alarms": monitor.promised_alarms,
        "whole_alarms": monitor.whole_alarms,
        "slice_alarms": monitor.slice_alarms,
    }


def _experiment(incident: Incident) -> dict[str, Any] | None:
    """Which one is concerned, with which variant; of a halted one also what was done with it since, by whom and why."""
    labels, is_masked = public_labels_of(incident), is_small(incident)
    key = incident.experiment or labels.get("experiment", "")
    variant = "" if is_masked else Evidence.read(incident.evidence).variant or labels.get("variant", "")
    if not key and not variant:
        return None
    changes = ExperimentEvent.objects.none()
    if incident.experiment:
        changes = ExperimentEvent.objects.filter(
            experiment__key=incident.experiment, pk__gte=incident.experiment_event or 0
        )
    rows = changes.order_by("pk").values("at", "action", "reason", "by__username", "api_key__name")
    return {
        "key": key,
        "variant": variant,
        "changes": [
            {
                "at": row["at"],
                "action": row["action"],
                # It may say which variant fares how.
                "reason": "" if is_masked else row["reason"],
                "actor": row["by__username"] or row["api_key__name"] or "",
            }
            for row in rows[:_EXPERIMENT_CHANGES]
        ],
    }


def _deliveries(incident: Incident) -> list[dict[str, Any]]:
    rows = OutboxMessage.objects.filter(incident=incident).order_by("channel", "seq", "id")
    return [
        {
            "id": one.webhook_id,
            "channel": one.channel.name,
            "channel_kind": one.channel.kind,
            "seq": one.seq,
            "kind": one.kind,
            "status": one.status,
            "reason": one.reason,
            "because": one.because,
            "step": one.step,
            "suppressed_since": one.suppressed_since,
            "suppressed_by": one.suppressed_by,
            "created_at": one.created_at,
            "delivered_at": one.delivered_at,
            "payload": one.payload,
            "attempts": [_attempt(attempt) for attempt in one.attempts.all()],
        }
        for one in rows.select_related("channel").prefetch_related("attempts")
    ]


def _attempt(attempt: Any) -> dict[str, Any]:
    names = ("number", "started_at", "seconds", "outcome", "reason", "status_code", "answer", "is_ambiguous")
    return {name: getattr(attempt, name) for name in names}


def _evaluations(incident: Incident) -> dict[str, Any]:
    """What checks saw around the onset, the oldest first."""
    if incident.monitor_id is None or is_small(incident):
        return {"is_cut": False, "buckets": []}
    rows = DriftEvaluation.objects.filter(slice__monitor=incident.monitor_id, slice__key=incident.slice_key)
    end = (incident.resolved_at or incident.opened_at) + timedelta(days=1)
    before = rows.filter(bucket_at__lt=incident.onset_at).order_by("-bucket_at").values(*_BUCKET)
    after = rows.filter(bucket_at__gte=incident.onset_at, bucket_at__lt=end).order_by("bucket_at")
    later = list(after.values(*_BUCKET)[: AFTER_ONSET + 1])
    earlier: Iterable[dict[str, Any]] = reversed(before[:BEFORE_ONSET])
    return {"is_cut": len(later) > AFTER_ONSET, "buckets": [*earlier, *later[:AFTER_ONSET]]}


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else (end - start).total_seconds()
