"""Units of two arms as they come in, as the co-moments that the product keeps."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.simulations.rules import Look
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Kind, contrast, estimate

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells = dict[str, list[CoMoments]]
"""Arm -> moments of each stratum."""


def binary(n: int, events: int) -> CoMoments:
    """Of n zeros and ones."""
    if n == 0:
        return CoMoments.empty(1)
    share = events / n
    return CoMoments(n, (share,), ((n * share * (1 - share),),))


def look(arms: Cells, kind: Kind, *, is_adjusted: bool = False) -> Look:
    """Treatment t beside control c, by the product's estimators."""
    found = estimate(arms, kind, is_adjusted=is_adjusted)
    return Look(contrast(found, "t", "c"), sum(arm.n for arm in found.arms.values()))


def sizes(rng: Generator, per_look: int, share: float, looks: int) -> tuple[Ints, Ints]:
    """Units of treatment and control that come in before each look; which arm is chance."""
    treated = rng.binomial(per_look, share, looks)
    return treated, per_look - treated


def binary_looks(n_t: Ints, x_t: Ints, n_c: Ints, x_c: Ints) -> list[Look]:
    """n: units, x: units with the event, of each look."""
    totals = zip(*(counts.cumsum().tolist() for counts in (n_t, x_t, n_c, x_c)), strict=True)
    return [look({"t": [binary(nt, xt)], "c": [binary(nc, xc)]}, "proportion") for nt, xt, nc, xc in totals]


def arriving_looks(rows: Array, is_treated: NDArray[np.bool_], looks: int) -> list[Look]:
    """Means of units that come in at an even pace and do not change: what came since the last look is added."""
    found = []
    kept = {"t": CoMoments.empty(rows.shape[1]), "c": CoMoments.empty(rows.shape[1])}
    is_adjusted = rows.shape[1] == 3
    for part, treated in zip(np.array_split(rows, looks), np.array_split(is_treated, looks), strict=True):
        kept = {
            "t": kept["t"] + CoMoments.of(part[treated]),
            "c": kept["c"] + CoMoments.of(part[~treated]),
        }
        found.append(look({arm: [cell] for arm, cell in kept.items()}, "mean", is_adjusted=is_adjusted))
    return found


def split(columns: Sequence[Array], is_there: NDArray[np.bool_], is_treated: NDArray[np.bool_]) -> Cells:
    """Of units whose values have grown since the last look, so all are read again."""
    rows = np.column_stack(columns)
    return {
        "t": [CoMoments.of(rows[is_there & is_treated])],
        "c": [CoMoments.of(rows[is_there & ~is_treated])],
    }
