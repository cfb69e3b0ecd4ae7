"""What can be watched, by the name that a monitor gives it: how it is read in buckets, and what is known of its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from django.conf import settings

from feedback import agreement
from feedback.models import Direction, MetricKind, QualityMetric
from feedback.stats import (
    ClosedBucket,
    Group,
    Volume,
    age_of,
    closed_buckets,
    closed_until,
    feedback_buckets,
    past_buckets,
    past_volumes,
    volume_buckets,
)
from monitoring.monitors.kind import Metric, Shape
from monitoring.monitors.sample import Sample

FeedbackKind = Literal["negative", "positive", "rating", "coverage"]

FEEDBACK, AGREEMENT = "feedback:", "agreement:"
VOLUME = "volume"
FEEDBACK_MATURITY = timedelta(hours=6)
VOLUME_MATURITY = timedelta(minutes=15)
"""Clients send in batches; feedback.stats.volumes says what that means."""


def _share(key: str, *, is_higher_better: bool) -> Metric:
    return Metric(key, bounds=(0.0, 1.0), is_higher_better=is_higher_better, shape="share")


_EVERY_RESPONSE = {
    metric.key: metric
    for metric in (
        Metric("latency_seconds", "s", is_higher_better=False, shape="amount"),
        Metric("cost", is_higher_better=False, shape="amount"),
        Metric("input_tokens", "tokens", shape="amount"),
        Metric("output_tokens", "tokens", shape="amount"),
        _share("error", is_higher_better=False),
        _share("cache_hit", is_higher_better=True),
        Metric("embedding_distance", bounds=(0.0, 2.0), shape="score"),
    )
}
_FEEDBACK = {
    "negative": _share("feedback:negative", is_higher_better=False),
    "positive": _share("feedback:positive", is_higher_better=True),
    "rating": Metric("feedback:rating", bounds=(1.0, 5.0), is_higher_better=True, shape="score"),
    "coverage": _share("feedback:coverage", is_higher_better=True),
}
_TITLES = {
    "latency_seconds": "latency",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "error": "error rate",
    "cache_hit": "cache-hit share",
    "embedding_distance": "embedding drift",
    VOLUME: "responses",
    "feedback:negative": "thumbs-down share",
    "feedback:positive": "thumbs-up share",
    "feedback:rating": "rating",
    "feedback:coverage": "feedback coverage",
}
_SHAPES: dict[str, Shape] = {
    MetricKind.BOUNDED: "score",
    MetricKind.RATE: "share",
    MetricKind.POSITIVE: "amount",
    MetricKind.COUNT: "count",
}


class UnknownSource(LookupError):
    """Nothing that can be watched has this name."""


@dataclass(frozen=True)
class Bucket:
    """What one group shows in one closed bucket of time."""

    at: datetime
    group: Group
    sample: Sample


@dataclass(frozen=True)
class Source:
    """One metric that can be watched. maturity: how old buckets are when they are looked at, for what comes late.

    Without one, buckets are known by the time at which they became visible; else by that at which their responses occurred.
    """

    metric: Metric
    maturity: timedelta = timedelta(0)

    @property
    def title(self) -> str:
        """As people call it."""
        return title_of(self.metric.key)

    def ripe_until(self) -> datetime | None:
        """What `closed` gives for a time before this is final; None before anything was counted. One query."""
        if not self.metric.key.startswith(AGREEMENT):
            return closed_until()
        # The comparison is written behind the rollups, so what is closed may not be compared yet.
        counted = agreement.counted_until()
        return None if counted is None else counted + self.maturity

    def closed(
        self,
        *,
        where: Mapping[str, str],
        split_by: Sequence[str],
        after: datetime,
        until: datetime,
        not_before: datetime,
    ) -> list[Bucket]:
        """What became ripe in after <= time < until, of what occurred since not_before, by time and group; each once."""
        key, window = self.metric.key, {"after": after, "until": until, "not_before": not_before}
        if key == VOLUME:
            volumes = volume_buckets(where=where, split_by=split_by, maturity=self.maturity, **window)
            return [_counted(one) for one in volumes]
        if key.startswith(FEEDBACK):
            kind = feedback_kind(key)
            found = feedback_buckets(kind, where=where, split_by=split_by, maturity=self.maturity, **window)
        elif key.startswith(AGREEMENT):
            start, end = max(after - self.maturity, not_before), until - self.maturity
            found = past_buckets(key, where=where, split_by=split_by, start=start, end=end)
        else:
            found = closed_buckets(key, where=where, split_by=split_by, **window)
        return [Bucket(one.at, one.group, _sample(one)) for one in found]

    def past(
        self, *, where: Mapping[str, str], split_by: Sequence[str], start: datetime, end: datetime
    ) -> list[Bucket]:
        """What occurred in start <= time < end, which must be ripe, by time and group."""
        key = self.metric.key
        if key == VOLUME:
            volumes = past_volumes(
                where=where, split_by=split_by, start=start, end=end, maturity=self.maturity
            )
            return [_counted(one) for one in volumes]
        if key.startswith(FEEDBACK):
            after, until = start + self.maturity, end + self.maturity
            return self.closed(where=where, split_by=split_by, after=after, until=until, not_before=start)
        found = past_buckets(key, where=where, split_by=split_by, start=start, end=end)
        return [Bucket(one.at, one.group, _sample(one)) for one in found]


def _counted(volume: Volume) -> Bucket:
    return Bucket(volume.at, volume.group, _count(volume.at, volume.n))


def _count(at: datetime, n: int) -> Sample:
    return Sample(at.timestamp(), float(settings.BUCKET_SECONDS), n)


def empty_sample(at: datetime) -> Sample:
    """A bucket in which nothing came."""
    return Sample(at.timestamp(), float(settings.BUCKET_SECONDS))


def _sample(bucket: ClosedBucket) -> Sample:
    return Sample.of_row(
        bucket.at.timestamp(),
        float(settings.BUCKET_SECONDS),
        bucket.moments,
        bucket.histogram,
        bucket.null_count,
    )


def source_named(key: str, maturity: timedelta | None = None) -> Source:
    """Raises UnknownSource. maturity: None for what is usual for this source."""
    age = maturity_of(key, maturity)
    if key == VOLUME:
        return Source(Metric(VOLUME, "responses", shape="volume"), age)
    if key in _EVERY_RESPONSE:
        return Source(_EVERY_RESPONSE[key])
    if key.startswith(FEEDBACK):
        return Source(_FEEDBACK[feedback_kind(key)], age)
    if key.startswith(AGREEMENT):
        _defined(key.removeprefix(AGREEMENT))
        return Source(_share(key, is_higher_better=True), age)
    return Source(metric_of(_defined(key)))


def maturity_of(key: str, wanted: timedelta | None = None) -> timedelta:
    """In whole buckets. wanted: None for what is usual; only that of feedback and of volumes can be chosen. No query."""
    if key.startswith(AGREEMENT):
        return agreement.age()
    if key == VOLUME:
        return age_of(VOLUME_MATURITY if wanted is None else wanted)
    if key.startswith(FEEDBACK):
        return age_of(FEEDBACK_MATURITY if wanted is None else wanted)
    return timedelta(0)


def keys() -> list[str]:
    """Everything that could be watched, as names."""
    defined = list(QualityMetric.objects.values_list("key", flat=True))
    agreements = [
        AGREEMENT + key
        for key in QualityMetric.objects.exclude(direction=Direction.NONE).values_list("key", flat=True)
    ]
    return [*defined, *_EVERY_RESPONSE, VOLUME, *(FEEDBACK + kind for kind in _FEEDBACK), *agreements]


def title_of(key: str) -> str:
    """As people call it: “thumbs-down share”."""
    if key.startswith(AGREEMENT):
        return f"agreement of {key.removeprefix(AGREEMENT)} with people"
    return _TITLES.get(key, key)


def metric_of(definition: QualityMetric) -> Metric:
    """What a monitor kind may know of a metric; one that nobody classified has neither bounds nor a direction."""
    is_higher_better = {Direction.HIGHER: True, Direction.LOWER: False}.get(Direction(definition.direction))
    shape = _SHAPES.get(definition.kind, "unknown")
    return Metric(definition.key, definition.unit, definition.bounds, is_higher_better, shape)


def _defined(key: str) -> QualityMetric:
    found = QualityMetric.objects.filter(pk=key).first()
    if found is None:
        raise UnknownSource(f"No quality metric is called “{key}”.")
    return found


def feedback_kind(key: str) -> FeedbackKind:
    """Raises UnknownSource."""
    name = key.removeprefix(FEEDBACK)
    kinds: tuple[FeedbackKind, ...] = get_args(FeedbackKind)
    for kind in kinds:
        if kind == name:
            return kind
    raise UnknownSource(f"“{key}” is none of: {', '.join(FEEDBACK + kind for kind in _FEEDBACK)}.")
