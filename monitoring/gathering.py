"""From buckets by group to slices: all together, the largest combinations by themselves, the rest pooled."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.conf import settings

from monitoring.models import Monitor
from monitoring.monitors.sample import Sample
from monitoring.slices import ALL, OTHER, slice_key
from monitoring.sources import Bucket, empty_sample

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Gathered:
    """One slice: its samples in the order of time."""

    key: str
    labels: Labels
    samples: Sequence[Sample]

    @property
    def n(self) -> int:
        return sum(sample.n for sample in self.samples)


def gathered(
    monitor: Monitor,
    buckets: Sequence[Bucket],
    *,
    keys: Iterable[str] | None = None,
    control: Sequence[Bucket] = (),
) -> list[Gathered]:
    """The slices of a stretch of past time, the whole first; keys: the named ones, by default the largest.

    control: buckets of what the monitor is compared with, cut in the same way.
    """
    named = _largest(monitor, buckets) if keys is None else set(keys)
    labels = {key_of(monitor, bucket): labels_of(monitor, bucket) for bucket in buckets}
    parts: dict[str, list[Sample]] = defaultdict(list)
    for _, together in groupby(buckets, key=attrgetter("at")):
        for key, sample in at_once(monitor, list(together), named.__contains__).items():
            parts[key].append(sample)
    found = [
        Gathered(key, {**monitor.where, **labels.get(key, {})}, samples) for key, samples in parts.items()
    ]
    if control:
        against = {one.key: one for one in gathered(monitor, control, keys=named)}
        found = [_compared(one, against.get(one.key)) for one in found]
    return sorted(found, key=lambda one: (one.key != ALL, one.key == OTHER, -one.n, one.key))


def at_once(
    monitor: Monitor, buckets: Sequence[Bucket], has_place: Callable[[str], bool]
) -> dict[str, Sample]:
    """The samples of one time by slice; those whose slice has no place are pooled."""
    parts: dict[str, list[Sample]] = defaultdict(list)
    for bucket in buckets:
        if monitor.has_whole:
            parts[ALL].append(bucket.sample)
        if monitor.split_by:
            key = key_of(monitor, bucket)
            parts[key if has_place(key) else OTHER].append(bucket.sample)
    return {key: one[0] if len(one) == 1 else Sample.merge(one) for key, one in parts.items()}


def key_of(monitor: Monitor, bucket: Bucket) -> str:
    """Of the combination that the bucket is about."""
    return slice_key(labels_of(monitor, bucket))


def labels_of(monitor: Monitor, bucket: Bucket) -> Labels:
    return dict(zip(monitor.split_by, bucket.group, strict=True))


def filled(samples: Sequence[Sample], start: datetime, end: datetime) -> list[Sample]:
    """With an empty sample for each bucket in which nothing came."""
    by_time = {sample.at: sample for sample in samples}
    return [by_time.get(at.timestamp()) or empty_sample(at) for at in times(start, end)]


def times(start: datetime, end: datetime) -> list[datetime]:
    """Starts of the buckets that begin in start <= time < end."""
    length = settings.BUCKET_SECONDS
    first = -(-int(start.timestamp()) // length) * length
    begin = datetime.fromtimestamp(first, tz=start.tzinfo)
    count = max(0, -int(-(end - begin).total_seconds() // length))
    return [begin + timedelta(seconds=length * number) for number in range(count)]


def _largest(monitor: Monitor, buckets: Sequence[Bucket]) -> set[str]:
    totals: Counter[str] = Counter()
    for bucket in buckets:
        totals[key_of(monitor, bucket)] += bucket.sample.n
    if not monitor.split_by:
        return set()
    return set(sorted(totals, key=lambda key: (-totals[key], key))[: monitor.max_slices])


def _compared(one: Gathered, control: Gathered | None) -> Gathered:
    """Each bucket with that of the control at the same time."""
    by_time = {sample.at: sample for sample in control.samples} if control else {}
    return replace(one, samples=[replace(sample, against=by_time.get(sample.at)) for sample in one.samples])
