"""Average run lengths of CUSUM and EWMA charts of variances, s^2 of df degrees of freedom, by integral equations.

In control the variance is 1 and s^2 is chi-square / df; sd is what the standard deviation has become. Both charts are

    Z <- max(low, carry Z + drift + step Y),  Y chi-square of df,  alarm when Z > high.

The density of Y starts abruptly, so the run length as a function of the state has kinks where the origin carry Z + drift
meets low, and where it meets a kink. It is a polynomial between those (collocation); the integrals run over the root of
the distance from the origin, which takes the density's pole (df = 1) away.
Sources: Knoth, "Accurate ARL computation for EWMA-S^2 control charts" (2005); Knoth, "Computation of the ARL for CUSUM-S^2
schemes" (2006). Accuracy: about 1e-8 relative. The tests' reference values: the tables of these papers as quoted in the
documentation of R's spc 0.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from triageops.stats import chi_square
from triageops.stats.charts import matched

FloatArray = NDArray[np.float64]

_NODES = 14
_MOST_KINKS = 40
# Panels are at most so many standard deviations of a step wide.
_PANEL_WIDTH = 3.0
_POINTS, _POINT_WEIGHTS = np.polynomial.legendre.leggauss(40)


@dataclass(frozen=True, slots=True)
class _Chart:
    carry: float
    drift: float
    step: float
    low: float
    high: float
    df: float


def variance_cusum_arl(sd: float, *, k: float, h: float, df: float, head_start: float = 0.0) -> float:
    """Of C <- max(0, C + s^2 - k), alarm when C > h; >= 1. k, h > 0; head_start in [0, h]."""
    if not (0 < k < math.inf and 0 < h < math.inf and 0 <= head_start <= h):
        raise ValueError(f"k {k}, h {h}, head start {head_start}")
    return _arl(_Chart(1.0, -k, _step(sd, df), 0.0, h, df), head_start)


def variance_ewma_arl(sd: float, *, weight: float, limit: float, df: float, barrier: float = 0.0) -> float:
    """Of Z <- max(barrier, (1 - w) Z + w s^2) from 1 on, alarm when Z > 1 + limit sqrt(w / (2 - w)) sqrt(2 / df); >= 1.

    weight: w in (0, 1). limit > 0: in standard deviations of Z in the long run. barrier: in [0, 1]; 1 keeps a variance
    that was small from delaying an alarm, 0 is none.
    """
    if not 0 < weight < 1 or not 0 < limit < math.inf or not 0 <= barrier <= 1:
        raise ValueError(f"weight {weight}, limit {limit}, barrier {barrier}")
    step = weight * _step(sd, df)
    high = 1 + limit * math.sqrt(weight / (2 - weight)) * math.sqrt(2 / df)
    return _arl(_Chart(1 - weight, 0.0, step, barrier, high, df), 1.0)


def variance_cusum_h(arl: float, *, k: float, df: float) -> float:
    """The alarm line h with mean run length arl when nothing has changed."""
    return matched(lambda h: variance_cusum_arl(1.0, k=k, h=h, df=df), arl, start=1.0)


def variance_ewma_limit(arl: float, *, weight: float, df: float, barrier: float = 0.0) -> float:
    """The limit with mean run length arl when nothing has changed."""
    return matched(
        lambda limit: variance_ewma_arl(1.0, weight=weight, limit=limit, df=df, barrier=barrier),
        arl,
        start=1.0,
    )


def _step(sd: float, df: float) -> float:
    if not 0 < sd < math.inf or not 1 <= df < math.inf:
        raise ValueError(f"standard deviation {sd}, {df} degrees of freedom")
    return sd * sd / df


def _arl(chart: _Chart, start: float) -> float:
    edges = _edges(chart)
    spots, barycentric = _chebyshev()
    middles, halves = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    nodes = (middles[:, None] + halves[:, None] * spots).ravel()
    states = np.concatenate([[chart.low], nodes, [start]])
    kernel = np.array([_row(chart, state, edges, spots, barycentric) for state in states])
    found = np.linalg.solve(np.eye(len(kernel) - 1) - kernel[:-1], np.ones(len(kernel) - 1))
    return float(1 + kernel[-1] @ found)


def _edges(chart: _Chart) -> FloatArray:
    """Kinks between low and high, and as many edges between them as the step's spread asks for."""
    kinks, kink = [chart.low], chart.low
    for _ in range(_MOST_KINKS):
        kink = (kink - chart.drift) / chart.carry
        if not kinks[-1] < kink < chart.high:
            break
        kinks.append(kink)
    kinks.append(chart.high)
    width = _PANEL_WIDTH * chart.step * math.sqrt(2 * chart.df)
    edges = [chart.low]
    for a, b in pairwise(kinks):
        edges.extend(np.linspace(a, b, max(1, math.ceil((b - a) / width)) + 1)[1:].tolist())
    return np.array(edges)


def _chebyshev() -> tuple[FloatArray, FloatArray]:
    """Points in (-1, 1), and the weights of the barycentric formula at them."""
    angles = (2 * np.arange(_NODES) + 1) * math.pi / (2 * _NODES)
    signs = np.where(np.arange(_NODES) % 2, -1.0, 1.0)
    return np.asarray(np.cos(angles)), np.asarray(signs * np.sin(angles))


def _row(
    chart: _Chart, state: float, edges: FloatArray, spots: FloatArray, barycentric: FloatArray
) -> FloatArray:
    """What each unknown, the run length at low and at every node, adds to the run length at a state."""
    origin = chart.carry * state + chart.drift
    row = np.zeros(1 + (edges.size - 1) * spots.size)
    row[0] = chi_square.cdf((chart.low - origin) / chart.step, chart.df)
    a, b = np.maximum(edges[:-1], origin), edges[1:]
    reached = np.flatnonzero(b > a)
    a, b = a[reached], b[reached]
    # With u^2 the distance from the origin, density(u^2) 2 u is smooth.
    first, last = np.sqrt(a - origin)[:, None], np.sqrt(b - origin)[:, None]
    u = first + (last - first) * (1 + _POINTS) / 2
    y = u * u / chart.step
    log_density = -y / 2 - chart.df / 2 * math.log(2) - math.lgamma(chart.df / 2)
    mass = np.exp(log_density + (chart.df / 2 - 1) * np.log(y)) * 2 * u / chart.step
    mass *= (last - first) / 2 * _POINT_WEIGHTS
    left, right = edges[:-1][reached, None], edges[1:][reached, None]
    place = (2 * (origin + u * u) - left - right) / (right - left)
    basis = barycentric / (place[..., None] - spots)
    basis /= basis.sum(axis=-1, keepdims=True)
    row[1:].reshape(edges.size - 1, spots.size)[reached] = (mass[..., None] * basis).sum(axis=1)
    return row
