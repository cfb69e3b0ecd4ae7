"""Do hours of the day differ, as far as a few days can tell? A season shorter references cannot just assume.

From two weeks on, hours are learned without asking (season.chosen): shrinkage makes it cheap. Within a few days each hour
is known from a few visits only, so learning hours that do not exist would cost sensitivity, and not learning those that
do exist would break the promise about false alarms. What tells them apart is whether the hours of one day repeat on the others:

    x_dh = m + day_d + hour_h + error,   F = ((R0 - R1) / p) / (R1 / q),

R0 the weighted squares left by days alone, R1 by days and hours, weights 1 / Var x_dh (variance.py), p and q their degrees
of freedom. One x_dh is all of an hour, so dependence within an hour does no harm; that of neighbouring hours does (a wave
of half a day, by chance in step on two days): then hours are learned too often, which costs sensitivity only.
Source: Searle, "Linear models" (1971), two-way layout with unequal numbers. The tests' reference values: scipy.stats.f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from triageops.stats.buckets import Buckets
from triageops.stats.exact import log_beta_cdf
from triageops.stats.season import date_and_hour
from triageops.stats.variance import components

FloatArray = NDArray[np.float64]

_LEAST_DATES = 2
_COVERED_SHARE = 0.9
_LEAST_FREEDOM = 10
_LEVEL = 0.01
"""By chance alone one reference in a hundred gets hours that it does not have."""


def shows_hours(each: Sequence[Buckets], zone: tzinfo) -> bool:
    """Whether hours of the day, in local time, should be learned from these few days, as any of the quantities asks for it.

    At least 90 % of the buckets need to lie in hours that are seen on two dates or more.
    """
    found = [hours_p_value(one, zone) for one in each]
    return any(p is not None and p * len(found) < _LEVEL for p in found)


def hours_p_value(buckets: Buckets, zone: tzinfo) -> float | None:
    """How likely hours of the day would differ as much by chance; None when the reference is too short to say."""
    date, hour = date_and_hour(buckets.start, zone)
    label, index = np.unique(date * 24 + hour, return_inverse=True)
    visits = np.bincount(label % 24, minlength=24)
    if not buckets.n.size or (visits[hour] >= _LEAST_DATES).mean() < _COVERED_SHARE:
        return None
    hours = Buckets.of(label[index], buckets.n, buckets.mean, buckets.m2)
    learned = components(hours, label % 24)
    if learned is None:
        return None
    if not learned.total:
        return 1.0 if np.ptp(hours.mean) <= hours.tolerance else 0.0
    weight = 1 / learned.variance_of_mean(hours.n)
    days = _indicators(label // 24)
    left, freedom = _left(hours.mean, weight, days)
    rest, rest_freedom = _left(hours.mean, weight, np.hstack([days, _indicators(label % 24)]))
    if rest_freedom < _LEAST_FREEDOM or freedom == rest_freedom:
        return None
    return _f_tail(
        (left - rest) / (freedom - rest_freedom), rest / rest_freedom, freedom - rest_freedom, rest_freedom
    )


def _left(x: FloatArray, weight: FloatArray, design: FloatArray) -> tuple[float, int]:
    """Weighted squares left by least squares, and their degrees of freedom."""
    root = np.sqrt(weight)
    centred = x - (weight * x).sum() / weight.sum()
    found, _, rank, _ = np.linalg.lstsq(design * root[:, None], centred * root, rcond=None)
    return float((weight * (centred - design @ found) ** 2).sum()), int(x.size - rank)


def _indicators(values: NDArray[np.int64]) -> FloatArray:
    return np.asarray(values[:, None] == np.unique(values), dtype=np.float64)


def _f_tail(between: float, within: float, p: int, q: int) -> float:
    """P(F > between / within): the beta distribution of q within / (q within + p between)."""
    if between <= 0:
        return 1.0
    x = q * within / (q * within + p * between)
    return math.exp(log_beta_cdf(x, q / 2, p / 2)) if 0 < x < 1 else float(x >= 1)
