"""What checks saw of one slice over a stretch of time, read once and thinned to what a picture can show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings

from monitoring.models import DriftEvaluation, Incident, Monitor
from monitoring.monitors import registry
from monitoring.slices import described
from monitoring.sources import title_of
from triageops.stats.interval import mean_interval
from triageops.stats.moments import Moments
from triageops.wording import Style

_DETECTIONS, _LEAST_BUCKETS, _LEAST_PART = 3, 20, 8
"""Around an incident so many times what its detection took, so many buckets, and such a part of all that is shown."""
_MOST_POINTS = 150
_Z = 1.96
_LATELY = 3
"""Stretches in a row that have to be off before it is said in words."""
_MOST_HOURS, _HOURS = 180, (1, 3, 6, 24)
OF_MEANS = frozenset({"slo_guard", "distribution", "rate"})
"""Kinds whose value is the mean of the records, so that the records' spread says how exact it is."""
SHORT = timedelta(hours=30)
"""Up to this a picture is made of buckets; longer ones are made of hours."""
_FIELDS = (
    "bucket_at", "n", "mean", "m2", "expected", "low", "high", "log_evidence", "is_frozen", "is_alarm", "is_signal",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stretch:
    """One bucket, or several neighbours together. low, high: of what is usual; near, far: 95 % interval of the value.

    is_exact: the value is no mean of records, so it has no interval. is_watched: no: it is known from rollups only.
    slack: of a value without an interval, how far chance alone moves it.
    """

    at: datetime
    n: int
    value: float | None
    near: float | None
    far: float | None
    expected: float | None
    low: float | None
    high: float | None
    log_evidence: float | None
    is_frozen: bool
    is_found: bool
    is_exact: bool
    is_watched: bool = True
    slack: float = 0.0

    @property
    def side(self) -> str:
        """“lower” or “higher” where not even its interval reaches into what is usual; a mean without one says nothing."""
        if self.value is None or self.is_frozen or (self.near is None and not self.is_exact):
            return ""
        near = self.value - self.slack if self.near is None else self.near
        far = self.value + self.slack if self.far is None else self.far
        if self.low is not None and far < self.low:
            return "lower"
        return "higher" if self.high is not None and near > self.high else ""

    @property
    def is_outside(self) -> bool:
        return bool(self.side)


@dataclass(frozen=True)
class Trace:
    """One slice of one monitor, oldest first. step: how much time a stretch covers."""

    monitor: Monitor
    key: str
    labels: Mapping[str, str]
    start: datetime
    end: datetime
    step: timedelta
    stretches: Sequence[Stretch]

    @classmethod
    def read(
        cls, monitor: Monitor, key: str, labels: Mapping[str, str], start: datetime, end: datetime
    ) -> "Trace":
        """One query; none for a monitor that has never been checked."""
        found = DriftEvaluation.objects.filter(
            slice__monitor=monitor, slice__key=key, bucket_at__gte=start, bucket_at__lt=end
        )
        found = found.none() if monitor.checked_at is None else found.order_by("bucket_at")
        rows = [_Row(*row) for row in found.values_list(*_FIELDS)]
        step = steps_in(end - start)
        seconds = step.total_seconds()
        together = groupby(rows, key=lambda row: row.at.timestamp() // seconds)
        return cls(
            monitor,
            key,
            labels,
            start,
            end,
            step,
            [_merged(monitor, list(several)) for _, several in together],
        )

    @property
    def where(self) -> str:
        return described(self.labels, self.key) or "all records"

    @property
    def metric_title(self) -> str:
        return title_of(self.monitor.metric)

    @property
    def lately(self) -> str:
        """“lower” or “higher” where the last stretches lie outside of what is usual on one side; else empty."""
        known = [one for one in self.stretches if one.value is not None][-_LATELY:]
        sides = {one.side for one in known}
        return sides.pop() if len(known) == _LATELY and len(sides) == 1 else ""

    @property
    def is_thinned(self) -> bool:
        return self.step.total_seconds() > settings.BUCKET_SECONDS


@dataclass(frozen=True, slots=True)
class _Row:
    at: datetime
    n: int
    mean: float
    m2: float
    expected: float | None
    low: float | None
    high: float | None
    log_evidence: float | None
    is_frozen: bool
    is_alarm: bool
    is_signal: bool


def steps_in(length: timedelta) -> timedelta:
    """Of at most a few hundred equal steps, each a whole number of buckets; of long ones hours, as feedback.stats has them."""
    bucket = settings.BUCKET_SECONDS
    if length > SHORT:
        hours = next((one for one in _HOURS if length <= timedelta(hours=_MOST_HOURS * one)), _HOURS[-1])
        return timedelta(hours=hours)
    return timedelta(seconds=bucket * max(1, math.ceil(length.total_seconds() / bucket / _MOST_POINTS)))


def around(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """The stretch of time that explains an incident: what was before the onset, and after the end if it is over."""
    detection = _DETECTIONS * (incident.opened_at - incident.onset_at)
    beside = max(detection, timedelta(seconds=_LEAST_BUCKETS * settings.BUCKET_SECONDS))
    end = now if incident.resolved_at is None else min(now, incident.resolved_at + beside)
    return incident.onset_at - max(beside, (end - incident.onset_at) / _LEAST_PART), end


def style_of(monitor: Monitor) -> Style:
    """How values of what it shows are written."""
    if registry.is_of_shares(monitor.kind) or monitor.metric in {"error", "cache_hit"}:
        return "share"
    if monitor.kind == "volume":
        return "count"
    return {"latency_seconds": "seconds", "cost": "money"}.get(monitor.metric, "number")  # type: ignore[return-value]


def _merged(monitor: Monitor, rows: Sequence[_Row]) -> Stretch:
    weights = [1 if monitor.kind == "volume" else row.n for row in rows]
    pooled = sum((Moments(row.n, row.mean, row.m2) for row in rows if row.n), start=Moments(0, 0.0, 0.0))
    interval = mean_interval(pooled) if monitor.kind in OF_MEANS and pooled.m2 else None
    known = [row.log_evidence for row in rows if row.log_evidence is not None]
    n = sum(row.n for row in rows)
    return Stretch(
        at=rows[0].at,
        n=n,
        value=_mean([row.mean for row in rows], weights) if any(weights) else None,
        near=interval.low if interval else None,
        far=interval.high if interval else None,
        expected=_mean([row.expected for row in rows], weights),
        low=_mean([row.low for row in rows], weights),
        high=_mean([row.high for row in rows], weights),
        log_evidence=max(known, default=None),
        is_frozen=all(row.is_frozen for row in rows),
        is_found=any(row.is_alarm or row.is_signal for row in rows),
        is_exact=monitor.kind not in OF_MEANS,
        slack=slack_of(monitor, n, len(rows)),
    )


def slack_of(monitor: Monitor, n: int, bucket_count: float) -> float:
    """Of a count in a bucket, if records came by themselves: what ties them together makes it larger."""
    return _Z * math.sqrt(max(n, 1)) / bucket_count if monitor.kind == "volume" else 0.0


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    """By records; of empty buckets by buckets. Of ends of what is usual: that of single buckets, which is the wider one."""
    used = weights if any(weights) else [1] * len(values)
    pairs = [(value, weight) for value, weight in zip(values, used, strict=True) if value is not None]
    total = sum(weight for _, weight in pairs)
    return math.fsum(value * weight for value, weight in pairs) / total if total else None
