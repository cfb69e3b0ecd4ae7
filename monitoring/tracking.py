"""One slice during one check: its evidence, its evaluations and its incident. Nothing here takes locks or decides when."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from django.conf import settings

from monitoring import incidents
from monitoring.models import DriftEvaluation, Incident, MonitorSlice, Resolution, Severity, Signal
from monitoring.monitors.recovery import Recovery
from monitoring.monitors.sample import Sample
from monitoring.monitors.size import Size
from monitoring.monitors.watch import Finding, Run, Taken, Watch
from monitoring.slices import described
from monitoring.sources import title_of

log = structlog.get_logger(__name__)

SAME_STORY = timedelta(hours=6)
"""An alarm of a part whose onset is not earlier than this before the whole's tells nothing new."""

_LOWER = {
    Severity.CRITICAL: Severity.ERROR,
    Severity.ERROR: Severity.WARNING,
    Severity.WARNING: Severity.INFO,
    Severity.INFO: Severity.INFO,
}


class UnusableBucket(Exception):
    """A bucket holds values that the metric's definition excludes; the check waits until a person has put it right."""


class Story(Protocol):
    """What the slices of one monitor know of each other."""

    def told_by(self, row: MonitorSlice, onset_at: datetime, best: tuple[str, str] | None) -> Incident | None:
        """The open incident that tells of this already; best: dimension and value that explain the change."""

    def opened(self, row: MonitorSlice, incident: Incident | None) -> None: ...


@dataclass
class TrackedSlice:
    """Takes closed buckets in the order of their time; the check writes `row`, `evaluations` and `incident`."""

    row: MonitorSlice
    watch: Watch
    incident: Incident | None
    story: Story
    explained: Callable[[MonitorSlice, datetime, datetime], dict[str, Any]]
    now: datetime
    recovery: Recovery = field(init=False)
    run: Run = field(init=False)
    evaluations: list[DriftEvaluation] = field(default_factory=list)
    expected_alarms: float = 0.0
    alarm_count: int = 0
    signal_count: int = 0
    inhibited_count: int = 0

    def __post_init__(self) -> None:
        self.recovery = Recovery.from_json(self.row.recovery)
        try:
            self.run = self.watch.resume(self.row.evidence)
        except ValueError:
            log.warning("slice.evidence_unreadable", monitor_id=self.row.monitor_id, slice_id=self.row.pk)
            self.run = self.watch.resume({})

    def take(self, sample: Sample, *, at: datetime, is_frozen: bool = False) -> None:
        """One closed bucket that starts at `at`; frozen: a marker says that it is no evidence."""
        taken = Taken(self._log_evidence()) if is_frozen else self._step(sample, at)
        if is_frozen:
            self.run.freeze(sample)
        self.row.bucket_at = at
        self.row.last_row_at = at if sample.n else self.row.last_row_at
        self.row.log_evidence = taken.log_evidence if math.isfinite(taken.log_evidence) else None
        self.evaluations.append(self._evaluation(sample, at, taken, is_frozen=is_frozen))
        if taken.finding is not None:
            self._alarm(taken.finding, at)
        elif self.incident is not None and not is_frozen:
            self._judge(self.incident, sample, at)

    def settle(self) -> None:
        """Put what is known now into the rows; to be saved by the check."""
        self.row.evidence = self.run.as_json()
        self.row.recovery = self.recovery.as_json()

    def _log_evidence(self) -> float:
        known = self.row.log_evidence
        return -math.inf if known is None else known

    def _step(self, sample: Sample, at: datetime) -> Taken:
        budget = self.row.monitor.budget_per_second(self.row.key)
        try:
            taken = self.run.take(sample, budget_per_second=budget)
        except ValueError as error:
            where = described(self.row.labels, self.row.key) or "all records"
            raise UnusableBucket(f"The bucket of {at:%Y-%m-%d %H:%M} UTC ({where}) has {error}.") from None
        self.expected_alarms += budget * taken.elapsed_seconds
        return taken

    def _evaluation(self, sample: Sample, at: datetime, taken: Taken, *, is_frozen: bool) -> DriftEvaluation:
        watch, value = self.watch, self.watch.value(sample)
        low, high = watch.band(sample) or (None, None)
        finding = taken.finding
        return DriftEvaluation(
            slice=self.row,
            bucket_at=at,
            n=sample.n,
            mean=0.0 if value is None else value,
            m2=sample.moments.m2 if watch.is_of_records else 0.0,
            log_evidence=self.row.log_evidence,
            is_alarm=finding is not None and not finding.is_single,
            is_signal=finding is not None and finding.is_single,
            is_frozen=is_frozen,
            expected=watch.expected(sample),
            low=low,
            high=high,
        )

    def _alarm(self, finding: Finding, at: datetime) -> None:
        # A second finding while the first is not over: it was no single bucket.
        is_new = self.incident is None
        is_signal = finding.is_single and is_new
        # What a change says again while it is open is no further alarm.
        self.signal_count += is_signal
        self.alarm_count += is_new and not is_signal
        onset_at = datetime.fromtimestamp(finding.onset_at, UTC)
        if self.incident is not None:
            onset_at = self.incident.onset_at
        evidence = {} if self.incident is not None else self._evidence(finding, onset_at, at)
        if self.incident is None and self._is_told(finding, onset_at, evidence):
            return
        self.recovery = Recovery()
        monitor = self.row.monitor
        self.incident = incidents.open_or_note(
            self.row,
            title=self._title(finding, at if is_signal else None),
            signal=Signal.ANOMALY if is_signal else Signal.DRIFT,
            severity=_LOWER[Severity(monitor.severity)] if is_signal else monitor.severity,
            onset_at=onset_at,
            effect=self._effect(self._since(onset_at)),
            evidence=evidence,
            log_evidence=finding.log_evidence,
            now=self.now,
        )
        self.story.opened(self.row, self.incident)

    def _is_told(self, finding: Finding, onset_at: datetime, evidence: Mapping[str, Any]) -> bool:
        best = (evidence.get("explanation") or {}).get("best")
        named = None if best is None else (best["dimension"], best["value"])
        told = self.story.told_by(self.row, onset_at, named)
        if told is None:
            return False
        self.inhibited_count += 1
        self.signal_count -= finding.is_single
        self.alarm_count -= not finding.is_single
        details = {"title": self._title(finding, None), "onset_at": onset_at.isoformat(), **evidence}
        incidents.note_slice(told, self.row.key, details, now=self.now)
        return True

    def _evidence(self, finding: Finding, onset_at: datetime, at: datetime) -> dict[str, Any]:
        end = at + timedelta(seconds=settings.BUCKET_SECONDS)
        explanation = self.explained(self.row, onset_at, end)
        return {"label": finding.label, **({"explanation": explanation} if explanation else {})}

    def _title(self, finding: Finding, at: datetime | None) -> str:
        """at: of the only bucket."""
        metric, where = self.row.monitor.metric, described(self.row.labels, self.row.key)
        complaint = self.watch.complaint(finding.label)
        if at is not None:
            complaint = f"{complaint} in the bucket of {at:%H:%M} UTC"
        return f"{title_of(metric)} {complaint}" + (f" for {where}" if where else "")

    def _judge(self, incident: Incident, sample: Sample, at: datetime) -> None:
        """Is the open incident over, on its way, or as bad as before?"""
        monitor = self.row.monitor
        was_recovering = self.recovery.in_band_count > 0
        self.recovery = self.recovery.observe(
            self.watch.deviations(sample),
            at=at.timestamp(),
            n_min=monitor.recovery_n_min if self.watch.is_of_records else 1,
        )
        if self.recovery.in_band_count == 0:
            incident.effect = self._effect(self._with(Size.from_json(incident.effect), self.evaluations[-1]))
            if was_recovering:
                incidents.relapse(incident, now=self.now)
            return
        incidents.recover(incident, now=self.now)
        if self.recovery.is_complete(
            until=at.timestamp() + settings.BUCKET_SECONDS,
            count=monitor.resolve_after_buckets,
            hold_seconds=monitor.hold_seconds,
        ):
            incident.save(update_fields=["effect"])
            incidents.end(incident, Resolution.RECOVERED, now=self.now)
            self.incident, self.recovery, self.run = None, Recovery(), self.watch.resume({})
            self.row.log_evidence = None
            self.story.opened(self.row, None)

    def _since(self, onset_at: datetime) -> Size:
        stored = self.row.evaluations.filter(bucket_at__gte=onset_at, is_frozen=False) if self.row.pk else ()
        recent = [one for one in self.evaluations if one.bucket_at >= onset_at and not one.is_frozen]
        size = Size()
        for one in (*stored, *recent):
            size = self._with(size, one)
        return size

    def _with(self, size: Size, one: DriftEvaluation) -> Size:
        usual = one.mean if one.expected is None else one.expected
        if not self.watch.is_of_records:
            return size.plus(one.n, 1.0, one.mean, usual, 0.0)
        return size if not one.n else size.plus(one.n, one.n, one.mean, usual, one.m2)

    def _effect(self, size: Size) -> dict[str, Any]:
        effect = size.effect()
        return {} if effect is None else {**effect.as_json(), "sums": size.as_json()}
