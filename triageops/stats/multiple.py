"""Several questions at once: p-values corrected for their number, and discoveries with a limited false share.

All three hold whatever the dependence between the questions. With always-valid p-values or e-values they hold
at every look. The tests' reference values: statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in [0, 1], in the order of p: reject those <= alpha and the chance of any false one is alpha.

    p: in [0, 1], else a ValueError. Source: Holm (1979), step-down.
    """
    _refuse_outside(p)
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return tuple(adjusted)


def bonferroni(p: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in [0, 1], never below Holm's, that go with intervals at alpha / len(p)."""
    _refuse_outside(p)
    return tuple(min(1.0, len(p) * x) for x in p)


def e_bh(log_e: Sequence[float], q: float) -> frozenset[int]:
    """Indices of the discoveries; the expected share of false ones among them is at most q, in (0, 1).

    The k largest e-values, for the largest k with k e_(k) / m >= 1 / q; equal e-values go together. log_e: may
    be infinite. ValueError for NaN. Source: Wang, Ramdas, "False discovery rate control with e-values" (2022).
    """
    if not 0 < q < 1:
        raise ValueError(f"q {q} is not between 0 and 1")
    if any(map(math.isnan, log_e)):
        raise ValueError("an e-value is NaN")
    order = sorted(range(len(log_e)), key=lambda i: -log_e[i])
    count = 0
    for k, i in enumerate(order, start=1):
        if log_e[i] >= math.log(len(log_e) / k) - math.log(q):
            count = k
    return frozenset(order[:count])


def _refuse_outside(p: Sequence[float]) -> None:
    if not all(0 <= x <= 1 for x in p):
        raise ValueError("a p-value is outside [0, 1] or NaN")
