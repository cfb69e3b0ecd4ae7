"""Tests at planned looks that spend the error as information comes in, by recursive numerical integration.

At look k the statistic is Z_k with information fraction t_k = I_k / I_max, I = 1 / se^2 (never units / planned
units: they differ when values of one unit grow). S_k = Z_k sqrt(t_k) has independent normal increments of
variance t_k - t_(k-1) and mean drift (t_k - t_(k-1)); drift is the expected Z at t = 1. The sub-density of S
over the paths that crossed no bound is carried from look to look on Gauss-Legendre panels.

Sources: Armitage, McPherson, Rowe (1969); Lan, DeMets (1983); Jennison, Turnbull, "Group Sequential Methods"
(2000), chapters 7 and 19. Accuracy: about 1e-11 (probabilities and bounds). The tests'
reference values: Jennison and Turnbull's tables, gsdesign, scipy's multivariate normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Spending = Literal["power2", "obrien_fleming"]
Sides = Literal[1, 2]

_NORMAL = NormalDist()
# A normal value farther out than this is no event: probability 1e-21.
_FAR = 9.5
# Less than this is not spent at a look but kept for the next.
_LEAST_SPENT = 1e-20
# A look whose information grew by less than this share is no new look: nothing is spent.
_LEAST_GROWTH = 1e-3
# Panels of 12 nodes, 4 standard deviations of an increment wide: half as wide changes bounds by less than 1e-12.
_PANEL_WIDTH = 4.0
_PANEL_NODES, _PANEL_WEIGHTS = np.polynomial.legendre.leggauss(12)


def spent(t: float, alpha: float, spending: Spending) -> float:
    """Error that may be spent up to information fraction t >= 0, in [0, alpha]; all of it from t = 1 on.

    power2: alpha t^2. obrien_fleming: 2 - 2 Phi(z_(alpha/2) / sqrt(t)), the Lan-DeMets form.
    """
    _refuse_alpha(alpha)
    if not t >= 0:
        raise ValueError(f"information fraction {t}")
    if spending not in ("power2", "obrien_fleming"):
        raise ValueError(f"spending {spending!r}")
    if t >= 1:
        return alpha
    if spending == "power2":
        return alpha * t * t
    return 2 * _upper_tail(-_NORMAL.inv_cdf(alpha / 2) / math.sqrt(t)) if t else 0.0


def boundaries(
    fractions: Sequence[float],
    alpha: float,
    *,
    spending: Spending = "power2",
    sides: Sides = 2,
    clock: Sequence[float] | None = None,
) -> tuple[float | None, ...]:
    """The bound of each look: reject when Z (sides = 1) or |Z| (sides = 2) is at or above it; > 0.

    fractions: information fractions of all looks so far, positive, strictly increasing. A bound depends on its
    own and earlier fractions only, so looks can be added. The first look with t >= 1 spends all that is left.
    None: no rejection at this look, because such a look is past, or because information grew by less than 0.1 %
    since the last bound or there is nothing to spend yet: that is spent at the next look. Each of two sides
    spends alpha / 2. ValueError for other fractions or alpha, and for a one-sided alpha from 0.5 on.

    clock: what the spending reads instead of the fractions, one for each, rising or equal. With the plan's end told by
    something else than information, the last look has clock 1, whatever information it turned out to have: the fractions
    alone then say how looks depend on each other, and only their ratios matter (Lan, DeMets 1989, two time scales).

    50 looks take about 15 ms, 1440 looks a second.
    """
    _refuse_fractions(fractions)
    clock = fractions if clock is None else clock
    if len(clock) != len(fractions) or any(later < before for before, later in pairwise(clock)):
        raise ValueError("expected one time of the clock for each fraction, not falling")
    side_alpha = _side_alpha(alpha, sides)
    state = _Survivors.at_start()
    bounds: list[float | None] = []
    used = 0.0
    is_over = False
    for k, (t, time) in enumerate(zip(fractions, clock, strict=True)):
        is_skipped = is_over or t - state.t < _LEAST_GROWTH * t
        to_spend = 0.0 if is_skipped else spent(time, side_alpha, spending) - used
        is_over = is_over or (time >= 1 and not is_skipped)
        if to_spend < _LEAST_SPENT:
            bounds.append(None)
            continue
        bound = state.bound(t, to_spend)
        bounds.append(bound)
        used += to_spend
        if not is_over and k + 1 < len(fractions):
            state = state.after(t, bound, sides, next_t=_next_look(t, fractions[k + 1 :]))
    return tuple(bounds)


def crossing_probabilities(
    fractions: Sequence[float], bounds: Sequence[float | None], *, drift: float = 0.0, sides: Sides = 2
) -> tuple[float, ...]:
    """The probability of the first crossing at each look, in [0, 1]; their sum is the power at that drift.

    fractions, bounds: as in and from boundaries, of one length, or any other bounds > 0; None crosses nothing.
    ValueError for bounds at looks with less than 0.1 % more information than the one before.
    """
    return Crossing.of(fractions, bounds, sides=sides).probabilities(drift)


@dataclass(frozen=True, slots=True)
class Crossing:
    """The paths without drift, from which the probabilities at any drift follow."""

    looks: tuple[tuple[_Survivors, float, float] | None, ...]
    sides: Sides

    @classmethod
    def of(cls, fractions: Sequence[float], bounds: Sequence[float | None], *, sides: Sides = 2) -> Crossing:
        _refuse_fractions(fractions)
        _refuse_sides(sides)
        if len(bounds) != len(fractions) or not all(b is None or 0 < b < math.inf for b in bounds):
            raise ValueError("expected one bound above zero, or None, for each fraction")
        state = _Survivors.at_start()
        real = [t for t, bound in zip(fractions, bounds, strict=True) if bound is not None]
        if any(t - before < _LEAST_GROWTH * t for before, t in pairwise(real)):
            raise ValueError("looks with bounds are too close to each other")
        looks: list[tuple[_Survivors, float, float] | None] = []
        for t, bound in zip(fractions, bounds, strict=True):
            looks.append(None if bound is None else (state, t, bound))
            if bound is not None and t < real[-1]:
                state = state.after(t, bound, sides, next_t=real[real.index(t) + 1])
        return cls(tuple(looks), sides)

    def probabilities(self, drift: float) -> tuple[float, ...]:
        """First crossings of each look; likelihood ratios turn the paths without drift into those with it."""
        if not math.isfinite(drift):
            raise ValueError(f"drift {drift}")
        return tuple(0.0 if look is None else self._at(*look, drift) for look in self.looks)

    def _at(self, state: _Survivors, t: float, bound: float, drift: float) -> float:
        above = state.crossing(t, bound, drift)
        return above if self.sides == 1 else above + state.crossing(t, bound, -drift)


def conditional_power(z: float, fraction: float, *, final_bound: float, drift: float | None = None) -> float:
    """The probability, in [0, 1], that Z at full information is at or above final_bound, given z now.

    fraction: information fraction now, > 0. drift: expected Z at full information, None for the present trend
    z / sqrt(fraction). Looks between now and the end are not counted; at fraction >= 1 it is 1 or 0. For a
    metric where lower is better negate z and drift. Source: Lan, Wittes (1988).
    """
    if not (0 < fraction < math.inf and all(map(math.isfinite, (z, final_bound, drift or 0.0)))):
        raise ValueError(
            f"z {z}, fraction {fraction}, final bound {final_bound} or drift {drift} is no number"
        )
    if fraction >= 1:
        return float(z >= final_bound)
    expected = z / math.sqrt(fraction) if drift is None else drift
    missing = final_bound - z * math.sqrt(fraction) - expected * (1 - fraction)
    return _upper_tail(missing / math.sqrt(1 - fraction))


@dataclass(frozen=True, slots=True, eq=False)
class _Survivors:
    """Paths that crossed nothing up to t: at S = nodes (n,) with probability mass (n,), under no drift."""

    t: float
    nodes: FloatArray
    mass: FloatArray

    @classmethod
    def at_start(cls) -> _Survivors:
        return cls(0.0, np.zeros(1), np.ones(1))

    def crossing(self, t: float, bound: float, drift: float = 0.0) -> float:
        """Probability of Z >= bound at t, after surviving."""
        step_sd = math.sqrt(t - self.t)
        needed = bound * math.sqrt(t) - drift * (t - self.t)
        near = self._within(needed - _FAR * step_sd)
        nodes = self.nodes[near]
        mass = self.mass[near] * np.exp(drift * nodes - drift * drift * self.t / 2)
        return float(_upper_tails((needed - nodes) / step_sd) @ mass)

    def bound(self, t: float, probability: float) -> float:
        """The z that is crossed at t with this probability, by Newton's method on its logarithm.

        The logarithm is concave and falls with z, so from the right each step stays right of the root. The
        start is right of it: more would cross it without the earlier bounds, or almost nothing does.
        """
        step_sd = math.sqrt(t - self.t)
        root_t = math.sqrt(t)
        z = min(-_NORMAL.inv_cdf(probability), (float(self.nodes.max()) + 20 * step_sd) / root_t)
        for _ in range(60):
            near = self._within(z * root_t - 21 * step_sd)
            distance = (z * root_t - self.nodes[near]) / step_sd
            reached = float(_upper_tails(distance) @ self.mass[near])
            density = float(_densities(distance) @ self.mass[near]) * root_t / step_sd
            change = math.log(probability / reached) * reached / density
            z -= change
            if change < 1e-12:
                break
        return z

    def after(self, t: float, bound: float, sides: Sides, *, next_t: float) -> _Survivors:
        """The paths still below the bound at t (sides = 2: between the two), on nodes fine enough for next_t."""
        high = min(bound, _FAR) * math.sqrt(t)
        low = -high if sides == 2 else -_FAR * math.sqrt(t)
        step_sd = math.sqrt(t - self.t)
        width = _PANEL_WIDTH * min(step_sd, math.sqrt(next_t - t))
        edges = np.linspace(low, high, max(2, math.ceil((high - low) / width)) + 1)
        half = (edges[1:] - edges[:-1])[:, None] / 2
        nodes = ((edges[1:] + edges[:-1])[:, None] / 2 + half * _PANEL_NODES).ravel()
        weights = (half * _PANEL_WEIGHTS).ravel()
        density = np.concatenate(
            [self._density(block, step_sd) for block in np.split(nodes, range(96, len(nodes), 96))]
        )
        return _Survivors(t, nodes, weights * density)

    def _density(self, at: FloatArray, step_sd: float) -> FloatArray:
        """Of paths that end up at these rising values, a step later."""
        near = self._within(float(at[0]) - _FAR * step_sd, float(at[-1]) + _FAR * step_sd)
        kernel = _densities((at[:, None] - self.nodes[near]) / step_sd)
        return np.asarray(kernel @ self.mass[near] / step_sd)

    def _within(self, low: float, high: float = math.inf) -> slice:
        """The nodes of an interval: farther ones add nothing, and there may be thousands."""
        return slice(*np.searchsorted(self.nodes, (low, high)).tolist())


def _next_look(t: float, later: Sequence[float]) -> float:
    """The first later fraction that counts as a new look; any, here 2 t, when none does."""
    return next((x for x in later if x - t >= _LEAST_GROWTH * x), 2 * t)


def _densities(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _upper_tails(x: FloatArray) -> FloatArray:
    return np.array([math.erfc(v) / 2 for v in (x / math.sqrt(2)).tolist()])


def _upper_tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2


def _refuse_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")


def _refuse_fractions(fractions: Sequence[float]) -> None:
    previous = 0.0
    for t in fractions:
        if not previous < t < math.inf:
            raise ValueError("information fractions need to be positive and strictly increasing")
        previous = t


def _refuse_sides(sides: Sides) -> None:
    if sides not in (1, 2):
        raise ValueError(f"{sides} sides")


def _side_alpha(alpha: float, sides: Sides) -> float:
    _refuse_alpha(alpha)
    _refuse_sides(sides)
    if alpha / sides >= 0.5:
        raise ValueError(f"one-sided alpha {alpha} is not below 0.5")
    return alpha / sides
