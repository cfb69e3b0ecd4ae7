"""How many units a comparison of two arms needs, and what it can see, for three ways to look at it.

fixed: one look at the end. group_sequential: equal looks, error spent as alpha t^2. always_valid: a Gaussian
mixture confidence sequence tuned at the last look, looked at as often. The last two stop early when they can;
the numbers here are the most units they may need.

An effect d (of means per unit, absolute) with variances v_t and v_c has after n units, a share w of them in
treatment, the drift d sqrt(n / V), V = v_t / w + v_c / (1 - w). For each design the drift that gives the
power is computed by integration over its bounds. Values of units must be independent.

Source: Jennison, Turnbull, "Group Sequential Methods" (2000), chapter 7. Accuracy: drift to 1e-10. The tests'
reference values: statsmodels NormalIndPower, Jennison and Turnbull's tables, Monte Carlo.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from triageops.stats import sequential
from triageops.stats.group_sequential import Crossing, Sides, boundaries


@dataclass(frozen=True, slots=True)
class Sizes:
    """Units of both arms together at the last look."""

    fixed: int
    group_sequential: int
    always_valid: int


@dataclass(frozen=True, slots=True)
class Effects:
    """Smallest absolute differences of means that are found with the power asked for, in the values' unit."""

    fixed: float
    group_sequential: float
    always_valid: float


@dataclass(frozen=True, slots=True)
class Drifts:
    """Expected Z at the last look with which a design has its power; sizes are as drift^2."""

    fixed: float
    group_sequential: float
    always_valid: float


def sample_size(
    effect: float,
    *,
    variance_c: float,
    variance_t: float,
    share_t: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: Sides = 2,
    looks: int = 28,
) -> Sizes:
    """Units, of both arms, to find an absolute difference with that power; ValueError unless effect is not 0.

    variance_c, variance_t: of one unit's value, >= 0, not both 0. share_t: the treatment's share of the units
    of the two arms, in (0, 1). alpha < power < 1. Rounded up; at least 2.
    """
    spread = _spread(variance_c, variance_t, share_t)
    if not (math.isfinite(effect) and effect):
        raise ValueError(f"effect {effect}")
    drift = drifts(alpha, power, sides, looks)
    needed = [
        (x / effect) * (x / effect) * spread
        for x in (drift.fixed, drift.group_sequential, drift.always_valid)
    ]
    if not math.isfinite(needed[-1]):
        raise ValueError(f"effect {effect} is too small for any sample")
    return Sizes(*(max(2, math.ceil(x * (1 - 1e-10))) for x in needed))  # drifts are that exact, from above


def detectable_effect(
    n: int,
    *,
    variance_c: float,
    variance_t: float,
    share_t: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: Sides = 2,
    looks: int = 28,
) -> Effects:
    """The absolute differences that n > 0 units, of both arms, find with that power; see sample_size."""
    if n <= 0:
        raise ValueError(f"{n} units")
    se = math.sqrt(_spread(variance_c, variance_t, share_t) / n)
    drift = drifts(alpha, power, sides, looks)
    return Effects(drift.fixed * se, drift.group_sequential * se, drift.always_valid * se)


def duration_days(n: int, units_per_day: float) -> int:
    """Whole days until n units have come."""
    if n < 0 or not 0 < units_per_day < math.inf:
        raise ValueError(f"{n} units at {units_per_day} per day")
    return math.ceil(n / units_per_day)


@functools.cache
def drifts(alpha: float, power: float, sides: Sides = 2, looks: int = 28) -> Drifts:
    """The drift of each design with its size and power, kept once computed (about 0.1 s); looks >= 1."""
    if not (0 < alpha < power < 1 and looks >= 1):
        raise ValueError(f"alpha {alpha}, power {power}, {looks} looks")
    fractions = [k / looks for k in range(1, looks + 1)]
    spending = boundaries(fractions, alpha, sides=sides)
    mixture = [always_valid_bound(t, alpha, sides=sides) for t in fractions]
    fixed = -NormalDist().inv_cdf(alpha / sides)
    return Drifts(
        fixed=_drift([1.0], [fixed], power, sides),
        group_sequential=_drift(fractions, spending, power, sides),
        always_valid=_drift(fractions, mixture, power, sides),
    )


def always_valid_bound(fraction: float, alpha: float, *, sides: Sides = 2) -> float:
    """The Z at which a confidence sequence tuned at information fraction 1 leaves out no effect."""
    tau2 = sequential.tuned_tau2(alpha, 1.0, sides=sides)
    se = 1 / math.sqrt(fraction)
    if sides == 1:
        return sequential.upper_bound(0.0, se, tau2, alpha) / se
    return sequential.confidence_sequence(0.0, se, tau2, alpha).high / se


def _drift(fractions: Sequence[float], bounds: Sequence[float | None], power: float, sides: Sides) -> float:
    """By bisection: power grows with the drift."""
    crossing = Crossing.of(fractions, bounds, sides=sides)
    low, high = 0.0, 1.0
    while sum(crossing.probabilities(high)) < power:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if sum(crossing.probabilities(middle)) < power else (low, middle)
    return high


def _spread(variance_c: float, variance_t: float, share_t: float) -> float:
    if not 0 < share_t < 1:
        raise ValueError(f"share {share_t} of the treatment is not between 0 and 1")
    spread = variance_t / share_t + variance_c / (1 - share_t)
    if not (variance_c >= 0 and variance_t >= 0 and 0 < spread < math.inf):
        raise ValueError(f"variances {variance_c} and {variance_t}")
    return spread
