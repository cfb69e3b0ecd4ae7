"""Confidence intervals for a share and for a mean, of a sample whose size was not chosen by looking at it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from triageops.stats.moments import Moments


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson score interval of a share, within [0, 1]; None at n = 0, ValueError unless 0 <= successes <= n.

    Source: E. B. Wilson (1927); Newcombe (1998), method 3 (no continuity correction). Accuracy: about 1e-15.
    The tests' reference values: scipy.stats.binomtest(...).proportion_ci(method="wilson") and Newcombe's
    table I.
    """
    z = _two_sided_z(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return None
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The ends are exact where the share is: rounding must not put 0 or 1 outside the interval.
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + half) / scale)
    return Interval(low, high)


def mean_interval(moments: Moments, confidence: float = 0.95) -> Interval | None:
    """Normal interval of a mean, in the values' unit; None for fewer than two values.

    Its coverage is the stated one in large samples only (about 30 values, more when they are skewed).
    """
    z = _two_sided_z(confidence)
    error = moments.standard_error
    if error is None:
        return None
    return Interval(moments.mean - z * error, moments.mean + z * error)


def _two_sided_z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)
