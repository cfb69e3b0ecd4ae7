"""Fires when a triage label errs too often: under-triage is minded much sooner than over-triage (drift.md 2.3, increment 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

from monitoring.monitors.comparison import ShareComparison, share_differences
from monitoring.monitors.deviation import Deviations, of_share
from monitoring.monitors.drift import Detector, RateDrift
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable, refuse_negative, values_of
from monitoring.monitors.learnt import Learnt, TriageReference
from monitoring.monitors.reference import RateReference, Tolerance
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Betting

_WORDS = {
    "under-triage": "shows more under-triage than usual",
    "over-triage": "shows more over-triage than usual",
}


def under_triage(sample: Sample, threshold: float) -> Sample:
    """As 0 and 1: whether a record's error is -threshold or below; the bin in which -threshold lies counts."""
    at = -threshold
    count = sum(
        n
        for one in sample.histograms()
        for index, n in one.counts.items()
        if one.scheme.lower(index) < at or one.scheme.upper(index) <= at
    )
    return _share(sample, count, under_triage, threshold)


def over_triage(sample: Sample, threshold: float) -> Sample:
    """As 0 and 1: whether a record's error is threshold or above; the bin in which the threshold lies counts."""
    count = sum(
        n
        for one in sample.histograms()
        for index, n in one.counts.items()
        if one.scheme.upper(index) >= threshold
    )
    return _share(sample, count, over_triage, threshold)


def _share(sample: Sample, count: int, side: Callable[[Sample, float], Sample], threshold: float) -> Sample:
    n = sum(one.n for one in sample.histograms())
    control = None if sample.against is None else side(sample.against, threshold)
    return replace(Sample.of_shares(sample.at, sample.seconds, count, n), against=control)


@dataclass(frozen=True)
class TriageError:
    """A signed error of a label: below zero a case was taken for less urgent than it is, above for more."""

    name: ClassVar[str] = "triage_error"
    title: ClassVar[str] = "triage error: more under-triage, or much more over-triage"
    learns: ClassVar[bool] = True
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    ignore_under_ratio: float = field(
        default=0.05,
        metadata={"help": "Do not mind a share of under-triage that is larger by less than this part of it."},
    )
    ignore_over_ratio: float = field(
        default=0.3,
        metadata={"help": "Do not mind a share of over-triage that is larger by less than this part of it."},
    )
    ignore_under_points: float = field(
        default=0.0,
        metadata={"help": "Nor under-triage that is more by less than this; 0.01 is one percentage point."},
    )
    ignore_over_points: float = field(
        default=0.0,
        metadata={"help": "Nor over-triage that is more by less than this; 0.01 is one percentage point."},
    )
    threshold: float = field(
        default=0.5,
        metadata={"help": "From how large an error on, either way, a record counts as wrong."},
    )

    @property
    def level(self) -> None:
        return None

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        refuse_negative(values, *(name for name in values if name.startswith("ignore_")))
        if values.get("threshold", 0.5) <= 0:
            raise InvalidParameters({"threshold": "This must be above 0: an error of 0 is no error."})
        return cls(**values)

    def check(self, metric: Metric) -> None:
        if metric.bounds is None or metric.shape in {"share", "volume"}:
            raise Unwatchable(
                f"“{metric.key}” is no error between two bounds. Classify it as such a score first."
            )
        low, high = metric.bounds
        if not low < 0 < high:
            raise Unwatchable(
                f"“{metric.key}” is never below 0 or never above it, so it cannot tell under-triage from over-triage."
            )
        if self.threshold > min(-low, high):
            raise InvalidParameters(
                {
                    "threshold": f"No error of “{metric.key}” can be as large on both sides: at most {min(-low, high):g}."
                }
            )

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> TriageReference:
        under, over = (
            RateReference.learnt([share(one, self.threshold) for one in samples], tolerance, zone=zone)
            for share, tolerance in zip((under_triage, over_triage), self._tolerances, strict=True)
        )
        return TriageReference(under, over)

    def watch(self, metric: Metric, learnt: Learnt | None, *, is_compared: bool = False) -> Betting:
        self.check(metric)
        if not isinstance(learnt, TriageReference):
            raise Unwatchable("Nothing was learnt yet for this kind.")
        references, tolerances = (learnt.under, learnt.over), self._tolerances

        def judge(sample: Sample) -> Deviations:
            shown = (under_triage(sample, self.threshold), over_triage(sample, self.threshold))
            sides = zip(references, shown, tolerances, strict=True)
            if is_compared:
                return sum(
                    (share_differences(one, "up", share, tolerance) for one, share, tolerance in sides), ()
                )
            return sum((of_share(one, "up", share) for one, share, _ in sides), ())

        if is_compared:
            words = {label: text.replace("usual", "the control") for label, text in _WORDS.items()}
            under, over = (
                ShareComparison(one, "up", tolerance)
                for one, tolerance in zip(references, tolerances, strict=True)
            )
            return Betting(TriageDrift(under, over, self.threshold), judge, words)
        drift = TriageDrift(RateDrift(learnt.under, "up"), RateDrift(learnt.over, "up"), self.threshold)
        return Betting(drift, judge, _WORDS)

    @property
    def _tolerances(self) -> tuple[Tolerance, Tolerance]:
        return (
            Tolerance(ratio=self.ignore_under_ratio, absolute=self.ignore_under_points),
            Tolerance(ratio=self.ignore_over_ratio, absolute=self.ignore_over_points),
        )


@dataclass(frozen=True)
class TriageDrift:
    """Bets that either share rose, half of the evidence each. What is shown is the share of under-triage."""

    is_of_records: ClassVar[bool] = True

    under: Detector
    over: Detector
    threshold: float

    @cached_property
    def labels(self) -> tuple[str, ...]:
        under, over = self._repeats
        return ("under-triage",) * (len(self.under.labels) * under) + ("over-triage",) * (
            len(self.over.labels) * over
        )

    def increments(self, sample: Sample) -> tuple[float, ...]:
        under, over = self._repeats
        return self.under.increments(self._under(sample)) * under + (
            self.over.increments(over_triage(sample, self.threshold)) * over
        )

    def expected(self, sample: Sample) -> float:
        return self.under.expected(self._under(sample))

    def value(self, sample: Sample) -> float | None:
        return self.under.value(self._under(sample))

    def band(self, sample: Sample) -> tuple[float, float] | None:
        """Fewer are never minded."""
        found = self.under.band(self._under(sample))
        return None if found is None else (0.0, found[1])

    def _under(self, sample: Sample) -> Sample:
        return under_triage(sample, self.threshold)

    @cached_property
    def _repeats(self) -> tuple[int, int]:
        """All bets weigh the same, and the two detectors may have different numbers of them."""
        counts = len(self.under.labels), len(self.over.labels)
        whole = math.lcm(*counts)
        return whole // counts[0], whole // counts[1]
