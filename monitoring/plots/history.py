"""The time before a monitor watched, from rollups, beside what it calls usual now."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby

from django.conf import settings

from feedback.stats import (
    EVERY_RESPONSE,
    Cut,
    SeriesPoint,
    UnknownDimension,
    Window,
    closed_until,
    metric_series,
)
from monitoring.models import Monitor, ReferenceSlice
from monitoring.monitors import learnt as learnts
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Watch
from monitoring.plots.reading import OF_MEANS, SHORT, Stretch, Trace, slack_of
from monitoring.slices import OTHER
from monitoring.sources import FEEDBACK, VOLUME, Bucket, Source, UnknownSource, empty_sample
from triageops.stats.interval import mean_interval

_HOUR = 3600
_KEPT = 128
_OF_REFERENCE = frozenset({"distribution", "rate"})
_LONGEST_OF_BINS = timedelta(days=7)
"""What has to be read with histograms, bucket by bucket, is read no further back."""
_UNFIT = (UnknownSource, UnknownDimension, InvalidParameters, Unwatchable, LookupError, ValueError)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one stretch; near, far: 95 % interval."""

    n: int
    value: float | None
    near: float | None = None
    far: float | None = None


def with_history(trace: Trace, now: datetime) -> Trace:
    """With what rollups know of the time before the first check that is shown; four queries at most.

    Of the pooled rest nothing is added: which groups it would have held then is not known.
    """
    monitor, first = trace.monitor, trace.stretches[0].at if trace.stretches else None
    if trace.key == OTHER or (first is not None and _floor(first, trace.step) <= trace.start):
        return trace
    try:
        source = _source(monitor)
        until = _floor(_ripe(source, now) if first is None else first, trace.step)
        watch = _watch(monitor, trace.key, source)
        found = _seen(trace, source, watch, until)
    except _UNFIT:
        return trace
    if not found:
        return trace
    stretches = [
        _stretch(trace, watch, at, found.get(at, _Seen(0, None))) for at in _steps(trace, found, until)
    ]
    return replace(trace, stretches=[*stretches, *trace.stretches])


def _source(monitor: Monitor) -> Source:
    """Without asking what the metric means, where that changes nothing of what is drawn."""
    if monitor.kind in _OF_REFERENCE and not monitor.metric.startswith(FEEDBACK):
        return Source(Metric(monitor.metric))
    return monitor.source


def _ripe(source: Source, now: datetime) -> datetime:
    """Empty buckets at the end count for a volume, so there it must be known that nothing more comes."""
    if source.metric.key != VOLUME:
        return now - source.maturity
    return min(now, (closed_until() or now) - source.maturity)


def _watch(monitor: Monitor, key: str, source: Source) -> Watch | None:
    """With the reference that is in use; None where it knows nothing of this slice, or where it is another variant."""
    kind = monitor.kind_read()
    if not kind.learns:
        return kind.watch(source.metric, None)
    if monitor.reference_id is None or monitor.is_compared:
        return None
    try:
        return kind.watch(source.metric, _learnt(monitor.reference_id, key))
    except ReferenceSlice.DoesNotExist:
        return None


@lru_cache(maxsize=_KEPT)
def _learnt(reference_id: int, key: str) -> Learnt:
    """A reference is never changed, and its number never used again."""
    rows = ReferenceSlice.objects.filter(reference=reference_id, key=key)
    return learnts.from_json(rows.values_list("learnt", flat=True).get())


def _seen(trace: Trace, source: Source, watch: Watch | None, until: datetime) -> Mapping[datetime, _Seen]:
    """By the start of each stretch."""
    key, kind, start = source.metric.key, trace.monitor.kind, _floor(trace.start, trace.step)
    where = dict(trace.labels) or trace.monitor.where
    is_short = trace.end - trace.start <= SHORT
    if not is_short and not key.startswith(FEEDBACK) and kind in {*OF_MEANS, "volume"}:
        name = EVERY_RESPONSE if key == VOLUME else key
        window = Window(start, trace.end)
        points = metric_series([name], window, Cut(where), math.ceil((trace.end - start) / trace.step))[name]
        each = [(one.at, _of_point(one, trace)) for one in points]
        return {at: one for at, one in each if at < until}
    if not is_short and kind not in OF_MEANS:
        start = max(start, _floor(until - _LONGEST_OF_BINS, trace.step))
    buckets = source.past(where=where, split_by=(), start=start, end=until)
    return dict(_of_buckets(trace, watch, buckets))


def _of_point(point: SeriesPoint, trace: Trace) -> _Seen:
    if trace.monitor.kind == "volume":
        return _Seen(point.n, point.n * settings.BUCKET_SECONDS / trace.step.total_seconds())
    return _Seen(point.n, point.mean, point.low, point.high)


def _of_buckets(
    trace: Trace, watch: Watch | None, buckets: Sequence[Bucket]
) -> Iterator[tuple[datetime, _Seen]]:
    read = _reader(trace, watch)
    for at, together in groupby(buckets, key=lambda one: _floor(one.at, trace.step)):
        yield at, read(Sample.merge(one.sample for one in together))


def _reader(trace: Trace, watch: Watch | None) -> Callable[[Sample], _Seen]:
    kind, per_step = trace.monitor.kind, trace.step.total_seconds() / settings.BUCKET_SECONDS

    def read(sample: Sample) -> _Seen:
        if kind == "volume":
            return _Seen(sample.n, sample.n / per_step)
        if kind in OF_MEANS:
            interval = mean_interval(sample.moments) if sample.moments.m2 else None
            ends = (interval.low, interval.high) if interval else (None, None)
            return _Seen(sample.n, sample.moments.mean if sample.n else None, *ends)
        return _Seen(sample.n, None if watch is None else watch.value(sample))

    return read


def _steps(trace: Trace, found: Mapping[datetime, _Seen], until: datetime) -> Iterator[datetime]:
    """From the first that has records on, those without among them."""
    at = min(found)
    while at < until:
        yield at
        at += trace.step


def _stretch(trace: Trace, watch: Watch | None, at: datetime, seen: _Seen) -> Stretch:
    is_silence = seen.value is None and trace.monitor.kind == "volume"
    expected, low, high = _usual(watch, at, trace.step)
    return Stretch(
        at=at,
        n=seen.n,
        value=0.0 if is_silence else seen.value,
        near=seen.near,
        far=seen.far,
        expected=expected,
        low=low,
        high=high,
        log_evidence=None,
        is_frozen=False,
        is_found=False,
        is_exact=trace.monitor.kind not in OF_MEANS,
        is_watched=False,
        slack=slack_of(trace.monitor, seen.n, trace.step.total_seconds() / settings.BUCKET_SECONDS),
    )


def _usual(
    watch: Watch | None, at: datetime, step: timedelta
) -> tuple[float | None, float | None, float | None]:
    """Expected, low and high: the mean over the hours of the stretch, which may differ."""
    if watch is None:
        return None, None, None
    hours = max(1, round(step.total_seconds() / _HOUR))
    samples = [empty_sample(at + timedelta(hours=number)) for number in range(hours)]
    bands = [band for band in map(watch.band, samples) if band is not None]
    expected = sum(map(watch.expected, samples)) / hours
    if not bands:
        return expected, None, None
    return expected, sum(low for low, _ in bands) / len(bands), sum(high for _, high in bands) / len(bands)


def _floor(at: datetime, step: timedelta) -> datetime:
    seconds = step.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
