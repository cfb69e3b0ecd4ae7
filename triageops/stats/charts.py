"""Average run lengths of CUSUM and EWMA charts of normal values and of counts, by integral equations.

The classical charts, for independent values of known mean 0 and standard deviation 1: a cross-check of the engine in
change.py, and detectors of their own where someone asks for one. A run length is the number of values up to and with
the one that alarms. Charts of a spread are in spread_charts.py.

    CUSUM   C <- max(0, C + x - k), alarm when C > h; two-sided: one up, one down
    EWMA    Z <- (1 - w) Z + w x,   alarm when |Z| > limit sqrt(w / (2 - w))

The mean run length L from state s solves L(s) = 1 + int L(x) p(x | s) dx over the states that do not alarm, here on
Gauss-Legendre panels (Nyström's method); with counts there are finitely many states and it is a linear system.
Sources: Goel, Wu (1971); Vance (1986); Brook, Evans (1972); Lucas, Crosier (1982); Crosier (1986); Crowder (1987);
Lucas (1985) for counts. Accuracy: about 1e-12 relative for run lengths up to 1e4, 1e-16 times the run length above. The
tests' reference values: the tables of these papers as quoted in the documentation of R's spc 0.7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Sides = Literal[1, 2]
Direction = Literal["up", "down"]

# Panels of 12 nodes, at most so many standard deviations wide: half as wide changes nothing within the accuracy.
_PANEL_WIDTH = 3.0
_PANEL_NODES, _PANEL_WEIGHTS = np.polynomial.legendre.leggauss(12)
_MOST_STATES = 5_000


def cusum_arl(shift: float, *, k: float, h: float, head_start: float = 0.0, sides: Sides = 1) -> float:
    """Mean run length when values have mean shift; >= 1. One-sided charts look upwards.

    k: reference value, in standard deviations. h > 0: alarm line. head_start: in [0, h], where C begins (fast initial
    response, usually h / 2), on both sides of a two-sided chart. Two sides combine as in Lucas and Crosier
    (1982), exact for k >= 0 and head_start <= h / 2 + k, where both never stand high at once.
    """
    _refuse_chart(k, h, head_start)
    if sides not in (1, 2):
        raise ValueError(f"{sides} sides")
    up, up_started = _one_sided(shift, k, h, head_start)
    if sides == 1:
        return up_started
    if k < 0:
        raise ValueError(f"a two-sided chart with k = {k}")
    down, down_started = _one_sided(-shift, k, h, head_start)
    return (up_started * down + up * down_started - up * down) / (up + down)


def crosier_arl(shift: float, *, k: float, h: float) -> float:
    """Of Crosier's two-sided CUSUM: C = |S + x|, S <- 0 if C <= k else (S + x) (1 - k / C), alarm when |S| > h."""
    _refuse_chart(k, h, 0.0)
    if k < 0:
        raise ValueError(f"a two-sided chart with k = {k}")
    right, weights = _panels(0.0, h)
    states = np.concatenate([-right[::-1], [0.0], right])
    w = np.concatenate([weights[::-1], [0.0], weights])
    centre = states[:, None] + shift
    matrix = w * _density(states + np.sign(states) * k - centre)
    middle = right.size
    matrix[:, middle] = _cdf(k - centre[:, 0]) - _cdf(-k - centre[:, 0])
    return float(_solve(matrix)[middle])


def cusum_h(arl: float, *, k: float, sides: Sides = 1) -> float:
    """The alarm line h with mean run length arl when nothing has changed; ValueError when none is that short."""
    return matched(lambda h: cusum_arl(0.0, k=k, h=h, sides=sides), arl, start=1.0)


def ewma_arl(shift: float, *, weight: float, limit: float, head_start: float = 0.0) -> float:
    """Mean run length of the two-sided EWMA with constant limits; >= 1.

    weight: w in (0, 1], of the newest value. limit > 0: in standard deviations of Z in the long run. head_start: where Z
    begins, in the same unit, within the limits.
    """
    if not 0 < weight <= 1 or not 0 < limit < math.inf or not abs(head_start) <= limit:
        raise ValueError(f"weight {weight}, limit {limit}, head start {head_start}")
    unit = math.sqrt(weight / (2 - weight))
    edge = limit * unit
    x, w = _panels(-edge, edge, weight)
    states = np.append(x, head_start * unit)
    kernel = w / weight * _density((x - (1 - weight) * states[:, None]) / weight - shift)
    found = _solve(kernel[:-1])
    return float(1 + kernel[-1] @ found)


def ewma_limit(arl: float, *, weight: float) -> float:
    """The limit with mean run length arl when nothing has changed; ValueError when none is that short."""
    return matched(lambda limit: ewma_arl(0.0, weight=weight, limit=limit), arl, start=1.0)


def poisson_cusum_arl(
    mean: float,
    *,
    k: float | Fraction,
    h: float | Fraction,
    head_start: float | Fraction = 0,
    direction: Direction = "up",
) -> float:
    """Of a CUSUM of Poisson counts: C <- max(0, C + x - k), down: max(0, C + k - x); alarm when C >= h. >= 1.

    k, h, head_start: multiples of a common fraction 1 / m (0.25 is 1 / 4); at most 5 000 states below h.
    """
    k, h, head_start = (Fraction(value).limit_denominator(1000) for value in (k, h, head_start))
    if direction not in ("up", "down") or not 0 < mean < math.inf or not (k > 0 and 0 <= head_start < h):
        raise ValueError(f"mean {mean}, k {k}, h {h}, head start {head_start}, {direction!r}")
    m = math.lcm(k.denominator, h.denominator, head_start.denominator)
    count = int(h * m)
    if count > _MOST_STATES:
        raise ValueError(f"{count} states")
    states, most = np.arange(count), int(h + k) + 1
    matrix = np.zeros((count, count))
    probability, left = math.exp(-mean), 1.0
    for x in range(most + 1):
        move = x * m - int(k * m)
        target = np.maximum(0, states + (move if direction == "up" else -move))
        alive = target < count
        matrix[states[alive], target[alive]] += probability
        left -= probability
        probability *= mean / (x + 1)
    if direction == "down":  # all larger counts lead to 0
        matrix[:, 0] += max(0.0, left)
    return float(_solve(matrix)[int(head_start * m)])


def siegmund_arl(shift: float, *, k: float, h: float) -> float:
    """Siegmund's approximation of the one-sided CUSUM's mean run length, within some percent; for plausibility."""
    drift, b = shift - k, h + 1.166
    if abs(drift * b) < 1e-6:
        return b * b
    return (math.expm1(-2 * drift * b) + 2 * drift * b) / (2 * drift * drift)


def matched(arl: Callable[[float], float], target: float, *, start: float) -> float:
    """The x > 0 with arl(x) = target, for an arl that grows with x; ValueError when arl(0+) is above it.

    On log arl, nearly a line, by secants kept within brackets (the Illinois rule); to 1e-10 relative.
    """
    if not 1 < target < math.inf:
        raise ValueError(f"run length {target}")

    def excess(x: float) -> float:
        return math.log(arl(x) / target)

    low, high = 1e-6 * start, start
    below, above = excess(low), excess(high)
    if below > 0:
        raise ValueError(f"no chart of this kind has a mean run length as short as {target}")
    while above < 0:
        low, below, high = high, above, 2 * high
        above = excess(high)
    last = 0
    while high - low > 1e-10 * high:
        x = low + (high - low) * below / (below - above)
        value = excess(x)
        if abs(value) < 1e-12:
            return x
        side = 1 if value > 0 else -1
        if side > 0:
            high, above, below = x, value, below / 2 if last == side else below
        else:
            low, below, above = x, value, above / 2 if last == side else above
        last = side
    return (low + high) / 2


def _one_sided(shift: float, k: float, h: float, head_start: float) -> tuple[float, float]:
    """From 0, and from the head start."""
    x, w = _panels(0.0, h)
    states = np.concatenate([[0.0], x, [head_start]])
    kernel = np.empty((states.size, x.size + 1))
    kernel[:, 0] = _cdf(k - shift - states)
    kernel[:, 1:] = w * _density(x + k - shift - states[:, None])
    found = _solve(kernel[:-1])
    return float(found[0]), float(1 + kernel[-1] @ found)


def _panels(low: float, high: float, sd: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of integration from low to high of functions as smooth as a normal density of that sd."""
    count = max(1, math.ceil((high - low) / (_PANEL_WIDTH * sd)))
    edges = np.linspace(low, high, count + 1)
    half = np.diff(edges)[:, None] / 2
    nodes = edges[:-1, None] + half * (1 + _PANEL_NODES)
    return nodes.ravel(), (half * _PANEL_WEIGHTS).ravel()


def _solve(kernel: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.solve(np.eye(len(kernel)) - kernel, np.ones(len(kernel))), dtype=np.float64)


def _density(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-z * z / 2) / math.sqrt(2 * math.pi))


def _cdf(z: ArrayLike) -> FloatArray:
    return np.array([math.erfc(-x / math.sqrt(2)) / 2 for x in np.ravel(z)])


def _refuse_chart(k: float, h: float, head_start: float) -> None:
    if not math.isfinite(k) or not 0 < h < math.inf or not 0 <= head_start <= h:
        raise ValueError(f"k {k}, h {h}, head start {head_start}")
