"""The value of a metric and the variance of one unit in it, from units that were drawn and partly read. Pure.

A unit stands for `weight` units. Of its responses some were drawn, each with the same chance 1 / scale, so its totals
are `scale` times those of what was read. What this adds to the spread is taken off again: for a total T = scale sum(t)
of k responses it is on average scale^2 k (1 - 1 / scale) s^2, with s^2 the sample variance of t (Cochran, "Sampling
techniques", 1977, equation 2.8). What is left is at least what independent responses would have.

Ratios are linearised (Deng, Knoblich, Lu, "Applying the delta method in metric analytics", 2018): with R = sum w S /
sum w D, the variance is that of (S - R D) / mean(D). Weighted variances have the factor n / (n - 1) of the effective
n = (sum w)^2 / sum w^2 (Kish, "Survey sampling", 1965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unit:
    """weight > 0. scale >= 1: responses that each read one stands for. read: (k, 2), sum and divisor of each response."""

    weight: float
    scale: float
    read: FloatArray


@dataclass(frozen=True, slots=True)
class Spread:
    """value: in the metric's unit. variance: of one unit, in that unit squared.

    effective: units of weight 1 worth as much. error: relative standard error of the variance, from the units alone.
    """

    value: float
    variance: float
    effective: float
    error: float


def ratio(units: Sequence[Unit]) -> Spread | None:
    """Sum of sums over sum of divisors; None for fewer than two units, or divisors that sum to 0."""
    totals = _totals(units)
    weights = _weights(units)
    if len(units) < 2 or not (weights @ totals[:, 1]) > 0:
        return None
    value = float(weights @ totals[:, 0] / (weights @ totals[:, 1]))
    mean_divisor = float(weights @ totals[:, 1] / weights.sum())
    rests = [(unit.read[:, 0] - value * unit.read[:, 1]) / mean_divisor for unit in units]
    return _spread(value, (totals[:, 0] - value * totals[:, 1]) / mean_divisor, rests, units)


def mean(units: Sequence[Unit], cap: float = math.inf) -> Spread | None:
    """Mean of the units' sums, each at most the cap; None for fewer than two units."""
    if len(units) < 2:
        return None
    totals = _totals(units)[:, 0]
    capped = np.minimum(totals, cap)
    # What is above the cap is the cap, however little of it was read.
    rests = [
        unit.read[:, 0] if total < cap else np.zeros(len(unit.read))
        for unit, total in zip(units, totals, strict=True)
    ]
    weights = _weights(units)
    return _spread(float(weights @ capped / weights.sum()), capped, rests, units)


def proportion(units: Sequence[Unit]) -> Spread | None:
    """Share of units with a sum above 0; None for fewer than two units.

    A unit that was partly read without any counts by its chance of one in the rest, at the rate of all such units.
    """
    if len(units) < 2 or not _effective(_weights(units)) > 1:
        return None
    weights = _weights(units)
    hits = np.array([float((unit.read[:, 0] > 0).sum()) for unit in units])
    read = np.array([float(len(unit.read)) for unit in units])
    rest = (np.array([unit.scale for unit in units]) - 1) * read
    partly = weights * (rest > 0)
    rate = float(partly @ hits / (partly @ read)) if partly.any() else 0.0
    chance = np.where(hits > 0, 1.0, 1 - (1 - rate) ** rest)
    value = float(weights @ chance / weights.sum())
    effective = _effective(weights)
    variance = value * (1 - value)
    error = abs(1 - 2 * value) / math.sqrt(effective * variance) if variance else 0.0
    return Spread(value, variance * effective / (effective - 1), effective, error)


def _totals(units: Sequence[Unit]) -> FloatArray:
    return np.array([unit.scale * unit.read.sum(axis=0) for unit in units]).reshape(-1, 2)


def _weights(units: Sequence[Unit]) -> FloatArray:
    return np.array([unit.weight for unit in units])


def _effective(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / (weights @ weights))


def _spread(
    value: float, totals: FloatArray, rests: Sequence[FloatArray], units: Sequence[Unit]
) -> Spread | None:
    weights = _weights(units)
    effective = _effective(weights)
    if not effective > 1:
        return None
    share = weights / weights.sum()
    distance = totals - share @ totals
    seen = float(share @ distance**2) * effective / (effective - 1)
    partly = [i for i, unit in enumerate(units) if unit.scale > 1 and len(unit.read) > 1]
    added = least = 0.0
    for i in partly:
        scale, k, s2 = units[i].scale, len(rests[i]), float(np.var(rests[i], ddof=1))
        added += float(share[i]) * scale * (scale - 1) * k * s2
        least += float(share[i]) * scale * k * s2
    error = float(np.sqrt((share**2) @ (distance**2 - seen) ** 2)) / seen if seen else 0.0
    return Spread(value, max(seen - added, min(seen, least)), effective, error)
