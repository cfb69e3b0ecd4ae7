"""Coarse cells for comparing a distribution with a reference, and scores of the cells for what can change.

Cells are unions of fine bins (triageops.stats.histogram), about equally probable in the reference. A bin that alone
holds a fair share (an atom: "exactly 0", "exactly 1", a default) is a cell of its own; unused bins next to an atom
are a cell of share 0 if no other cell has them. The outermost cells reach to the ends of the scheme, so every value
has a cell, also one beyond all values of the reference.

Scores of cell b, from its middle q_b = F_{b-1} + p_b / 2, as the rank r_b = 2 q_b - 1 in [-1, 1] and the normal
score z_b = Phi^-1(q_b), cut at q = 0.01 and 0.99 (van der Waerden, 1952; a shift of bell-shaped values is seen some
4 % sooner than with ranks, and the mean of z is about the shift in standard deviations):

    up z,  down -z,  wider r^2,  narrower -r^2,  top tail 1{b in top},  bottom tail 1{b in bottom},

each shifted to sum p_b s_b = 0 and scaled to a minimum of -1 over the cells with p_b > 0; below it, s is cut to -1.
If s is 0 in all of these (a constant, say), its largest absolute value elsewhere is 1. Nothing divides by the share
of a cell, so cells are not smoothed: a share of 0 is taken as it is.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from triageops.stats.histogram import UNIFORM_BIN_COUNT, Bins, Histogram, UniformBins

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SCORES = ("up", "down", "wider", "narrower", "top tail", "bottom tail")
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Cells:
    """Cell b has the bins above last_bins[b - 1] up to and with last_bins[b]; the first and last cell are open.

    shares: of the reference, one for each cell, one more than last_bins, >= 0, sum 1.
    """

    scheme: Bins
    last_bins: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.last_bins) + 1 or any(a >= b for a, b in pairwise(self.last_bins)):
            raise ValueError("last_bins need to rise, and to be one less than the shares")
        if not all(p >= 0 for p in self.shares) or not math.isclose(math.fsum(self.shares), 1, abs_tol=1e-9):
            raise ValueError("shares are negative, or do not sum to 1")

    @classmethod
    def of(cls, reference: Histogram, count: int = 20) -> Cells:
        """About count cells of about equal share, fewer if the bins are too coarse; 2 <= count <= 64.

        Always the same cells for the same reference. ValueError for an empty reference.
        """
        if not 2 <= count <= 64 or reference.n == 0:
            raise ValueError(f"no {count} cells from {reference.n} values")
        cells: list[tuple[int, int]] = []  # last bin, values
        run: list[tuple[int, int]] = []
        fair = reference.n / count
        first = _first_bin(reference.scheme)
        for index in sorted(reference.counts):
            if (values := reference.counts[index]) < fair:
                run.append((index, values))
                continue
            below = cells[-1][0] + 1 if cells else first
            cells += _divided(run, fair, index - 1, is_open=below is None or below < index)
            cells.append((index, values))
            run = []
        beyond = _last_bin(reference.scheme)
        cells += _divided(run, fair, beyond, is_open=beyond is None or not cells or cells[-1][0] < beyond)
        return cls(
            reference.scheme,
            tuple(last for last, _ in cells[:-1]),
            tuple(values / reference.n for _, values in cells),
        )

    def counts(self, histogram: Histogram) -> IntArray:
        """How many values each cell has, shape (cells,); a histogram with other bins is a ValueError."""
        if histogram.scheme != self.scheme:
            raise ValueError(f"bins {histogram.scheme.name} do not fit cells of {self.scheme.name}")
        cell = np.searchsorted(self.last_bins, np.array(list(histogram.counts), dtype=np.int64), side="left")
        counts = np.zeros(len(self.shares), dtype=np.int64)
        np.add.at(counts, cell, np.array(list(histogram.counts.values()), dtype=np.int64))
        return counts

    def scores(self) -> FloatArray:
        """s of every score in SCORES and every cell, shape (6, cells); >= -1, of mean 0 in the reference.

        A score that cannot tell the cells apart is 0 everywhere.
        """
        return _scores(self.shares)


@functools.lru_cache(maxsize=4096)
def _scores(shares: tuple[float, ...]) -> FloatArray:
    share = np.array(shares)
    reached = np.cumsum(share)
    middle = reached - share / 2
    normal = np.array([_NORMAL.inv_cdf(min(max(q, 0.01), 0.99)) for q in middle.tolist()])
    square = (2 * middle - 1) ** 2
    top, bottom = _tail(share[::-1])[::-1], _tail(share)
    found = np.stack([_scaled(raw, share) for raw in (normal, -normal, square, -square, top, bottom)])
    found.setflags(write=False)
    return found


def _divided(
    run: list[tuple[int, int]], fair: float, last: int | None, *, is_open: bool
) -> list[tuple[int, int]]:
    """(last bin, values) of each cell for the bins between two atoms.

    Without used bins (run is empty) one cell of 0 values, if there are bins at all: is_open. last: the last bin
    before the next atom, None for the end of the scheme where it has no name.
    """
    if not run:
        return [(_END if last is None else last, 0)] if is_open else []
    total = sum(values for _, values in run)
    width = total / max(1, round(total / fair))
    cells: dict[int, tuple[int, int]] = {}
    before = 0
    for index, values in run:
        number = int((before + values / 2) / width)
        cells[number] = (index, cells.get(number, (0, 0))[1] + values)
        before += values
    *inner, (_, rest) = cells.values()
    return [*inner, (_END if last is None else last, rest)]


_END = 2**31 - 1
"""Above the number of any bin."""


def _first_bin(scheme: Bins) -> int | None:
    return 0 if isinstance(scheme, UniformBins) else None


def _last_bin(scheme: Bins) -> int | None:
    return UNIFORM_BIN_COUNT + 1 if isinstance(scheme, UniformBins) else None


def _tail(share: FloatArray) -> FloatArray:
    """1 for the first cells, as few as hold half a fair share together; 0 for the others."""
    before = np.cumsum(share) - share
    return (before < 0.5 / share.size).astype(np.float64)


def _scaled(raw: FloatArray, share: FloatArray) -> FloatArray:
    centred = raw - raw @ share
    low = -min(float(centred[share > 0].min()), 0.0)
    if low < 1e-9:  # the reference's own cells are alike: only cells never seen can differ
        low = float(np.abs(centred).max())
    return np.zeros_like(raw) if low < 1e-9 else np.maximum(centred / low, -1.0)
