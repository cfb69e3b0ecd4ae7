"""A watch run over buckets in the order of time: what it would have said. Live checks take the same step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitoring.monitors.drift import Detector
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import ANOMALY_SHARE, Betting, Finding, State, Watch
from triageops.stats.evidence import Evidence

__all__ = ["ANOMALY_SHARE", "Alarm", "Replay", "follow", "replay"]

_NOTHING: State = {}
_NO_WORDS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Alarm:
    """at: end of the bucket that raised it. onset_at: start of the bucket with which it seems to have begun.

    is_single: one bucket alone, instead of evidence that piled up. value, usual: since the onset, in the metric's unit.
    """

    at: float
    onset_at: float
    label: str
    log_evidence: float
    is_single: bool
    value: float | None
    usual: float
    n: int


@dataclass
class Replay:
    """log_evidence: after each bucket, before an alarm resets it; 0 is the alarm line, minus infinity for a frozen bucket.

    seconds: for which the budget grew.
    """

    alarms: list[Alarm] = field(default_factory=list)
    log_evidence: list[float] = field(default_factory=list)
    seconds: float = 0.0


def replay(
    detector: Detector,
    samples: Iterable[Sample],
    *,
    budget_per_second: float,
    anomaly_share: float = ANOMALY_SHARE,
    begin_at: float | None = None,
) -> Replay:
    """Of a detector alone; budget_per_second: false alarms of both sorts together.

    begin_at: where the budget begins to count, before the first bucket; default its start.
    """
    watch = Betting(detector, lambda _: (), _NO_WORDS, anomaly_share)
    state = _NOTHING if begin_at is None else Evidence.none(len(detector.labels), begin_at).as_json()
    return follow(watch, samples, budget_per_second=budget_per_second, state=state)


def follow(
    watch: Watch,
    samples: Iterable[Sample],
    *,
    budget_per_second: float,
    frozen: Callable[[Sample], bool] | None = None,
    state: State = _NOTHING,
) -> Replay:
    """Every alarm over these buckets, which ascend in time. frozen: which of them are no evidence. state: of a run."""
    found, run = Replay(), watch.resume(state)
    since: list[Sample] = []
    for sample in samples:
        if frozen is not None and frozen(sample):
            run.freeze(sample)
            found.log_evidence.append(-math.inf)
            continue
        taken = run.take(sample, budget_per_second=budget_per_second)
        since.append(sample)
        found.log_evidence.append(taken.log_evidence)
        found.seconds += taken.elapsed_seconds
        if taken.finding is not None:
            shown = [sample] if taken.finding.is_single else since
            found.alarms.append(_alarm(watch, shown, taken.finding))
            since = since if taken.finding.is_single else []
        if len(since) > _MOST_KEPT:
            del since[: len(since) - _MOST_KEPT]
    return found


_MOST_KEPT = 10_000


def _alarm(watch: Watch, samples: Sequence[Sample], finding: Finding) -> Alarm:
    """Over the samples since the onset; the last of them raised it."""
    shown = [one for one in samples if one.at >= finding.onset_at] or list(samples[-1:])
    # An event more does not make its bucket count for more; a record does.
    weights = [one.n if watch.is_of_records else 1 for one in shown]
    usual = _mean([watch.expected(one) for one in shown], weights)
    values = [(watch.value(one), weight) for one, weight in zip(shown, weights, strict=True)]
    known = [(value, n) for value, n in values if value is not None]
    return Alarm(
        samples[-1].at + samples[-1].seconds,
        finding.onset_at,
        finding.label,
        finding.log_evidence,
        finding.is_single,
        _mean([value for value, _ in known], [n for _, n in known]) if known else None,
        usual,
        Sample.merge(shown).n,
    )


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """By records; of buckets without any, by buckets."""
    total = sum(weights)
    if not total:
        return math.fsum(values) / len(values)
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
