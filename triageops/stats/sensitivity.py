"""What will a monitor see, and when? Delays of the engine in change.py, for sentences such as "can see 0.4 sd and more".

Evidence for a change grows by `growth` nats a check: n_eff (shift - margin)^2 / 2 for a mean in sd, n_eff times the
Kullback-Leibler divergence from the bound for a share. With a budget of b false alarms a check the engine needs

    delay = (log(1 + growth / b) + 0.7) / growth + 0.5 checks, at least 1, on average.

The logarithm is Lorden's and Pollak's for a Shiryaev-Roberts rule, whose threshold is spent where the evidence
begins: log(growth / b), not log(1 / b). 0.7, and half a check until the bucket closes, are fitted to simulations of the mixture
over bets: within 15 % for growth from 0.03 to 10 and budgets from 1 in 2 000 to 1 in 6 million checks (tests; a coarse grid of
rate ratios is up to 25 % slower). A fixed reference's error moves the true margin; the mean delay over it is about that of a
margin larger by one standard error, which is what `error` adds (within 15 % when the shift is three margins or more, up to
50 % too long below).
Sources: Lorden (1971); Pollak (1987); simulations in tests/stats/test_sensitivity.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_OVERSHOOT = 0.7
_HALF_A_CHECK = 0.5
RANK_EFFICIENCY = 3 / math.pi
"""Information of ranks about a shift of normal values: with a location score, n times this."""


def effective_n(n: float, *, icc: float = 0.0, inflation: float = 1.0) -> float:
    """Independent records that a bucket of n > 0 is worth, > 0: n / (1 + (n - 1) icc) / inflation."""
    if not (n > 0 and 0 <= icc <= 1 and 1 <= inflation < math.inf):
        raise ValueError(f"n {n}, intraclass correlation {icc}, inflation {inflation}")
    return n / (1 + max(0.0, n - 1) * icc) / inflation


def expected_delay(growth: float, *, budget_per_check: float) -> float:
    """Checks from a change to its alarm, on average; >= 1, infinite when growth is 0 or less."""
    if not 0 < budget_per_check < math.inf or math.isnan(growth):
        raise ValueError(f"budget of {budget_per_check} alarms per check, growth {growth}")
    if growth <= 0:
        return math.inf
    needed = math.log1p(growth / budget_per_check) + _OVERSHOOT
    return max(1.0, needed / growth + _HALF_A_CHECK)


def mean_growth(shift: float, *, margin: float, n_eff: float, error: float = 0.0) -> float:
    """Nats a check for a shift of the mean, >= 0; shift, margin and error (of the reference) in sd of a record."""
    _refuse_negative(margin, n_eff, error)
    beyond = max(0.0, abs(shift) - margin - error)
    return n_eff * beyond * beyond / 2


def rate_growth(rate: float, *, bound: float, n_eff: float) -> float:
    """Nats a check for a share that has become rate, against one bound of margins.rate_bounds; >= 0.

    0 within the bounds is the caller's to say: a rate on the wrong side of the bound is no drift.
    """
    _refuse_negative(0.0, n_eff, 0.0)
    if not (0 <= rate <= 1 and 0 <= bound <= 1):
        raise ValueError(f"rate {rate}, bound {bound}")
    return n_eff * (_part(rate, bound) + _part(1 - rate, 1 - bound))


def count_growth(mean: float, *, bound: float, dispersion: float = 0.0) -> float:
    """Nats a check for counts that have become mean >= 0, against one bound > 0 of margins.count_bounds."""
    if not (0 <= mean < math.inf and 0 < bound < math.inf and dispersion >= 0):
        raise ValueError(f"mean {mean}, bound {bound}, dispersion {dispersion}")
    nats = (mean * math.log(mean / bound) if mean else 0.0) - mean + bound
    return nats / (1 + dispersion * bound)


def needed_growth(checks: float, *, budget_per_check: float) -> float:
    """The growth with an expected delay of so many checks, > 1; the delay falls as growth rises."""
    if not 1 < checks < math.inf:
        raise ValueError(f"a delay of {checks} checks")
    return _crossing(lambda growth: checks - expected_delay(growth, budget_per_check=budget_per_check))


def smallest_shift(
    checks: float, *, budget_per_check: float, margin: float, n_eff: float, error: float = 0.0
) -> float:
    """The shift, in sd, that is found within so many checks on average; > margin. Arguments as in mean_growth."""
    _refuse_negative(margin, n_eff, error)
    return margin + error + math.sqrt(2 * needed_growth(checks, budget_per_check=budget_per_check) / n_eff)


def smallest_rate_ratio(
    checks: float, *, budget_per_check: float, rate: float, bound: float, n_eff: float
) -> float | None:
    """The ratio to the reference's rate, above 1 if bound is, that is found within so many checks on average.

    None when even a rate of 1 (or 0, below) is not: too few records, or a bound at the end of the range.
    """
    growth = needed_growth(checks, budget_per_check=budget_per_check)
    if not 0 < rate <= 1:
        raise ValueError(f"rate {rate}")
    end = 1.0 if bound >= rate else 0.0
    if rate_growth(end, bound=bound, n_eff=n_eff) < growth:
        return None
    low, high = 0.0, 1.0  # of the way from the bound to the end
    for _ in range(60):
        middle = (low + high) / 2
        is_enough = rate_growth(bound + middle * (end - bound), bound=bound, n_eff=n_eff) >= growth
        low, high = (low, middle) if is_enough else (middle, high)
    return (bound + high * (end - bound)) / rate


def _part(p: float, q: float) -> float:
    if not p:
        return 0.0
    return p * math.log(p / q) if q else math.inf


def _crossing(excess: Callable[[float], float]) -> float:
    """Where a rising function of a positive number passes 0, by bisection of its logarithm."""
    low, high = -80.0, 80.0
    while low < (middle := (low + high) / 2) < high and high - low > 1e-13:
        low, high = (middle, high) if excess(math.exp(middle)) < 0 else (low, middle)
    return math.exp(high)


def _refuse_negative(margin: float, n_eff: float, error: float) -> None:
    if not (0 <= margin < math.inf and 0 < n_eff < math.inf and 0 <= error < math.inf):
        raise ValueError(f"margin {margin}, effective number {n_eff}, error {error}")
