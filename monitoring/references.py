"""What is usual: learnt from a stretch of the past, kept in versions, and made ready for checks."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Max

from feedback.stats import Window
from monitoring import attribution
from monitoring.budget import share_if_active
from monitoring.freezing import Frozen
from monitoring.gathering import Gathered, filled, gathered
from monitoring.models import Incident, Monitor, Reference, ReferenceMode, ReferenceSlice, Resolution, Signal
from monitoring.monitors import learnt as learnts
from monitoring.monitors.kind import Metric
from monitoring.monitors.learnt import Learnt, TriageReference
from monitoring.monitors.reference import TooLittle
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import ANOMALY_SHARE, Watch
from monitoring.offline.sight import smallest
from monitoring.questions import FIELDS, question_of
from monitoring.slices import ALL
from monitoring.sources import Source
from triageops import wording

log = structlog.get_logger(__name__)

DAY_SECONDS = 86_400
A_DAY = timedelta(hours=24)
KEPT_VERSIONS = 40
_GOOD_ENDS = (Resolution.EXPECTED, Resolution.BASELINE, Resolution.FALSE_POSITIVE)


class NothingToLearn(Exception):
    """The past holds too little to say what is usual; the message says what is missing."""


@dataclass(frozen=True)
class Draft:
    """A reference that is not saved yet."""

    start: datetime
    end: datetime
    slices: Sequence[tuple[Gathered, Learnt]]
    bucket_count: int
    longest_gap_seconds: float
    question: Mapping[str, Any]
    shares: attribution.Shares

    def is_of(self, monitor: Monitor) -> bool:
        """Whether it was learnt for what the monitor asks now."""
        return _is_same(self.question, monitor)

    @property
    def n(self) -> int:
        wholes = [one.n for one, _ in self.slices if one.key == ALL]
        return wholes[0] if wholes else sum(one.n for one, _ in self.slices)


def window_of(monitor: Monitor, now: datetime) -> tuple[datetime, datetime]:
    """The stretch of time that a reference made now would be learnt from."""
    end = ripe_until(monitor, now)
    if monitor.reference_mode == ReferenceMode.TRAILING:
        end -= timedelta(hours=monitor.reference_gap_hours)
    elif monitor.reference_mode == ReferenceMode.PINNED and monitor.reference_end_at is not None:
        end = min(end, monitor.reference_end_at)
    length, begin = timedelta(days=monitor.reference_days), monitor.reference_start_at
    start = end - length
    if begin is not None and monitor.reference_mode == ReferenceMode.PINNED:
        start = begin
        end = end if monitor.reference_end_at is not None else min(end, begin + length)
    elif begin is not None:
        # What was accepted as usual began then; what was before is not usual any more.
        start = max(start, begin)
    if start >= end:
        raise NothingToLearn("The reference would begin after what is known by now.")
    return start, end


def ripe_until(monitor: Monitor, now: datetime) -> datetime:
    """Up to when everything is known: buckets are closed, and responses as old as the monitor wants them."""
    source = monitor.source
    return min(now, (source.ripe_until() or now) - source.maturity)


def is_of(monitor: Monitor) -> bool:
    """Whether its reference was learnt for what it asks now."""
    return monitor.reference is not None and _is_same(monitor.reference.question, monitor)


def _is_same(question: Mapping[str, Any], monitor: Monitor) -> bool:
    present = question_of(monitor)
    return all(question.get(name) == present[name] for name in FIELDS)


def has_no_hours(monitor: Monitor) -> bool:
    """Whether days were learnt, and no hour of them differed: hours are enough then to know what is usual."""
    known = monitor.reference
    if known is None or known.end_at - known.start_at < 2 * A_DAY:
        return False
    seasons = known.slices.values_list("learnt__season", "learnt__under__season")
    return all("none" in pair for pair in seasons)


def draft(
    monitor: Monitor,
    start: datetime,
    end: datetime,
    *,
    least: timedelta = A_DAY,
    is_accepted: bool = False,
) -> Draft:
    """Learn from this time; reads rollups only, and may take seconds. Raises NothingToLearn, TooLittle never.

    is_accepted: what open incidents show is usual, says a person; what others showed that were real never is.
    least: how long the time must be that holds records. Hours differ in most services, and less than a day knows nothing of
    it: simulated with half a day, such a stream raised 60 times as many alarms as promised.
    """
    source, kind = monitor.source, monitor.kind_read()
    where = {**monitor.where, **monitor.control} if monitor.is_compared else monitor.where
    buckets = source.past(where=where, split_by=monitor.split_by, start=start, end=end)
    if not buckets:
        raise NothingToLearn(_nothing(source, start, end))
    frozen = _not_usual(monitor, start, end, is_accepted=is_accepted)
    slices, problem = [], ""
    for one in gathered(monitor, buckets):
        samples = filled(one.samples, max(start, buckets[0].at), end) if kind.is_dense else one.samples
        kept = [sample for sample in samples if not frozen(sample, one.labels)]
        try:
            found = kind.learn(kept, source.metric, zone=settings.SEASON_ZONE)
        except (TooLittle, ValueError) as error:
            problem = problem or str(error)
            continue
        if found is not None:
            slices.append((Gathered(one.key, one.labels, kept), found))
    if not slices or (monitor.has_whole and slices[0][0].key != ALL):
        raise NothingToLearn(problem or _nothing(source, start, end))
    at = sorted({bucket.at for bucket in buckets})
    known = at[-1] - at[0] + timedelta(seconds=settings.BUCKET_SECONDS)
    if known < least:
        raise NothingToLearn(
            f"Only {wording.seconds(known.total_seconds())} are known; a whole day is needed, because hours may differ."
        )
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(at)]
    return Draft(
        start,
        end,
        slices,
        len(at),
        max(gaps, default=0.0),
        question_of(monitor),
        attribution.shares_of(source, where, Window(start, end)),
    )


def make(
    monitor: Monitor, drafted: Draft, *, now: datetime, by: User | None = None, reason: str = ""
) -> Reference:
    """Save it as the next version, and have the monitor use it. The monitor must be locked."""
    last = monitor.references.aggregate(last=Max("version"))["last"] or 0
    reference = Reference.objects.create(
        monitor=monitor,
        version=last + 1,
        mode=monitor.reference_mode,
        start_at=drafted.start,
        end_at=drafted.end,
        made_at=now,
        made_by=by,
        reason=reason[:500],
        question=question_of(monitor),
        n=drafted.n,
        bucket_count=drafted.bucket_count,
        longest_gap_seconds=drafted.longest_gap_seconds,
        shares=drafted.shares,
    )
    shared = share_if_active(copy(monitor))
    ReferenceSlice.objects.bulk_create(_slice(reference, shared, one, found) for one, found in drafted.slices)
    monitor.reference, monitor.learning_note = reference, ""
    monitor.save(update_fields=["reference", "learning_note"])
    return reference


def _slice(reference: Reference, monitor: Monitor, one: Gathered, found: Learnt) -> ReferenceSlice:
    pooled = Sample.merge(one.samples)
    filled_n = [sample.n for sample in one.samples if sample.n]
    return ReferenceSlice(
        reference=reference,
        key=one.key,
        labels=dict(one.labels),
        learnt=learnts.as_json(found),
        n=pooled.n,
        mean=pooled.moments.mean if pooled.n else None,
        sd=pooled.moments.sd,
        histogram={
            name: {str(index): count for index, count in counts.items()}
            for name, counts in pooled.histogram.items()
        },
        bucket_n=float(median(filled_n)) if filled_n else 0.0,
        sight=sight_of(monitor, one.key, found, one.samples),
    )


def _filled_share(samples: Sequence[Sample]) -> float:
    """Of the buckets of time between the first and the last, those that have records."""
    starts = [sample.at for sample in samples if sample.n]
    if len(starts) < 2:
        return 0.0
    return len(starts) / ((max(starts) - min(starts)) / settings.BUCKET_SECONDS + 1)


def sight_of(monitor: Monitor, key: str, found: Learnt, samples: Sequence[Sample]) -> dict[str, Any]:
    """The smallest change, up and down, that is found within a day on average; see monitoring.offline.sight.

    samples: as they are usual. Buckets without records say nothing.
    """
    filled_n = [sample.n for sample in samples if sample.n]
    checks = DAY_SECONDS / settings.BUCKET_SECONDS * min(1.0, _filled_share(samples))
    budget = monitor.budget_per_second(key) * (1 - ANOMALY_SHARE) * DAY_SECONDS
    if budget <= 0 or checks < 1 or not filled_n:
        return {}
    one = found.under if isinstance(found, TriageReference) else found
    # Of a difference the control is not known better than what is compared with it, at best.
    n = float(median(filled_n)) / (2 if monitor.is_compared else 1)
    return {
        "within_seconds": DAY_SECONDS,
        **{side: smallest(one, side, n, checks, budget / checks) for side in ("up", "down")},
    }


@dataclass
class Known:
    """The watches of a monitor, one for each slice that something is known of; a fixed level is known of every slice."""

    monitor: Monitor
    metric: Metric
    rows: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, monitor: Monitor, metric: Metric) -> "Known":
        """One query. Raises NothingToLearn for a kind that learns and has not, and what Kind.check raises."""
        kind = monitor.kind_read()
        kind.check(metric)
        if not kind.learns:
            return cls(monitor, metric)
        if monitor.reference_id is None:
            raise NothingToLearn("Nothing was learnt yet.")
        found = ReferenceSlice.objects.filter(reference=monitor.reference_id).values_list(
            "key", "pk", "labels"
        )
        return cls(
            monitor, metric, {key: pk for key, pk, _ in found}, {key: labels for key, _, labels in found}
        )

    @property
    def is_limited(self) -> bool:
        """Whether only slices of the reference are known."""
        return self.monitor.kind_read().learns

    def watch(self, key: str) -> Watch | None:
        """None for a slice that nothing is known of. Queries once for each slice and process."""
        kind = self.monitor.kind_read()
        if not kind.learns:
            return kind.watch(self.metric, None)
        row = self.rows.get(key)
        if row is None:
            return None
        return kind.watch(
            self.metric, _learnt(self.monitor.pk, key, row), is_compared=self.monitor.is_compared
        )


MOST_KEPT = 8_192
"""Slices whose references a process keeps read: up to a tenth of a megabyte each where hours of the week were learnt."""

_kept: dict[tuple[int, str], tuple[int, Learnt]] = {}


def _learnt(monitor_id: int, key: str, row: int) -> Learnt:
    """A row is never changed, and its number never used again; a newer version takes the place of the former."""
    known = _kept.pop((monitor_id, key), None)
    if known is None or known[0] != row:
        read = ReferenceSlice.objects.values_list("learnt", flat=True).get(pk=row)
        known = (row, learnts.from_json(read))
    _kept[monitor_id, key] = known
    if len(_kept) > MOST_KEPT:
        del _kept[next(iter(_kept))]
    return known[1]


def _not_usual(monitor: Monitor, start: datetime, end: datetime, *, is_accepted: bool) -> Any:
    """Which buckets a reference must not learn: under a marker, or during an incident that was one."""
    frozen = Frozen.between(start, end)
    real = Incident.objects.told().filter(monitor=monitor, onset_at__lt=end)
    real = real.resolved() if is_accepted else real
    spans = [
        (onset.timestamp(), (resolved or end).timestamp())
        for onset, resolved in real.exclude(resolution__in=_GOOD_ENDS)
        .exclude(signal=Signal.CHECK)
        .exclude(resolved_at__lt=start)
        .values_list("onset_at", "resolved_at")
    ]

    def is_left_out(sample: Sample, labels: Mapping[str, str]) -> bool:
        if any(begin <= sample.at < until for begin, until in spans):
            return True
        return bool(frozen.markers) and frozen.covers(
            datetime.fromtimestamp(sample.at, tz=start.tzinfo), labels
        )

    return is_left_out


def _nothing(source: Source, start: datetime, end: datetime) -> str:
    return (
        f"There are no numbers of “{source.metric.key}” between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC"
        + (
            f" whose responses were {wording.seconds(source.maturity.total_seconds())} old when they were counted."
            if source.maturity
            else "."
        )
    )


def forget_old(monitor: Monitor) -> None:
    """Of a trailing reference a version a day: the oldest lose what they learnt, so that the table does not grow for ever."""
    kept = monitor.references.order_by("-version").values_list("version", flat=True)[:KEPT_VERSIONS]
    oldest = min(kept, default=0)
    old = monitor.references.filter(version__lt=oldest, made_by=None).exclude(pk__in=[monitor.reference_id])
    old.delete()
