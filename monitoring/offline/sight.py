"""The smallest change that will be found, from triageops.stats.sensitivity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from monitoring.monitors.reference import RateReference, ScoreReference, VolumeReference
from monitoring.monitors.replay import ANOMALY_SHARE
from monitoring.monitors.sample import Sample
from monitoring.offline.question import DAY_SECONDS, Question, Reference
from triageops.stats import sensitivity

_LEAST_CHECKS = 7


@dataclass(frozen=True, slots=True)
class Sight:
    """The smallest change that is found within so many seconds on average, at n records in a bucket; None: none is.

    up, down: of a distribution a shift in standard deviations, of a rate a share, of a volume a count per bucket.
    """

    within_seconds: float
    n: float
    up: float | None
    down: float | None


def sight_of(reference: Reference, samples: Sequence[Sample], question: Question) -> Sight:
    """Within a day, or seven buckets when they are long."""
    checks = max(DAY_SECONDS / question.bucket_seconds, _LEAST_CHECKS)
    n = float(median(one.n for one in samples if one.n or isinstance(reference, VolumeReference)))
    budget = question.budget_per_second * (1 - ANOMALY_SHARE) * question.bucket_seconds
    found = {
        side: smallest(reference, side, n, checks, budget) if question.sides in (side, "both") else None
        for side in ("up", "down")
    }
    return Sight(checks * question.bucket_seconds, n, found["up"], found["down"])


def smallest(reference: Reference, side: str, n: float, checks: float, budget: float) -> float | None:
    """See Sight. side: "up" or "down"; checks: within so many on average; budget: false alarms in one check."""
    if isinstance(reference, ScoreReference):
        return _smallest_shift(reference, side, n, checks, budget)
    if isinstance(reference, RateReference):
        return _smallest_share(reference, side, n, checks, budget)
    return _smallest_count(reference, side, checks, budget)


def _smallest_shift(
    reference: ScoreReference, side: str, n: float, checks: float, budget: float
) -> float | None:
    """The mean of the location score is about the shift times its own standard deviation, see bets_cells."""
    position = 0 if side == "up" else 1
    scores, usual = reference.cells.scores()[position], reference.usual[position]
    sd = math.sqrt(math.fsum(p * s * s for p, s in zip(reference.cells.shares, scores.tolist(), strict=True)))
    if not sd:
        return None
    allowed = median(most[position] - mean for most, mean in zip(reference.allowed, usual.mean, strict=True))
    return sensitivity.smallest_shift(
        checks, budget_per_check=budget, margin=max(0.0, allowed / sd), n_eff=n * usual.worth(n)
    )


def _smallest_share(
    reference: RateReference, side: str, n: float, checks: float, budget: float
) -> float | None:
    bound = median(bounds[0 if side == "down" else 1] for bounds in reference.bounds)
    rate = bound if side == "up" else max(median(reference.usual.mean), bound)
    if not 0 < bound < 1 or (side == "down" and rate <= bound):
        return None
    found = sensitivity.smallest_rate_ratio(
        checks, budget_per_check=budget, rate=rate, bound=bound, n_eff=n * reference.usual.worth(n)
    )
    return None if found is None else rate * found


def _smallest_count(reference: VolumeReference, side: str, checks: float, budget: float) -> float | None:
    needed = sensitivity.needed_growth(checks, budget_per_check=budget) * reference.inflation
    sign = 1 if side == "up" else -1
    bound = median(reference.expected) * (1 + sign * median(reference.margins))
    if not bound > 0:
        return None

    def is_enough(level: float) -> bool:
        return sensitivity.count_growth(level, bound=bound, dispersion=reference.dispersion) >= needed

    end = 0.0 if side == "down" else bound
    while side == "up" and end < 1e15 and not is_enough(end):
        end = 2 * end
    if not is_enough(end):
        return None
    within = bound
    for _ in range(60):
        middle = (within + end) / 2
        within, end = (within, middle) if is_enough(middle) else (middle, end)
    return end
