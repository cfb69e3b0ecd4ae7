"""What a replay is made of: a stretch of the past cut into slices, and what was usual before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings

from monitoring import references
from monitoring.gathering import Gathered, filled, gathered
from monitoring.models import Monitor, ReferenceMode
from monitoring.monitors.kind import Kind
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Watch
from monitoring.references import Draft, NothingToLearn
from monitoring.slices import ALL, OTHER, described
from monitoring.sources import Bucket, Source

REPLAYED = timedelta(days=14)
LEAST_BEFORE = timedelta(days=7)
"""Of time before the replayed one, for a reference that knows nothing of it."""


@dataclass(frozen=True)
class Part:
    """One slice and what it is replayed with."""

    key: str
    name: str
    labels: Mapping[str, str]
    samples: Sequence[Sample]
    learnt: Learnt | None
    watch: Watch
    budget_per_second: float

    @property
    def n(self) -> int:
        return sum(one.n for one in self.samples)


@dataclass
class Past:
    """The last days of what a monitor watches. notes: full sentences on what the reader has to know."""

    monitor: Monitor
    now: datetime
    start: datetime = field(init=False)
    end: datetime = field(init=False)
    reference: dict[str, Any] = field(default_factory=dict, init=False)
    """As JSON, without what was learnt; empty for a kind that learns nothing."""
    notes: list[str] = field(default_factory=list, init=False)

    @cached_property
    def kind(self) -> Kind:
        return self.monitor.kind_read()

    @cached_property
    def source(self) -> Source:
        return self.monitor.source

    def parts(self, tell: Callable[[float], None]) -> list[Part]:
        """Every slice that can be replayed, the whole first; reads, and learns. Raises NothingToLearn, and what Kind.check raises."""
        monitor, length = self.monitor, settings.BUCKET_SECONDS
        self.kind.check(self.source.metric)
        ripe = int(references.ripe_until(monitor, self.now).timestamp())
        self.end = datetime.fromtimestamp(ripe - ripe % length, UTC)
        self.start = self.end - REPLAYED
        buckets = self._read(monitor.where)
        if not buckets:
            raise NothingToLearn(
                f"There are no numbers of “{self.source.metric.key}” in the last {REPLAYED.days} days to replay."
            )
        self.start = max(self.start, buckets[0].at)
        self._note_length()
        control = self._read({**monitor.where, **monitor.control}) if monitor.is_compared else []
        tell(0.3)
        if not self.kind.learns:
            return [self._part(one, None) for one in gathered(monitor, buckets)]
        draft = self._drafted()
        tell(0.8)
        return self._learnt_parts(draft, buckets, control)

    def _read(self, where: Mapping[str, str]) -> list[Bucket]:
        found = self.source.past(where=where, split_by=self.monitor.split_by, start=self.start, end=self.end)
        return [bucket for bucket in found if bucket.sample.n]

    def _drafted(self) -> Draft:
        """Of the time before the replayed one where that is enough, else of all of the reference's."""
        begin, end = references.window_of(self.monitor, self.now)
        if self.monitor.reference_mode == ReferenceMode.TRAILING:
            self.notes.append(
                "A trailing reference moves on every day; here it stands still for the whole time."
            )
        if end <= self.start:
            return self._learn(begin, end)
        try:
            before = self._learn(begin, self.start) if begin < self.start else None
        except NothingToLearn:
            before = None
        if before is not None and self.start - _first_at(before) >= LEAST_BEFORE:
            return before
        self.notes.append(
            "The replayed time is part of the reference, so false alarms are understated: there is too little of the time "
            "before it to learn from."
        )
        return self._learn(begin, end)

    def _learn(self, begin: datetime, end: datetime) -> Draft:
        found = references.draft(self.monitor, begin, end)
        self.reference = {
            "start": begin.astimezone(UTC).isoformat(),
            "end": end.astimezone(UTC).isoformat(),
            "n": found.n,
            "is_before": end <= self.start,
        }
        return found

    def _learnt_parts(self, draft: Draft, buckets: Sequence[Bucket], control: Sequence[Bucket]) -> list[Part]:
        known = {one.key for one, _ in draft.slices}
        found = {one.key: one for one in gathered(self.monitor, buckets, keys=known, control=control)}
        if unknown := found.keys() - known:
            names = ", ".join(f"“{self._name(found[key])}”" for key in sorted(unknown))
            self.notes.append(f"Not replayed, because too little is known of what is usual there: {names}.")
        # A slice of which nothing came at all is replayed only where silence says something.
        return [
            self._part(found.get(one.key) or Gathered(one.key, one.labels, ()), learnt)
            for one, learnt in draft.slices
            if one.key in found or self.kind.is_dense
        ]

    def _part(self, one: Gathered, learnt: Learnt | None) -> Part:
        return Part(
            one.key,
            self._name(one),
            one.labels,
            filled(one.samples, self.start, self.end) if self.kind.is_dense else one.samples,
            learnt,
            self.kind.watch(self.source.metric, learnt, is_compared=self.monitor.is_compared),
            self.monitor.budget_per_second(one.key),
        )

    def _name(self, one: Gathered) -> str:
        if one.key in {ALL, OTHER}:
            return "all records" if one.key == ALL else described({}, OTHER)
        return described({name: one.labels.get(name, "") for name in self.monitor.split_by})

    def _note_length(self) -> None:
        days = (self.end - self.start) / timedelta(days=1)
        if days < REPLAYED.days - 1:
            self.notes.append(
                f"Only {days:.1f} days of the past are known; {REPLAYED.days} would say more about false alarms."
            )


def _first_at(draft: Draft) -> datetime:
    """When its first records came."""
    times = [one.at for found, _ in draft.slices for one in found.samples if one.n]
    return datetime.fromtimestamp(min(times), UTC)
