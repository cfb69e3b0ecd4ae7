"""What responders say about what they were told: how precise each monitor and each channel is, and what could be done.

Precision: useful / (useful + noise). What was expected counts as neither: it was right, and nobody needed it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, cast

from django.db.models import Count, QuerySet

from monitoring.models import (
    Channel,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    Monitor,
    OutboxMessage,
    Resolution,
    Severity,
    Usefulness,
)
from monitoring.monitors.registry import kind_named
from triageops import wording
from triageops.stats.interval import Interval, wilson

DAYS = 90
NOISE_LIMIT = 0.3
"""A suggestion is made when at least this share is noise, by the lower end of its 95 % interval."""

LEAST_JUDGED = 5
MOST_CHANGES = 200
"""Judged incidents of one monitor whose sizes are compared."""

MARGIN, ROUTE = "margin", "route"


@dataclass(frozen=True)
class Judgements:
    useful: int = 0
    noise: int = 0
    expected: int = 0

    @property
    def judged(self) -> int:
        return self.useful + self.noise + self.expected

    @property
    def deciding(self) -> int:
        return self.useful + self.noise

    @property
    def precision(self) -> float | None:
        return self.useful / self.deciding if self.deciding else None

    @property
    def interval(self) -> Interval | None:
        """Of the precision, 95 % (Wilson)."""
        return wilson(self.useful, self.deciding)

    @property
    def is_noisy(self) -> bool:
        """Whether chance alone is no good explanation of the noise."""
        found = wilson(self.noise, self.deciding)
        return found is not None and self.deciding >= LEAST_JUDGED and found.low > NOISE_LIMIT

    def __add__(self, other: "Judgements") -> "Judgements":
        return Judgements(
            self.useful + other.useful, self.noise + other.noise, self.expected + other.expected
        )


NOTHING = Judgements()


@dataclass(frozen=True)
class Suggestion:
    """action: `margin` or `route`. cost: what it would have changed in the past; empty where that is not known."""

    action: str
    text: str
    cost: str = ""


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
        _judgements((usefulness, n) for _, usefulness, n in counts),
        sum(n for _, _, n in counts),
        _sorted(_of_monitors(counts, since)),
        _sorted(_of_channels(since)),
    )


def of_monitor(monitor: Monitor, now: datetime) -> Verdict:
    """One query, and one more where it is noisy."""
    since = now - timedelta(days=DAYS)
    rows = _told(since).filter(monitor=monitor).order_by().values_list("usefulness").annotate(Count("pk"))
    counts = [(monitor.pk, usefulness, n) for usefulness, n in rows]
    judgements = _judgements((usefulness, n) for _, usefulness, n in counts)
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


def _judgements(counts: Iterable[tuple[str, int]]) -> Judgements:
    found: dict[str, int] = defaultdict(int)
    for usefulness, n in counts:
        found[usefulness] += n
    return Judgements(found[Usefulness.USEFUL], found[Usefulness.NOISE], found[Usefulness.EXPECTED])


def _of_monitors(counts: Sequence[tuple[int | None, str, int]], since: datetime) -> list[Verdict]:
    by_monitor: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for monitor_id, usefulness, n in counts:
        if monitor_id is not None:
            by_monitor[monitor_id].append((usefulness, n))
    judged = {pk: _judgements(rows) for pk, rows in by_monitor.items()}
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
    suggestion = _for_monitor(monitor, judgements, changes) if judgements.is_noisy else None
    return Verdict(monitor.pk, monitor.name, judgements, incident_count, suggestion)


def _for_monitor(
    monitor: Monitor, judgements: Judgements, changes: Sequence[tuple[str, float]]
) -> Suggestion:
    share = _noise_told(judgements)
    if has_margin(monitor):
        return Suggestion(MARGIN, f"Raise the margin of this monitor: {share}.", _cost(changes))
    return Suggestion(ROUTE, f"Change the route of this monitor, for example to a daily digest: {share}.", "")


def has_margin(monitor: Monitor) -> bool:
    """Whether its kind has one: how much of a change is nobody's concern."""
    try:
        kind = kind_named(monitor.kind)
    except LookupError:
        return False
    names = (one.name for one in fields(cast("Any", kind)))
    return any(name == "margin" or name.startswith("ignore_") for name in names)


def _noise_told(judgements: Judgements) -> str:
    found = wilson(judgements.noise, judgements.deciding)
    low = found.low if found else 0.0
    return (
        f"{judgements.noise} of {judgements.deciding} judged incidents were noise, "
        f"a share of at least {wording.share(low, 2)} (95 %)"
    )


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


def _cost(changes: Sequence[tuple[str, float]]) -> str:
    """What the sizes of the judged incidents say about a larger margin; empty where they say nothing."""
    noise = [size for usefulness, size in changes if usefulness == Usefulness.NOISE]
    useful = [size for usefulness, size in changes if usefulness == Usefulness.USEFUL]
    if not noise:
        return ""
    if not useful:
        return f"None was called useful; the largest change that was noise was {wording.number(max(noise))}."
    smallest = min(useful)
    below = sum(size < smallest for size in noise)
    if not below:
        return "By size alone, noise and useful incidents cannot be told apart: a margin would cost useful ones too."
    return (
        f"{below} of the {len(noise)} that were noise were smaller changes than every useful one, the smallest of which was "
        f"{wording.number(smallest)}: a margin between them would have cost none that was useful."
    )


def _of_channels(since: datetime, only: Channel | None = None) -> list[Verdict]:
    """By what a channel was really told: a trigger that was delivered."""
    told = OutboxMessage.objects.filter(
        kind=MessageKind.TRIGGER, status=MessageStatus.DELIVERED, incident__in=_told(since)
    )
    if only is not None:
        told = told.filter(channel=only)
    rows = (
        told.order_by()
        .values_list("channel", "channel__name", "incident__severity", "incident__usefulness")
        .annotate(Count("incident", distinct=True))
    )
    by_channel: dict[tuple[int, str], list[tuple[str, str, int]]] = defaultdict(list)
    for channel_id, name, severity, usefulness, n in rows:
        by_channel[channel_id, name].append((severity, usefulness, n))
    return [
        Verdict(
            pk,
            name,
            _judgements((usefulness, n) for _, usefulness, n in counts),
            sum(n for *_, n in counts),
            _for_channel(counts),
        )
        for (pk, name), counts in by_channel.items()
    ]


def _for_channel(counts: Sequence[tuple[str, str, int]]) -> Suggestion | None:
    """The severity with the most noise that is credible; critical ones are never moved to a digest."""
    noisy: dict[str, Judgements] = {}
    for severity in (Severity.INFO, Severity.WARNING, Severity.ERROR):
        found = _judgements((usefulness, n) for one, usefulness, n in counts if one == severity)
        if found.is_noisy:
            noisy[severity] = found
    if noisy:
        severity = max(noisy, key=lambda one: noisy[one].noise)
        what = {"info": "infos", "warning": "warnings", "error": "errors"}[severity]
        text = f"Change the route: send its {what} to a digest. {_noise_told(noisy[severity])}."
        return Suggestion(ROUTE, text, _saved(noisy[severity]))
    whole = _judgements((usefulness, n) for _, usefulness, n in counts)
    if whole.is_noisy:
        return Suggestion(ROUTE, f"Change what is routed here: {_noise_told(whole)}.")
    return None


def _saved(judgements: Judgements) -> str:
    """What a digest would have changed in the past."""
    later = f"{wording.plural(judgements.useful, 'useful one')} would have come with the digest, later"
    return f"{wording.plural(judgements.noise, 'message')} of noise would have disturbed nobody; {later}."


def _sorted(found: list[Verdict]) -> list[Verdict]:
    """Those with a suggestion, then by noise."""
    return sorted(
        found,
        key=lambda one: (one.suggestion is None, -one.judgements.noise, -one.judgements.judged, one.name),
    )
