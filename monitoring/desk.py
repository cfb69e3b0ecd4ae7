"""All slices of one monitor during one check: who has a place, who tells what, and what is written at the end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from feedback.stats import Window
from monitoring import attribution, budget, incidents
from monitoring.gathering import at_once, key_of, labels_of
from monitoring.models import DriftEvaluation, Incident, Monitor, MonitorSlice, Signal
from monitoring.monitors.sample import Sample
from monitoring.references import Known
from monitoring.slices import ALL, OTHER
from monitoring.sources import Bucket, Source, empty_sample
from monitoring.stories import Change, forget
from monitoring.tracking import TrackedSlice

_BEFORE_ONSET = timedelta(days=1)
"""Of a slice, and of a fixed level: what its groups were like is read of so long a time."""
_MOST_LOOKED_BACK = 20
"""Changes of one check for which this is read: in a storm of slices the first ones are explained."""
_WRITTEN = ["is_tracked", "labels", "evidence", "log_evidence", "recovery", "bucket_at", "last_row_at"]


class Desk:
    """A combination that is seen first gets the next free place; where slices were learnt, only those have one."""

    def __init__(self, monitor: Monitor, source: Source, known: Known, now: datetime) -> None:
        self.monitor, self.source, self.known, self.now = monitor, source, known, now
        self.is_dense = monitor.kind_read().is_dense
        self.rows = {row.key: row for row in monitor.slices.all()}
        unresolved = list(Incident.objects.unresolved().filter(monitor=monitor).exclude(signal=Signal.CHECK))
        self.open = {row.slice_key: row for row in unresolved if row.is_open}
        self.suspected = {row.slice_key: row for row in unresolved if not row.is_open}
        self.used: dict[str, TrackedSlice] = {}
        self.looked_back_count = 0

    def sorted_into_slices(
        self, at: datetime, buckets: Sequence[Bucket], control: Sequence[Bucket] = ()
    ) -> list[tuple[TrackedSlice, Sample]]:
        """The buckets of one time; the largest first when places are given away, those without a place together."""
        filled = sorted(
            (bucket for bucket in buckets if bucket.sample.n), key=lambda one: (-one.sample.n, one.group)
        )
        for bucket in filled:
            self._give_place(bucket)
        samples = at_once(self.monitor, filled, self._has_place)
        if self.is_dense:
            for key in self.known.rows:
                samples.setdefault(key, empty_sample(at))
        if self.monitor.is_compared:
            others = at_once(self.monitor, control, self._has_place)
            samples = {key: replace(sample, against=others.get(key)) for key, sample in samples.items()}
        # The whole first: what it tells, its parts need not tell again.
        found = [(self._tracked(key), samples[key]) for key in sorted(samples, key=lambda key: key != ALL)]
        return [(tracked, sample) for tracked, sample in found if tracked is not None]

    def noted_on(self, change: Change) -> Incident | None:
        """The open incident on which the same was noted of this slice before; a lasting one first."""
        others = {one.pk: one for key, one in self.open.items() if key != change.key}
        notes = incidents.notes_of(change.key, others)
        found = [others[pk] for pk, label in notes if change.is_like(label)]
        return min(found, key=lambda one: one.signal == Signal.ANOMALY, default=None)

    def told_by(self, change: Change) -> Incident | None:
        """The open incident of the whole, or for the whole that of the part which explains it, if it tells the same."""
        if change.key != ALL:
            told = [self.open[ALL]] if ALL in self.open else []
        else:
            told = [one for key, one in self.open.items() if key != ALL and change.is_explained_by(one)]
        return next((one for one in told if change.is_told_by(one)), None)

    def opened(self, row: MonitorSlice, incident: Incident) -> None:
        self.open[row.key] = incident

    def ended(self, row: MonitorSlice, incident: Incident) -> None:
        """What was only noted on it has to be found and told by itself from now on."""
        self.open.pop(row.key, None)
        for key in incidents.noted_slices(incident) - set(self.open):
            if key in self.used:
                self.used[key].start_anew()
            elif key in self.rows:
                forget(self.rows[key])

    def explained(self, row: MonitorSlice, onset_at: datetime, end: datetime) -> dict[str, Any]:
        """Which group explains the change of what this slice watches; nothing where what was before is not known."""
        if row.key == OTHER or self.monitor.parameters.get("good_from") is not None:
            # Groups of a mean say nothing of how many records lie beyond a value.
            return {}
        if not self._has_shares(row):
            if self.looked_back_count >= _MOST_LOOKED_BACK:
                return {}
            self.looked_back_count += 1
        window, where = Window(onset_at, end), {**self.monitor.where, **row.labels}
        found = attribution.explain(self.source, where, window, self._before(row, where, window))
        return found.as_json() if found.parts or self._has_shares(row) else {}

    def _has_shares(self, row: MonitorSlice) -> bool:
        """Whether the reference knows what the groups were like; it knows them of everything that is watched only."""
        return row.key == ALL and self.monitor.reference is not None and bool(self.monitor.reference.shares)

    def _before(self, row: MonitorSlice, where: dict[str, str], window: Window) -> attribution.Shares:
        """What it is compared with at the same time, what the reference knows, or else the day before the onset."""
        monitor, reference = self.monitor, self.monitor.reference
        if monitor.is_compared:
            # Not what that was like when its spread was learnt.
            return attribution.shares_of(self.source, {**where, **monitor.control}, window)
        if reference is not None and self._has_shares(row):
            known: attribution.Shares = reference.shares
            return known
        return attribution.shares_of(self.source, where, Window(window.start - _BEFORE_ONSET, window.start))

    def save(self) -> None:
        """Write evaluations, evidence, sizes of open incidents and what was used of the budget."""
        self._forget_absent()
        used = list(self.used.values())
        if not used:
            return
        for tracked in used:
            tracked.settle()
        MonitorSlice.objects.bulk_update([tracked.row for tracked in used], _WRITTEN)
        DriftEvaluation.objects.bulk_create([one for tracked in used for one in tracked.evaluations])
        Incident.objects.bulk_update(
            {tracked.incident.pk: tracked.incident for tracked in used if tracked.incident}.values(),
            ["effect"],
        )
        budget.spend(
            self.monitor,
            self.now.date(),
            expected=sum(tracked.expected_alarms for tracked in used),
            alarms=sum(tracked.alarm_count for tracked in used),
            signals=sum(tracked.signal_count for tracked in used),
            inhibited=sum(tracked.inhibited_count for tracked in used),
        )

    def _forget_absent(self) -> None:
        """What the reference does not know any more gives up its share of the budget, until a later one knows it again.

        Otherwise the time of its absence would count when it comes back, beside that of the slice which had its place.
        """
        absent = [row for row in self.rows.values() if row.is_tracked and row.key not in self.known.rows]
        if not self.known.is_limited or not absent:
            return
        for row in absent:
            row.is_tracked = False
            forget(row)
        MonitorSlice.objects.bulk_update(absent, ["is_tracked", "evidence", "recovery", "log_evidence"])

    def _give_place(self, bucket: Bucket) -> None:
        if not self.monitor.split_by or self.known.is_limited:
            return
        key = key_of(self.monitor, bucket)
        if self._has_place(key):
            return
        named = sum(row.is_tracked and row.key not in {OTHER, ALL} for row in self.rows.values())
        if named < self.monitor.max_slices:
            self._track(key, dict(labels_of(self.monitor, bucket)))

    def _has_place(self, key: str) -> bool:
        if self.known.is_limited:
            return key in self.known.rows
        row = self.rows.get(key)
        return row is not None and row.is_tracked

    def _track(self, key: str, labels: dict[str, str]) -> MonitorSlice:
        row = self.rows.get(key)
        if row is None:
            row = MonitorSlice.objects.create(
                monitor=self.monitor, key=key, labels={**self.monitor.where, **labels}
            )
            self.rows[key] = row
        row.is_tracked, row.labels = True, {**self.monitor.where, **labels}
        return row

    def _tracked(self, key: str) -> TrackedSlice | None:
        """None for a slice that nothing is known of."""
        if key in self.used:
            return self.used[key]
        watch = self.known.watch(key)
        if watch is None:
            return None
        row = self.rows.get(key)
        if row is None or not row.is_tracked:
            row = self._track(key, self.known.labels.get(key, {}))
        incident = self.open.get(key)
        row.monitor = self.monitor
        if incident is not None:
            incident.monitor = self.monitor
        suspected = self.suspected.get(key)
        if suspected is not None:
            suspected.monitor = self.monitor
        self.used[key] = TrackedSlice(row, watch, incident, suspected, self, self.explained, self.now)
        return self.used[key]
