"""What alerts say: frozen with the state that they tell, in the same transaction. Numbers only, no words of patients."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.http import urlencode

from monitoring.channels.registry import kind_named
from monitoring.evidence import Evidence
from monitoring.models import (
    Channel,
    Incident,
    IncidentState,
    MessageKind,
    Monitor,
    OutboxMessage,
    Resolution,
    Signal,
)
from monitoring.monitors.registry import is_rule
from monitoring.slices import SMALLEST_NAMED_GROUP, described
from triageops import wording

RULE_TEXT = "none: a fixed rule, which promises nothing about chance"
_UNNAMED = f"a group with fewer than {SMALLEST_NAMED_GROUP} records, which is not named here"


def enqueue(
    incident: Incident, kind: MessageKind, *, now: datetime, channels: Iterable[Channel] | None = None
) -> list[OutboxMessage]:
    """Write a message for each channel that wants this kind; must run in the transaction of what it tells.

    The given channels, or the monitor's, or those that take experiments, hear that it began; who heard that, hears the rest.
    A disabled channel gets its message too: it waits there, seen, instead of being lost unseen.
    """
    if channels is None:
        channels = _channels_of(incident, kind)
    wanted = [channel for channel in channels if kind in kind_named(channel.kind).takes]
    payload = incident_payload(incident, kind, at=now) if wanted else {}
    return OutboxMessage.objects.bulk_create(
        new_message(channel, kind, payload, incident=incident, seq=incident.version, now=now)
        for channel in wanted
    )


def _channels_of(incident: Incident, kind: MessageKind) -> Iterable[Channel]:
    if kind != MessageKind.TRIGGER:
        told = incident.messages.filter(kind=MessageKind.TRIGGER).values("channel")
        return Channel.objects.filter(pk__in=told)
    return incident.monitor.channels.all() if incident.monitor else Channel.objects.taking_experiments()


def enqueue_test(channel: Channel, *, now: datetime) -> OutboxMessage:
    """A message that says of itself that it is a test."""
    payload = {
        "at": _iso(now),
        "state": "test",
        "title": "This is a test message",
        "summary": "TriageOps can reach this channel. Nothing is wrong.",
        "incident_url": "",
        "runbook_url": "",
    }
    message = new_message(channel, MessageKind.TEST, payload, incident=None, seq=1, now=now)
    message.save(force_insert=True)
    return message


def new_message(
    channel: Channel,
    kind: MessageKind,
    payload: dict[str, Any],
    *,
    incident: Incident | None,
    seq: int,
    now: datetime,
) -> OutboxMessage:
    message = OutboxMessage(incident=incident, channel=channel, seq=seq, kind=kind, payload=payload)
    message.dedup_key = f"triageops:{incident.pk if incident else message.id}"
    message.created_at = message.not_before = now
    message.expires_at = now + OutboxMessage.LIFETIME
    return message


def incident_payload(incident: Incident, kind: MessageKind, *, at: datetime) -> dict[str, Any]:
    """Everything a channel may say of an incident. A group below the smallest size appears without name and numbers."""
    if incident.monitor is None:
        about = _of_experiment(incident)
    elif incident.signal == Signal.CHECK:
        about = _of_check(incident, incident.monitor)
    else:
        about = _of_monitor(incident, incident.monitor)
    if incident.state == IncidentState.RESOLVED:
        lasted = wording.seconds((at - incident.opened_at).total_seconds())
        about["summary"] = f"Resolved after {lasted}: {Resolution(incident.resolution).label}."
    return about | {
        "at": _iso(at),
        "incident_id": str(incident.pk),
        "state": "acknowledged" if kind == MessageKind.ACKNOWLEDGE else incident.state,
        "severity": incident.severity,
        "onset_at": _iso(incident.onset_at),
        "opened_at": _iso(incident.opened_at),
        "resolved_at": _iso(incident.resolved_at) if incident.resolved_at else None,
        "resolution": incident.resolution or None,
        "since": f"{incident.onset_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "incident_url": incident_url(incident),
    }


def _of_monitor(incident: Incident, monitor: Monitor) -> dict[str, Any]:
    # Without labels no group is named, and silence is nobody's.
    is_small = bool(incident.labels) and 0 < incident.effect.get("n", 1) < SMALLEST_NAMED_GROUP
    explanation = "" if is_small else (incident.evidence.get("explanation") or {}).get("sentence", "")
    effect = (
        {}
        if is_small
        else {name: value for name, value in incident.effect.items() if name not in {"m2", "sums"}}
    )
    where = described(incident.labels, incident.slice_key) or "all records"
    found = wording.seconds((incident.opened_at - incident.onset_at).total_seconds())
    return {
        "monitor": monitor.name,
        "experiment": None,
        "metric": monitor.metric,
        "title": f"{monitor.name}: {_UNNAMED}" if is_small else incident.title,
        "summary": " ".join(
            filter(
                None,
                [f"Found {found} after it seems to have begun.", explanation, monitor.description.strip()],
            )
        ),
        "labels": {} if is_small else incident.labels,
        "where": _UNNAMED if is_small else where,
        "effect": effect or None,
        "effect_text": effect_text(effect),
        "affected_count": None,
        "alarms_per_30_days": None if is_rule(monitor.kind) else monitor.promised_alarms,
        "budget_text": RULE_TEXT if is_rule(monitor.kind) else budget_text(monitor.promised_alarms),
        "experiment_url": "",
        "runbook_url": monitor.runbook_url,
    }


def _of_check(incident: Incident, monitor: Monitor) -> dict[str, Any]:
    """About the watching, not about records: there is no group that could be too small to be named."""
    return {
        "monitor": monitor.name,
        "experiment": None,
        "metric": monitor.metric,
        "title": incident.title,
        "summary": incident.evidence.get("summary", ""),
        "labels": {},
        "where": "the watching itself",
        "effect": None,
        "effect_text": "",
        "affected_count": None,
        "alarms_per_30_days": None,
        "budget_text": "",
        "experiment_url": "",
        "runbook_url": monitor.runbook_url,
    }


def _of_experiment(incident: Incident) -> dict[str, Any]:
    evidence = Evidence.read(incident.evidence)
    is_small = evidence.is_small
    return {
        "monitor": None,
        "experiment": incident.experiment,
        "metric": evidence.metric or None,
        "title": f"{incident.experiment} was halted: {_UNNAMED}" if is_small else incident.title,
        "summary": "Everybody gets the control." if is_small else _told(incident, evidence),
        "labels": {} if is_small else incident.labels,
        "where": _UNNAMED if is_small else described(incident.labels) or "all variants",
        "effect": None if is_small else incident.effect or None,
        "effect_text": "" if is_small else evidence.effect_text,
        "affected_count": None if is_small else evidence.affected_count,
        "alarms_per_30_days": None,
        "budget_text": "",
        "experiment_url": settings.BASE_URL + experiment_path(incident.experiment),
        "runbook_url": "",
    }


def _told(incident: Incident, evidence: Evidence) -> str:
    """The headline, unless the title was made without it because it may hold a person's own words."""
    headline = evidence.headline
    return headline if headline and headline.rstrip(".") in incident.title else f"{incident.title}."


def experiment_path(key: str) -> str:
    """Where the experiment is found in the admin."""
    path: str = reverse("admin:experiments_experiment_changelist")
    return f"{path}?{urlencode({'q': key})}"


def incident_url(incident: Incident) -> str:
    path: str = reverse("admin:monitoring_incident_change", args=[incident.pk])
    return settings.BASE_URL + path


def incident_effect_text(incident: Incident) -> str:
    """The effect of a monitor's incident or an experiment's; empty without numbers."""
    if incident.monitor_id is None:
        return Evidence.read(incident.evidence).effect_text
    return effect_text(incident.effect)


def effect_text(effect: Mapping[str, Any]) -> str:
    """“0.84 against 0.91: -0.07 (-0.09 to -0.05), n = 1 240”; empty without numbers."""
    if effect.get("current") is None:
        return ""
    text = f"{wording.number(effect['current'])} against {wording.number(effect['level'])}: "
    text += wording.number(effect["difference"])
    if effect.get("low") is not None:
        text += f" ({wording.interval(effect['low'], effect['high'], 'number')})"
    return f"{text}, n = {wording.count(effect['n'])}"


def budget_text(alarms_per_30_days: float) -> str:
    """“1 false alarm in 30 days”."""
    return f"{float(f'{alarms_per_30_days:.2g}'):g} false alarm{'' if alarms_per_30_days == 1 else 's'} in 30 days"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
