"""A detector run over buckets in the order of time: what it would have said. Live checks take the same step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from monitoring.monitors.drift import Detector, anomaly
from monitoring.monitors.sample import Sample
from triageops.stats.change import step
from triageops.stats.evidence import Evidence

ANOMALY_SHARE = 0.2
"""Of a detector's budget, for buckets that are impossible by themselves."""


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
    """log_evidence: after each bucket, before an alarm resets it; 0 is the alarm line."""

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
    """Every alarm over these buckets, which ascend in time; budget_per_second: false alarms of both sorts together.

    begin_at: where the budget begins to count, before the first bucket; default its start.
    """
    found = Replay()
    labels = detector.labels
    evidence = Evidence.none(len(labels), begin_at)
    since: list[Sample] = []
    for sample in samples:
        end = sample.at + sample.seconds
        elapsed = sample.seconds if evidence.at is None else max(0.0, end - evidence.at)
        increments = detector.increments(sample)
        taken = step(
            evidence,
            increments,
            elapsed_seconds=elapsed,
            budget_per_second=budget_per_second * (1 - anomaly_share),
            at=end,
        )
        since.append(sample)
        evidence = taken.evidence
        found.log_evidence.append(taken.log_evidence)
        found.seconds += elapsed
        if taken.is_alarm:
            onset = sample.at if taken.onset_at is None else taken.onset_at
            found.alarms.append(
                _alarm(detector, since, end, onset, labels[taken.baseline], taken.log_evidence)
            )
            since = []
        elif anomaly_share:
            log_e, baseline = anomaly(increments)
            strength = log_e + math.log(budget_per_second * anomaly_share * elapsed) if elapsed else -math.inf
            if strength >= 0:
                found.alarms.append(
                    _alarm(detector, [sample], end, sample.at, labels[baseline], strength, is_single=True)
                )
        if len(since) > _MOST_KEPT:
            del since[: len(since) - _MOST_KEPT]
    return found


_MOST_KEPT = 10_000


def _alarm(
    detector: Detector,
    samples: Sequence[Sample],
    at: float,
    onset_at: float,
    label: str,
    log_evidence: float,
    *,
    is_single: bool = False,
) -> Alarm:
    shown = [one for one in samples if one.at >= onset_at] or list(samples[-1:])
    whole = Sample.merge(shown)
    # An event more does not make its bucket count for more; a record does.
    weights = [one.n if detector.is_of_records else 1 for one in shown]
    usual = _mean([detector.expected(one) for one in shown], weights)
    values = [(detector.value(one), weight) for one, weight in zip(shown, weights, strict=True)]
    known = [(value, n) for value, n in values if value is not None]
    value = _mean([value for value, _ in known], [n for _, n in known]) if known else None
    return Alarm(at, onset_at, label, log_evidence, is_single, value, usual, whole.n)


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """By records; of buckets without any, by buckets."""
    total = sum(weights)
    if not total:
        return math.fsum(values) / len(values)
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
