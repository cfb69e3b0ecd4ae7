"""One slice during one check: its evidence, its evaluations and its incident. Nothing here takes locks or decides when."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings

from monitoring import incidents
from monitoring.history import flapping
from monitoring.models import (
    DriftEvaluation,
    Incident,
    IncidentState,
    MonitorSlice,
    Resolution,
    Severity,
    Signal,
)
from monitoring.monitors.recovery import Recovery
from monitoring.monitors.sample import Sample
from monitoring.monitors.size import Size
from monitoring.monitors.watch import Finding, Run, Taken, Watch
from monitoring.slices import described
from monitoring.sources import title_of
from monitoring.stories import Change, Story, forget

log = structlog.get_logger(__name__)

SUSPECT_AT, FADED_AT = math.log(0.1), math.log(0.01)
"""Of the evidence that an alarm takes, as logarithms: above the first it is a suspicion, below the second none any more."""

_LOWER = {
    Severity.CRITICAL: Severity.ERROR,
    Severity.ERROR: Severity.WARNING,
    Severity.WARNING: Severity.INFO,
    Severity.INFO: Severity.INFO,
}


class UnusableBucket(Exception):
    """A bucket holds values that the metric's definition excludes; the check waits until a person has put it right."""


@dataclass
class TrackedSlice:
    """Takes closed buckets in the order of their time; the check writes `row`, `evaluations` and `incident`."""

    row: MonitorSlice
    watch: Watch
    incident: Incident | None
    suspected: Incident | None
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
    has_signalled: bool = False
    """Whether the open incident was counted as a signal during this check."""

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
        elif self.incident is not None and self.watch.recovers and not is_frozen:
            self._judge(self.incident, sample, at)
        elif self.incident is None and not is_frozen:
            self._suspect(taken.log_evidence)

    def settle(self) -> None:
        """Put what is known now into the rows; to be saved by the check."""
        self.row.evidence = self.run.as_json()
        self.row.recovery = self.recovery.as_json()

    def start_anew(self) -> None:
        """Forget all evidence; this never breaks the budget."""
        self.run, self.recovery = self.watch.resume({}), Recovery()
        forget(self.row)
        self._clear("it starts anew")

    def _suspect(self, log_evidence: float) -> None:
        """A tenth of what an alarm takes is seen on pages and told to nobody; a hundredth is nothing any more."""
        if self.suspected is None and SUSPECT_AT <= log_evidence < 0:
            where = described(self.row.labels, self.row.key)
            title = f"{title_of(self.row.monitor.metric)} may have changed" + (
                f" for {where}" if where else ""
            )
            self.suspected = incidents.suspect(
                self.row,
                title=title,
                severity=self.row.monitor.severity,
                log_evidence=log_evidence,
                now=self.now,
            )
        elif log_evidence < FADED_AT:
            self._clear("the evidence is gone")

    def _clear(self, note: str) -> None:
        if self.suspected is not None:
            incidents.fade(self.suspected, now=self.now, note=note)
            self.suspected = None

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
        if self.incident is None:
            self._tell(finding, at)
            return
        # What is said again is no further alarm. But a second finding while the first is not over: it was no single bucket.
        is_escalated = self.incident.signal == Signal.ANOMALY
        self.alarm_count += is_escalated
        self.signal_count -= is_escalated and self.has_signalled
        self._open(finding, self.incident.onset_at, self._grown(self.incident), {})

    def _tell(self, finding: Finding, at: datetime) -> None:
        """Open an incident, unless one that is open tells of it already."""
        onset_at = datetime.fromtimestamp(finding.onset_at, UTC)
        change = Change(self.row.key, finding, onset_at, self.watch)
        noted_on = self.story.noted_on(change)
        change = replace(change, is_signal=finding.is_single and noted_on is None)
        if noted_on is not None and noted_on.signal != Signal.ANOMALY:
            self.inhibited_count += 1
            self._clear("another incident tells of it")
            return
        evidence = self._evidence(finding, onset_at, at)
        best = (evidence.get("explanation") or {}).get("best")
        change = replace(change, best=None if best is None else (best["dimension"], best["value"]))
        told = self.story.told_by(change)
        if told is not None:
            self.inhibited_count += 1
            said = {"title": self._title(finding, None), "onset_at": onset_at.isoformat(), **evidence}
            incidents.note_slice(told, self.row.key, said, now=self.now)
            self._clear("another incident tells of it")
            return
        self.has_signalled = change.is_signal
        self.signal_count += change.is_signal
        self.alarm_count += not change.is_signal
        size = self._since(onset_at)
        self._open(finding, onset_at, size, evidence, single_at=at if change.is_signal else None)

    def _open(
        self,
        finding: Finding,
        onset_at: datetime,
        size: Size,
        evidence: dict[str, Any],
        single_at: datetime | None = None,
    ) -> None:
        """single_at: of the only bucket."""
        self.recovery = Recovery()
        severity = self.row.monitor.severity
        self.incident = incidents.open_or_note(
            self.row,
            title=self._title(finding, single_at),
            signal=Signal.DRIFT if single_at is None else Signal.ANOMALY,
            severity=severity if single_at is None else _LOWER[Severity(severity)],
            onset_at=onset_at,
            effect=self._effect(size),
            evidence=evidence,
            log_evidence=finding.log_evidence,
            now=self.now,
        )
        self.suspected = None
        self.story.opened(self.row, self.incident)

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
        count = monitor.resolve_after_buckets
        self.recovery = self.recovery.observe(
            self.watch.deviations(sample),
            at=at.timestamp(),
            n_min=monitor.recovery_n_min if self.watch.is_of_records else 1,
        )
        if self.recovery.is_credible(count=count):
            incidents.recover(incident, now=self.now)
        elif self.recovery.in_band_count == 0:
            incidents.relapse(incident, now=self.now)
        if incident.state != IncidentState.RECOVERING:
            # The way back does not show how large the change is.
            incident.effect = self._effect(self._grown(incident))
        until = at.timestamp() + settings.BUCKET_SECONDS
        if self._is_over(incident, until, count):
            incident.save(update_fields=["effect"])
            incidents.end(incident, Resolution.RECOVERED, now=self.now)
            self.incident, self.has_signalled = None, False
            self.start_anew()
            self.story.ended(self.row, incident)

    def _is_over(self, incident: Incident, until: float, count: int) -> bool:
        """What flaps must be well for longer."""
        hold = self.row.monitor.hold_seconds
        if not self.recovery.is_complete(until=until, count=count, hold_seconds=hold):
            return False
        factor = flapping.hold_factor(incident)
        longer = factor * max(hold, settings.BUCKET_SECONDS)
        return factor == 1 or self.recovery.is_complete(until=until, count=count, hold_seconds=longer)

    def _grown(self, incident: Incident) -> Size:
        """With the last bucket; what lies between the onset and the opening is read once, when it is opened."""
        return self._with(Size.from_json(incident.effect), self.evaluations[-1])

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
