"""What responders say about what they were told: how precise each monitor and each channel is, and what could be done."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet

from monitoring.channels.inbox import Inbox
from monitoring.models import (
    Channel,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    Monitor,
    OutboxMessage,
    Resolution,
    Usefulness,
)
from monitoring.reading.noise import NOTHING, Judgements, Suggestion, for_channel, for_monitor, judgements_of

DAYS = 90
MOST_CHANGES = 200
"""Judged incidents of one monitor whose sizes are compared."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one monitor or channel."""

    pk: int
    name: str
    judgements: Judgements
    incident_count: int
    suggestion: Suggestion | None = None


@dataclass(frozen=True)
class Usefulnesses:
    """since: incidents that were opened before are left out."""

    since: datetime
    total: Judgements
    incident_count: int
    monitors: Sequence[Verdict] = field(default_factory=list)
    channels: Sequence[Verdict] = field(default_factory=list)


def read(now: datetime) -> Usefulnesses:
    """All monitors and channels that told of something in 90 days, the noisiest first. Six queries at most."""
    since = now - timedelta(days=DAYS)
    rows = _told(since).order_by().values_list("monitor", "usefulness").annotate(Count("pk"))
    counts = [(monitor, usefulness, n) for monitor, usefulness, n in rows]
    return Usefulnesses(
        since,
        judgements_of((usefulness, n) for _, usefulness, n in counts),
        sum(n for _, _, n in counts),
        _sorted(_of_monitors(counts, since)),
        _sorted(_of_channels(since)),
    )


def of_monitor(monitor: Monitor, now: datetime) -> Verdict:
    """One query, and one more where it is noisy."""
    since = now - timedelta(days=DAYS)
    rows = _told(since).filter(monitor=monitor).order_by().values_list("usefulness").annotate(Count("pk"))
    counts = [(monitor.pk, usefulness, n) for usefulness, n in rows]
    judgements = judgements_of((usefulness, n) for _, usefulness, n in counts)
    changes = _changes([monitor.pk], since) if judgements.is_noisy else {}
    return _of_one_monitor(monitor, judgements, sum(n for *_, n in counts), changes.get(monitor.pk, []))


def of_channel(channel: Channel, now: datetime) -> Verdict:
    """One query."""
    found = _of_channels(now - timedelta(days=DAYS), channel)
    return found[0] if found else Verdict(channel.pk, channel.name, NOTHING, 0)


def _told(since: datetime) -> QuerySet[Incident]:
    """What somebody was to hear of: no suspicion, nothing planted."""
    told = Incident.objects.genuine().exclude(state=IncidentState.SUSPECT)
    return told.exclude(resolution=Resolution.FADED).filter(opened_at__gte=since)


def _of_monitors(counts: Sequence[tuple[int | None, str, int]], since: datetime) -> list[Verdict]:
    by_monitor: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for monitor_id, usefulness, n in counts:
        if monitor_id is not None:
            by_monitor[monitor_id].append((usefulness, n))
    judged = {pk: judgements_of(rows) for pk, rows in by_monitor.items()}
    noisy = [pk for pk, one in judged.items() if one.is_noisy]
    changes = _changes(noisy, since) if noisy else {}
    monitors = Monitor.objects.in_bulk(by_monitor)
    return [
        _of_one_monitor(monitor, judged[pk], sum(n for _, n in by_monitor[pk]), changes.get(pk, []))
        for pk, monitor in monitors.items()
    ]


def _of_one_monitor(
    monitor: Monitor, judgements: Judgements, incident_count: int, changes: Sequence[tuple[str, float]]
) -> Verdict:
    suggestion = for_monitor(monitor, judgements, changes) if judgements.is_noisy else None
    return Verdict(monitor.pk, monitor.name, judgements, incident_count, suggestion)


def _changes(monitor_ids: Iterable[int], since: datetime) -> Mapping[int, list[tuple[str, float]]]:
    """How each judged incident was judged, and how far its metric was off; the newest first."""
    rows = (
        _told(since)
        .filter(monitor__in=list(monitor_ids), usefulness__in=(Usefulness.USEFUL, Usefulness.NOISE))
        .order_by("-id")
        .values_list("monitor", "usefulness", "effect__difference")
    )
    found: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for monitor_id, usefulness, difference in rows[: MOST_CHANGES * 10]:
        if isinstance(difference, int | float) and len(found[monitor_id]) < MOST_CHANGES:
            found[monitor_id].append((usefulness, abs(float(difference))))
    return found


def _of_channels(since: datetime, only: Channel | None = None) -> list[Verdict]:
    """By what a channel was really told: a trigger that was delivered."""
    told = OutboxMessage.objects.filter(
        kind=MessageKind.TRIGGER,
        status=MessageStatus.DELIVERED,
        incident__in=_told(since),
        channel__in=Channel.objects.of_people(),
    )
    if only is not None:
        told = told.filter(channel=only)
    rows = (
        told.order_by()
        .values_list(
            "channel", "channel__name", "channel__kind", "incident__severity", "incident__usefulness"
        )
        .annotate(Count("incident", distinct=True))
    )
    by_channel: dict[tuple[int, str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for channel_id, name, kind, severity, usefulness, n in rows:
        by_channel[channel_id, name, kind].append((severity, usefulness, n))
    return [
        Verdict(
            pk,
            name,
            judgements_of((usefulness, n) for _, usefulness, n in counts),
            sum(n for *_, n in counts),
            # Nobody is disturbed by an inbox: there is nothing to be spared.
            None if kind == Inbox.name else for_channel(counts),
        )
        for (pk, name, kind), counts in by_channel.items()
    ]


def _sorted(found: list[Verdict]) -> list[Verdict]:
    """Those with a suggestion, then by noise."""
    return sorted(
        found,
        key=lambda one: (one.suggestion is None, -one.judgements.noise, -one.judgements.judged, one.name),
    )
