"""Increments for a distribution of values: mean, spread and tails at once, from a histogram and a reference.

Each of six scores s (triageops.stats.bets_cells) has s >= -1 and mean 0 in the reference. With the payoff u = 1 + s
>= 0, the margin eps of the score, the mean score m that the reference has in the bucket's slot (hour of the week; 0
without seasons) and B = 1 + m + eps, a bet of the fraction lambda of one's wealth on each value is

    l = phi sum_b C_b log(1 - lambda + lambda u_b / B).

Exact: let the null be E[s | n and all values before] <= m + eps for every value. Then E[u / B] <= 1, u / B >= 0, so
each factor is >= 1 - lambda > 0 with expectation <= 1, and so is their product. phi <= 1 keeps that (Jensen; more
in triageops.stats.bets_deflator). In terms of the score: X = (s - m - eps) / (1 + m + eps) has E[X] <= 0 and X >=
-1, and 1 + lambda X is the factor above. Subtracting m and clipping at -1 instead would make E[X] > 0 and void the
promise; dividing by B needs no clipping. B is at least 0.01: more is allowed then, never less. l is a sum over
values: buckets may be split or merged, as long as phi and m are the same.

unit = "bucket" takes the mean score of the whole bucket as one value: l = phi log(1 - lambda + lambda mean(u) / B).
It needs E[mean of s | past] <= m + eps only, whatever the dependence within a bucket, and it is slow: a bucket of a
million values counts as one. Its X = mean(u) / B - 1 >= -1 is the value of the increment of Fan, Grama, Liu (2015),
lambda X - (-log(1 - lambda) - lambda) X^2; that is at most log(1 + lambda X), which is used here because nothing
else is summed.

Margins: score_tolerances(). Source of the bets: Waudby-Smith, Ramdas, "Estimating means of bounded random variables
by betting" (2023). The tests' reference values: scipy.stats.multinomial, norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.bets_cells import SCORES, Cells
from triageops.stats.bets_deflator import checked_phi
from triageops.stats.histogram import Histogram
from triageops.stats.margins import moved_margins, score_margins

FloatArray = NDArray[np.float64]

_LOCATION, _WIDER, _NARROWER, _TAIL = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9), (0.15, 0.45), (0.3, 0.8), (0.1,)
VALUE_LAMBDAS = (_LOCATION, _LOCATION, _WIDER, _NARROWER, _TAIL, _TAIL)
BUCKET_LAMBDAS = ((0.3, 0.7, 0.97),) * 4 + ((0.1, 0.3, 0.7),) * 2
_SMALLEST_BOUND = 0.01


@dataclass(frozen=True, slots=True)
class ScoreBet:
    """Bets that values are not distributed as in a reference. All tuples are in the order of SCORES.

    margins: eps >= 0 of each score, default 0. lambdas: in (0, 1), of each score, empty for a score that is not bet
    on; default VALUE_LAMBDAS or BUCKET_LAMBDAS, chosen by simulation for shifts of 0.1 to 1 standard deviations.
    """

    cells: Cells
    margins: tuple[float, ...] = (0.0,) * len(SCORES)
    unit: Literal["value", "bucket"] = "value"
    lambdas: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in ("value", "bucket"):
            raise ValueError(f"unit is {self.unit!r}, not 'value' or 'bucket'")
        default = VALUE_LAMBDAS if self.unit == "value" else BUCKET_LAMBDAS
        object.__setattr__(self, "lambdas", self.lambdas or default)
        if len(self.margins) != len(SCORES) or not all(0 <= x < math.inf for x in self.margins):
            raise ValueError(f"expected {len(SCORES)} margins, each 0 or more")
        if len(self.lambdas) != len(SCORES) or not any(self.lambdas):
            raise ValueError(f"expected lambdas of {len(SCORES)} scores, not all empty")
        if not all(0 < x < 1 for bets in self.lambdas for x in bets):
            raise ValueError("lambdas need to be between 0 and 1")

    @property
    def directions(self) -> tuple[str, ...]:
        """Of each baseline: one of SCORES."""
        return tuple(SCORES[j] for j in self._score_of.tolist())

    @property
    def _score_of(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(SCORES)), [len(bets) for bets in self.lambdas])

    def mean_scores(self, counts: ArrayLike) -> FloatArray:
        """Mean of each score in buckets given as counts of shape (..., cells), shape (..., 6); 0 for empty ones.

        What a slot's offsets are made of, and how far a bucket is off.
        """
        array = self._checked(counts)
        n = array.sum(axis=-1, keepdims=True)
        total = array @ self.cells.scores().T
        return np.asarray(np.divide(total, n, out=np.zeros_like(total), where=n > 0))

    def increments(
        self, histogram: Histogram, *, offsets: tuple[float, ...] | None = None, phi: float = 1.0
    ) -> tuple[float, ...]:
        """l of each baseline for one closed bucket, zeros when it is empty; see increments_of."""
        return tuple(self.increments_of(self.cells.counts(histogram), offsets=offsets, phi=phi).tolist())

    def increments_of(
        self, counts: ArrayLike, *, offsets: ArrayLike | None = None, phi: ArrayLike = 1.0
    ) -> FloatArray:
        """l for buckets given as counts of shape (..., cells), as an array of shape (..., K).

        offsets: m of each score in the bucket's slot, each >= -1, shape (..., 6) or (6,); default 0;
        an upper bound of m does as well. phi: in (0,
        1], shape (...) or one; 1 for unit "bucket" unless something is wrong beyond the bucket. Anything else is a
        ValueError. Accuracy: about 1e-14 of the sum of the absolute values of l's terms.
        """
        array = self._checked(counts)
        slot = np.zeros(len(SCORES)) if offsets is None else np.asarray(offsets, dtype=np.float64)
        if slot.shape[-1:] != (len(SCORES),) or not ((slot >= -1) & (slot < np.inf)).all():
            raise ValueError(f"expected offsets of {len(SCORES)} scores, each -1 or more")
        score_of = self._score_of
        bound = np.maximum(1 + slot + np.array(self.margins), _SMALLEST_BOUND)[..., score_of]
        payoff = 1 + self.cells.scores()[score_of]
        bets = np.concatenate(self.lambdas)
        power = checked_phi(phi)[..., None]
        if self.unit == "value":
            each = np.log1p(bets[:, None] * (payoff / bound[..., None] - 1))  # (..., K, cells)
            total = array @ each.T if each.ndim == 2 else (each @ array[..., None])[..., 0]
            return np.asarray(power * total)
        n = array.sum(axis=-1, keepdims=True)
        mean = np.divide(
            array @ payoff.T, n, out=np.broadcast_to(bound, (*n.shape[:-1], bets.size)).copy(), where=n > 0
        )
        return np.asarray(power * np.log1p(bets * (mean / bound - 1)))

    def _checked(self, counts: ArrayLike) -> FloatArray:
        array = np.asarray(counts, dtype=np.float64)
        if array.shape[-1:] != (len(self.cells.shares),) or not ((array >= 0) & (array < np.inf)).all():
            raise ValueError(f"expected counts of {len(self.cells.shares)} cells, each 0 or more")
        return array


def score_tolerances(
    cells: Cells,
    *,
    n_reference: ArrayLike,
    shift: float = 0.0,
    ratio: float = 1.0,
    z: float = 2.576,
    reference: Histogram | None = None,
) -> tuple[float, ...]:
    """Margins for ScoreBet: eps of each score, the larger of what is nobody's concern and the reference's error.

    Concern: shifts up to shift >= 0 standard deviations and spreads up to ratio >= 1 times or divided, of the values of
    `reference`, which the cells were made of (margins.moved_margins); without it on the scale of normal scores
    (margins.score_margins), which is right for bell shapes only. Error: a bound, at z >= 0 standard errors, on the mean of s in a stream that is like the
    reference. n_reference: > 0, how many independent values the reference is worth, one number or one for each
    score; infinity for a reference that is known. With top the largest s, the bound

        z sqrt((var(s) + top^2 / n) / n) + top (z^2 + 2) / (3 n)

    is margins.score_errors times z for scores without far-off cells; for tails and cells never seen it is that of a
    Poisson count, within a few per cent (0 of n: 5.4 / n, where -log(0.005) / n = 5.3 / n is exact).
    The larger of both is right for a stream that has not changed, or has by at most this much if the reference is
    known; whoever needs both at once gives a larger shift. ValueError for misuse.
    """
    n = np.asarray(n_reference, dtype=np.float64)
    if not (n > 0).all() or n.shape not in {(), (len(SCORES),)} or not 0 <= z < math.inf:
        raise ValueError(f"n_reference {n_reference!r} or z {z} out of range")
    scores, shares = cells.scores(), np.array(cells.shares)
    top = np.maximum(scores.max(axis=1), 0.0)
    variance = (scores * scores) @ shares
    error = z * np.sqrt((variance + top * top / n) / n) + top * (z * z + 2) / (3 * n)
    return tuple(np.maximum(_concern(cells, reference, shift, ratio), error).tolist())


def _concern(cells: Cells, reference: Histogram | None, shift: float, ratio: float) -> FloatArray:
    if reference is None:
        return score_margins(cells.shares, cells.scores(), shift=shift, ratio=ratio)
    if reference.scheme != cells.scheme or not reference.n:
        raise ValueError(f"a reference of {reference.n} values in bins {reference.scheme.name}")
    bins = sorted(reference.counts)
    return moved_margins(
        [reference.scheme.middle(one) for one in bins],
        [reference.counts[one] for one in bins],
        np.searchsorted(cells.last_bins, bins, side="left"),
        cells.scores(),
        shift=shift,
        ratio=ratio,
    )
