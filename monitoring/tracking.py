"""One slice during one check: its detector, its evaluations and its incident. Nothing here takes locks or decides when."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.conf import settings

from monitoring import incidents
from monitoring.models import DriftEvaluation, Incident, MonitorSlice, Resolution
from monitoring.monitors.kind import Detector
from monitoring.monitors.recovery import Recovery
from monitoring.slices import described
from triageops.stats.change import Step, step
from triageops.stats.evidence import Evidence
from triageops.stats.moments import Moments


class UnusableBucket(Exception):
    """A bucket holds values that the metric's definition excludes; the check waits until a person has put it right."""


@dataclass
class TrackedSlice:
    """Takes closed buckets in the order of their time; `finish` writes what came of it."""

    row: MonitorSlice
    detector: Detector
    incident: Incident | None
    now: datetime
    evidence: Evidence = field(init=False)
    recovery: Recovery = field(init=False)
    evaluations: list[DriftEvaluation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recovery = Recovery.from_json(self.row.recovery)
        self.evidence = Evidence.from_json(self.row.evidence) if self.row.evidence else self._no_evidence()

    def take(self, moments: Moments, *, at: datetime) -> None:
        """One closed bucket that starts at `at`."""
        taken = self._step(moments, at)
        self.evidence = taken.evidence
        self.row.bucket_at = at
        self.row.log_evidence = taken.log_evidence if math.isfinite(taken.log_evidence) else None
        self.evaluations.append(
            DriftEvaluation(
                slice=self.row,
                bucket_at=at,
                n=moments.n,
                mean=moments.mean,
                m2=moments.m2,
                log_evidence=self.row.log_evidence,
                is_alarm=taken.is_alarm,
            )
        )
        if taken.is_alarm:
            self._alarm(taken, at)
        elif self.incident is not None:
            self._judge(self.incident, moments, at)

    def finish(self) -> None:
        """Write evaluations, evidence and the size of the open incident."""
        DriftEvaluation.objects.bulk_create(self.evaluations)
        self.evaluations = []
        self.row.evidence = self.evidence.as_json()
        self.row.recovery = self.recovery.as_json()
        self.row.save()
        if self.incident is not None:
            self.incident.save(update_fields=["effect"])

    def _step(self, moments: Moments, at: datetime) -> Step:
        length = float(settings.BUCKET_SECONDS)
        ended = at.timestamp() + length
        try:
            increments = self.detector.increments(moments)
        except ValueError as error:
            where = described(self.row.labels, self.row.key) or "all records"
            raise UnusableBucket(f"The bucket of {at:%Y-%m-%d %H:%M} UTC ({where}) has {error}.") from None
        return step(
            self.evidence,
            increments,
            # Time without data counts from the last bucket; after a new start the time before it does not count.
            elapsed_seconds=length if self.evidence.at is None else ended - self.evidence.at,
            budget_per_second=self.row.monitor.budget_per_second,
            at=ended,
        )

    def _alarm(self, taken: Step, at: datetime) -> None:
        metric, where = self.row.monitor.metric, described(self.row.labels, self.row.key)
        self.recovery = Recovery()
        onset_at = at if taken.onset_at is None else datetime.fromtimestamp(taken.onset_at, UTC)
        if self.incident is not None:
            onset_at = self.incident.onset_at
        self.incident = incidents.open_or_note(
            self.row,
            title=f"{metric} {self.detector.complaint}" + (f" for {where}" if where else ""),
            onset_at=onset_at,
            effect=self._effect(self._since(onset_at)),
            log_evidence=taken.log_evidence,
            now=self.now,
        )

    def _judge(self, incident: Incident, moments: Moments, at: datetime) -> None:
        """Is the open incident over, on its way, or as bad as before?"""
        monitor = self.row.monitor
        was_recovering = self.recovery.in_band_count > 0
        self.recovery = self.recovery.observe(
            moments, at=at.timestamp(), n_min=monitor.recovery_n_min, detector=self.detector
        )
        if self.recovery.in_band_count == 0:
            incident.effect = self._effect(_moments_of(incident) + moments)
            if was_recovering:
                incidents.relapse(incident, now=self.now)
            return
        incidents.recover(incident, now=self.now)
        if self.recovery.is_complete(
            until=at.timestamp() + settings.BUCKET_SECONDS,
            count=monitor.resolve_after_buckets,
            hold_seconds=monitor.hold_seconds,
            detector=self.detector,
        ):
            incident.save(update_fields=["effect"])
            incidents.end(incident, Resolution.RECOVERED, now=self.now)
            self.incident, self.recovery, self.evidence = None, Recovery(), self._no_evidence()
            self.row.log_evidence = None

    def _since(self, onset_at: datetime) -> Moments:
        stored = self.row.evaluations.filter(bucket_at__gte=onset_at).values_list("n", "mean", "m2")
        recent = [e for e in self.evaluations if e.bucket_at >= onset_at]
        return _merged([*stored.iterator(), *((e.n, e.mean, e.m2) for e in recent)])

    def _effect(self, moments: Moments) -> dict[str, float | int | None]:
        effect = self.detector.effect(moments)
        return {} if effect is None else {**effect.as_json(), "m2": moments.m2}

    def _no_evidence(self) -> Evidence:
        return Evidence.none(self.detector.baseline_count)


def _moments_of(incident: Incident) -> Moments:
    effect = incident.effect
    return Moments(effect["n"], effect["current"], effect["m2"]) if effect else Moments(0, 0.0, 0.0)


def _merged(parts: Iterable[tuple[int, float, float]]) -> Moments:
    return Moments.merge(Moments(*part) for part in parts)
