"""What stands guard over one slice: takes closed buckets in the order of time and says when something is wrong.

Live checks, backtests and files take the same step; what differs is only where the buckets come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from monitoring.monitors.deviation import Deviations
from monitoring.monitors.drift import Detector, alone
from monitoring.monitors.sample import Sample
from triageops.stats.change import step
from triageops.stats.evidence import Evidence

ANOMALY_SHARE = 0.2
"""Of a detector's budget, for buckets that are impossible by themselves."""

_BEYOND_DOUBT = math.log(1000)

_SAME_CHANGE = ({"down", "bottom tail"}, {"up", "top tail"}, {"wider", "bottom tail", "top tail"})
"""Labels of bets that may speak of one and the same change."""

State = Mapping[str, Any]
"""What a run knows, as JSON; empty: nothing yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """onset_at: start of the bucket with which it seems to have begun, in unix seconds. label: what the alarm is about.

    log_evidence: how far above the alarm line. is_single: one bucket alone, instead of evidence that piled up over several.
    """

    label: str
    onset_at: float
    log_evidence: float
    is_single: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """One bucket's verdict. log_evidence: before an alarm resets it; 0 is the alarm line, minus infinity no evidence.

    elapsed_seconds: for how long the budget grew.
    """

    log_evidence: float
    finding: Finding | None = None
    elapsed_seconds: float = 0.0


class Run(Protocol):
    """The evidence about one slice."""

    def take(self, sample: Sample, *, budget_per_second: float) -> Taken:
        """The next closed bucket. ValueError for values that the metric's definition excludes."""

    def freeze(self, sample: Sample) -> None:
        """A bucket that is no evidence: time passes, the budget does not grow, nothing is forgotten."""

    def as_json(self) -> dict[str, Any]: ...


class Watch(Protocol):
    """A kind with its parameters, and what it has learnt, made ready for one slice."""

    @property
    def is_of_records(self) -> bool:
        """Whether values are of records, so that larger buckets say more; no: of whole buckets, the empty ones too."""

    @property
    def recovers(self) -> bool:
        """Whether good buckets end an incident; no: what happened stays true, and only a person ends it."""

    def resume(self, state: State) -> Run:
        """Go on from what a run wrote; ValueError when it cannot be read."""

    def expected(self, sample: Sample) -> float:
        """What is usual in this bucket, in the unit that is shown."""

    def value(self, sample: Sample) -> float | None:
        """What the bucket shows, in the same unit; None when it is empty."""

    def band(self, sample: Sample) -> tuple[float, float] | None:
        """What this bucket may show without being a drift; None where only one side is known."""

    def deviations(self, sample: Sample) -> Deviations:
        """Empty when the bucket says nothing."""

    def complaint(self, label: str) -> str:
        """What a finding says of the metric, as in “{metric} {complaint}”."""

    def is_same_change(self, label: str, other: str) -> bool:
        """Whether two findings may speak of one change: not where one rises and the other falls."""


@dataclass(frozen=True)
class Betting:
    """A detector that bets: evidence piles up against “nothing has changed” and is paid for by a budget in time.

    words: complaint of each label, the most telling first. anomaly_share: of the budget, for buckets that are impossible by themselves.
    """

    detector: Detector
    judge: Callable[[Sample], Deviations]
    words: Mapping[str, str]
    anomaly_share: float = ANOMALY_SHARE
    recovers: ClassVar[bool] = True

    @property
    def is_of_records(self) -> bool:
        return self.detector.is_of_records

    def resume(self, state: State) -> BettingRun:
        none = Evidence.none(len(self.detector.labels))
        run = BettingRun(self, Evidence.from_json(state) if state else none)
        if len(run.evidence.log_m) != len(none.log_m):
            raise ValueError(f"evidence of {len(run.evidence.log_m)} bets, not of {len(none.log_m)}")
        return run

    def expected(self, sample: Sample) -> float:
        return self.detector.expected(sample)

    def value(self, sample: Sample) -> float | None:
        return self.detector.value(sample)

    def band(self, sample: Sample) -> tuple[float, float] | None:
        return self.detector.band(sample)

    def deviations(self, sample: Sample) -> Deviations:
        return self.judge(sample)

    def complaint(self, label: str) -> str:
        return self.words.get(label, f"has changed ({label})")

    def is_same_change(self, label: str, other: str) -> bool:
        return label == other or any({label, other} <= labels for labels in _SAME_CHANGE)


@dataclass
class BettingRun:
    watch: Betting
    evidence: Evidence
    log_evidence: float = field(default=-math.inf, init=False)

    def take(self, sample: Sample, *, budget_per_second: float) -> Taken:
        detector, share = self.watch.detector, self.watch.anomaly_share
        end = sample.at + sample.seconds
        # Time without data counts from the last bucket; after a new start the time before it does not count.
        elapsed = sample.seconds if self.evidence.at is None else max(0.0, end - self.evidence.at)
        increments = detector.increments(sample)
        before = self.evidence
        taken = step(
            before,
            increments,
            elapsed_seconds=elapsed,
            budget_per_second=budget_per_second * (1 - share),
            at=end,
        )
        self.evidence = taken.evidence
        if taken.is_alarm:
            best = self._most_telling(before, increments, taken.baseline)
            onset = before.onset_at[best] if before.log_g[best] > 0 else sample.at
            onset = sample.at if onset is None else onset
            label = detector.labels[best]
            # What began with this very bucket may be over with it; whether it lasts, the next ones say.
            is_single = share > 0 and onset >= sample.at
            return Taken(
                taken.log_evidence, Finding(label, onset, taken.log_evidence, is_single=is_single), elapsed
            )
        if share and elapsed:
            log_e, label = alone(detector, sample, increments)
            strength = log_e + math.log(budget_per_second * share * elapsed)
            if strength >= 0:
                found = Finding(label, sample.at, strength, is_single=True)
                return Taken(taken.log_evidence, found, elapsed)
        return Taken(taken.log_evidence, elapsed_seconds=elapsed)

    def _most_telling(self, before: Evidence, increments: Sequence[float], best: int) -> int:
        """A bet of the first label, in the order of words, that is beyond doubt since its onset; else the best bet.

        All values at the bottom: the bet on the tail wins, but what people want to hear is that the mean fell.
        """
        labels = self.watch.detector.labels
        grown = [g + x for g, x in zip(before.log_g, increments, strict=True)]
        for label in self.watch.words:
            own = [k for k, name in enumerate(labels) if name == label and grown[k] >= _BEYOND_DOUBT]
            if own:
                return max(own, key=grown.__getitem__)
        return best

    def freeze(self, sample: Sample) -> None:
        end = sample.at + sample.seconds
        self.evidence = replace(self.evidence, at=max(end, self.evidence.at or end))

    def as_json(self) -> dict[str, Any]:
        return self.evidence.as_json()
