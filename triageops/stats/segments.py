"""Effects in segments (countries, plans) beside the overall one: do they differ, do they contradict it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """q: Cochran's statistic. degrees: segments less one. p_value: of equal effects, in [0, 1]."""

    q: float
    degrees: int
    p_value: float


def simpson(overall_effect: float, segment_effects: Sequence[tuple[float, float]], z: float = 1.96) -> bool:
    """Whether the overall effect has one sign and the segments the other, beyond their noise.

    segment_effects: (effect, standard error > 0) of segments that share no unit. z > 0: critical value. True
    when the segments' average by precision has the other sign and z of its standard errors, and no segment's
    interval lies on the overall side of 0. So a small segment's noise neither makes nor hides the paradox.
    False for fewer than two segments, or an overall effect of 0. Source: E. H. Simpson, "The interpretation of
    interaction in contingency tables" (1951).
    """
    weights = _precisions(segment_effects)
    if not math.isfinite(overall_effect) or not 0 < z < math.inf:
        raise ValueError(f"overall effect {overall_effect}, critical value {z}")
    if len(segment_effects) < 2 or overall_effect == 0:
        return False
    sign = math.copysign(1.0, overall_effect)
    if any(sign * effect > z * error for effect, error in segment_effects):
        return False
    # Precisions are relative to the largest one, so the average's error is too.
    smallest_error = min(error for _, error in segment_effects)
    average, error = _mean(segment_effects, weights), smallest_error / math.sqrt(math.fsum(weights))
    return sign * average < -z * error


def heterogeneity(effects: Sequence[float], standard_errors: Sequence[float]) -> Heterogeneity | None:
    """Cochran's Q test that independent effects are equal; None for fewer than two.

    standard_errors: > 0, one for each effect. A large p says little when segments are small. Source: W. G. Cochran,
    "The combination of estimates from different experiments" (1954). Accuracy: about 1e-13. The tests' reference
    values: statsmodels' combine_effects and scipy.stats.chi2.
    """
    pairs = list(zip(effects, standard_errors, strict=True))
    weights = _precisions(pairs)
    if len(pairs) < 2:
        return None
    average = _mean(pairs, weights)
    q = math.fsum(((effect - average) / error) ** 2 for effect, error in pairs)
    return Heterogeneity(q, len(pairs) - 1, chi_square_survival(q, len(pairs) - 1))


def chi_square_survival(x: float, degrees: int) -> float:
    """P(chi-square of so many degrees of freedom > x), for x >= 0 and degrees >= 1, in [0, 1].

    A finite sum (Abramowitz, Stegun 26.4.4 and 26.4.5). Accuracy: about 1e-12 relative. The tests' reference
    values: scipy.stats.chi2.sf.
    """
    if not x >= 0 or degrees < 1:
        raise ValueError(f"chi-square of {degrees} degrees of freedom at {x}")
    if x in (0, math.inf):
        return 1.0 if x == 0 else 0.0
    half = x / 2
    start = 0.5 if degrees % 2 else 0.0
    terms = [
        math.exp((start + j) * math.log(half) - half - math.lgamma(start + j + 1))
        for j in range(degrees // 2)
    ]
    return min(1.0, math.fsum([math.erfc(math.sqrt(half)) if degrees % 2 else 0.0, *terms]))


def _precisions(pairs: Sequence[tuple[float, float]]) -> list[float]:
    if not all(math.isfinite(effect) and 0 < error < math.inf for effect, error in pairs):
        raise ValueError("effects need to be finite, standard errors also above 0")
    smallest = min((error for _, error in pairs), default=1.0)
    return [(smallest / error) ** 2 for _, error in pairs]


def _mean(pairs: Sequence[tuple[float, float]], weights: Sequence[float]) -> float:
    whole = math.fsum(weights)
    return math.fsum(effect * (weight / whole) for (effect, _), weight in zip(pairs, weights, strict=True))
