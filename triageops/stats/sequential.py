"""Evidence about an effect that may be looked at as often as one likes: Gaussian mixture e-values, p, intervals.

effect is an estimate (of a difference, after any adjustment) that is close to normal, se its standard error,
both in the effect's unit; Z = (effect - null) / se. tau2 is the squared prior scale of the effect, fixed
before the first look (a change after seeing data voids the promise), r = tau2 / se^2.

    two-sided   log E  = -log(1 + r) / 2 + Z^2 r / (2 (1 + r))
    one-sided   log E1 = log E + log 2 + log Phi(Z sqrt(r / (1 + r)))

The probability that E ever reaches 1 / alpha is at most alpha while the effect is (E1: is not above) the null.
That holds in the limit of many units: at least 25 units and 5 events in each arm (Lindon and Malek's exact
test in `exact` has no minimum). All is logarithmic: |Z| = 1e100 neither overflows nor becomes NaN.

Sources: Robbins (1970); Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences" (arXiv 1810.08240), eq. 14; Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform
central limit theory" (arXiv 2103.06476), eq. 9 (two-sided), 134 (one-sided), 155 (p), 161 (scale).
Accuracy: about 1e-13, relative to the larger term. The tests' reference values: scipy and gbstats.
"""

from __future__ import annotations

import math
from typing import Literal

from triageops.stats.interval import Interval


def tuned_tau2(alpha: float, information: float, *, sides: Literal[1, 2] = 2) -> float:
    """The tau2 that makes the interval tightest, relative to its standard error, at that information.

    information: 1 / se^2 expected at the planned size, > 0. alpha: the level that is tested at, after any
    correction, in (0, 1); below 0.5 for sides = 1, which tunes with 2 alpha. tau2 = x / information with
    x = -W_{-1}(-alpha^2 / e) - 1, which is the root of x - log(1 + x) = -2 log(alpha).
    """
    _refuse_alpha(alpha)
    if sides not in (1, 2):
        raise ValueError(f"{sides} sides")
    if sides == 1 and alpha >= 0.5:
        raise ValueError(f"one-sided alpha {alpha} is not below 0.5")
    if not 0 < information < math.inf:
        raise ValueError(f"information {information} is not positive and finite")
    target = -2 * math.log(alpha if sides == 2 else 2 * alpha)
    x = target + math.sqrt(2 * target)  # never below the root, from where Newton falls onto it (convex)
    for _ in range(50):
        step = (x - math.log1p(x) - target) * (1 + x) / x
        x -= step
        if step <= 1e-15 * x:
            break
    return x / information


def log_e_value(effect: float, se: float, tau2: float, *, null: float = 0.0) -> float:
    """log E against the effect being null, in either direction; may be negative, infinite beyond 1e308."""
    u, log_1r = _scaled(effect, se, tau2, null)
    return u * u / 2 - log_1r / 2


def log_e_value_greater(effect: float, se: float, tau2: float, *, null: float = 0.0) -> float:
    """log E1 against the effect being null or less; grows with the effect. For "or more" negate effect and null."""
    u, log_1r = _scaled(effect, se, tau2, null)
    return _log_half_mixture(u) - log_1r / 2


def always_valid_p(max_log_e: float) -> float:
    """p in [0, 1] that holds at every look; max_log_e is the largest log E so far (minus infinity: no look)."""
    if math.isnan(max_log_e):
        raise ValueError("log E is NaN")
    return math.exp(-max(0.0, max_log_e))


def confidence_sequence(effect: float, se: float, tau2: float, alpha: float) -> Interval:
    """All nulls with E < 1 / alpha: the effect is in it at every look with probability 1 - alpha."""
    _refuse_alpha(alpha)
    _, log_1r = _scaled(effect, se, tau2, 0.0)
    half = math.hypot(se, se * (se / math.sqrt(tau2))) * math.sqrt(log_1r - 2 * math.log(alpha))
    return Interval(effect - half, effect + half)


def lower_bound(effect: float, se: float, tau2: float, alpha: float) -> float:
    """The largest null with E1 >= 1 / alpha: the effect is above it at every look with probability 1 - alpha.

    Exact, so a little tighter than the closed form (eq. 134).
    """
    _refuse_alpha(alpha)
    _, log_1r = _scaled(effect, se, tau2, 0.0)
    target = log_1r / 2 - math.log(alpha)
    # u^2 / 2 + log(2 Phi(u)) is convex and rises with u; from the right Newton falls onto the root.
    u = math.sqrt(2 * target)
    for _ in range(50):
        density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
        step = (_log_half_mixture(u) - target) / (u + density / (math.erfc(-u / math.sqrt(2)) / 2))
        u -= step
        if step <= 1e-15 * u:
            break
    return effect - math.hypot(se, se * (se / math.sqrt(tau2))) * u


def upper_bound(effect: float, se: float, tau2: float, alpha: float) -> float:
    """The effect is below it at every look with probability 1 - alpha; see lower_bound."""
    return -lower_bound(-effect, se, tau2, alpha)


def _scaled(effect: float, se: float, tau2: float, null: float) -> tuple[float, float]:
    """Z sqrt(r / (1 + r)) and log(1 + r), checked."""
    if not (math.isfinite(effect) and math.isfinite(null)):
        raise ValueError(f"effect {effect} or null {null} is not finite")
    if not 0 < se < math.inf:
        raise ValueError(f"standard error {se} is not positive and finite")
    if not 0 < tau2 < math.inf:
        raise ValueError(f"tau2 {tau2} is not positive and finite")
    ratio = math.sqrt(tau2) / se
    log_1r = 2 * math.log(ratio) if ratio > 1e9 else math.log1p(ratio * ratio)
    return (effect - null) / se * (ratio / math.hypot(1, ratio)), log_1r


def _log_half_mixture(u: float) -> float:
    """u^2 / 2 + log(2 Phi(u)), which is log(erfcx(-u / sqrt(2))): without cancellation for very negative u."""
    y = -u / math.sqrt(2)
    if y < 10:
        return u * u / 2 + math.log(math.erfc(y))
    # Asymptotic series (DLMF 7.12.1); at y = 10 its twelfth term is below 1e-17.
    total = term = 1.0
    for k in range(1, 13):
        term *= -(2 * k - 1) / (2 * y) / y
        total += term
    return math.log(total) - math.log(y) - math.log(math.pi) / 2


def _refuse_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")
