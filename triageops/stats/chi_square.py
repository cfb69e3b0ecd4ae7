"""The chi-square distribution: its function, and its quantiles.

Source: DLMF 8.7.1 (series) below the mode, 8.9.2 (continued fraction, by Lentz's method) above it; Wilson and Hilferty
(1931) as the start of Newton's steps. About sqrt(df) terms. Accuracy: about 1e-15 df log(df)
relative of cdf and sf, and 1e-12 of quantiles. The tests'
reference values: scipy.stats.chi2.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_EPSILON = 1e-16
_MOST_TERMS = 100_000


def cdf(x: float, df: float) -> float:
    """P(chi-square of df > 0 degrees of freedom <= x), in [0, 1]; 0 for x <= 0."""
    _refuse(df)
    return 0.0 if x <= 0 else _lower_upper(x, df)[0]


def sf(x: float, df: float) -> float:
    """1 - cdf, exact where it is small."""
    _refuse(df)
    return 1.0 if x <= 0 else _lower_upper(x, df)[1]


def quantile(q: float, df: float) -> float:
    """x with cdf(x) = q, for q in (0, 1); > 0. ValueError for any other q or df."""
    _refuse(df)
    if not 0 < q < 1:
        raise ValueError(f"quantile {q} is not between 0 and 1")
    cube = 1 - 2 / (9 * df) + NormalDist().inv_cdf(q) * math.sqrt(2 / (9 * df))
    # Far below the mode the density is a power: cdf = (x / 2)^(df / 2) / Gamma(df / 2 + 1).
    power = 2 * math.exp((math.log(q) + math.lgamma(df / 2 + 1)) * 2 / df)
    x = df * cube**3 if cube > 0.2 else power
    low, high = 0.0, math.inf
    for _ in range(200):
        lower, upper = _lower_upper(x, df)
        excess = lower - q if q < 0.5 else (1 - q) - upper
        low, high = (low, min(high, x)) if excess > 0 else (max(low, x), high)
        log_density = (df / 2 - 1) * math.log(x / 2) - x / 2 - math.lgamma(df / 2)
        stepped = x - excess * 2 * math.exp(-log_density)
        if not low < stepped < high:
            stepped = (low + high) / 2 if high < math.inf else 2 * x
        if abs(stepped - x) <= 1e-15 * x:
            return stepped
        x = stepped
    return x


def _lower_upper(x: float, df: float) -> tuple[float, float]:
    """Regularised incomplete gamma functions P and Q of a = df / 2 at x / 2, the smaller one exact."""
    a, z = df / 2, x / 2
    log_front = a * math.log(z) - z - math.lgamma(a)
    if z < a + 1:
        term = total = 1 / a
        for n in range(1, _MOST_TERMS):
            term *= z / (a + n)
            total += term
            if term < _EPSILON * total:
                break
        lower = total * math.exp(log_front)
        return lower, 1 - lower
    b = z + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for n in range(1, _MOST_TERMS):
        b += 2
        d = 1 / (b - n * (n - a) * d)
        c = b - n * (n - a) / c
        fraction *= d * c
        if abs(d * c - 1) < 2 * _EPSILON:
            break
    upper = fraction * math.exp(log_front)
    return 1 - upper, upper


def _refuse(df: float) -> None:
    if not 0 < df < math.inf:
        raise ValueError(f"{df} degrees of freedom")
