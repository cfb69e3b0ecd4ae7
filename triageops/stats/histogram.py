"""Histograms with fixed bins: equal values give equal counts on every machine, and counts add up exactly.

Bins are half-open on the left, (lower, upper], and numbered in the order of their values. Edges come from
IEEE additions, multiplications and divisions alone, and a value is placed by comparing it with them: no
logarithm decides, so no library version or processor can put a value at an edge elsewhere.
Source of the logarithmic scheme: Masson, Rim, Lee, "DDSketch" (VLDB 2019), section 2. The edges here start at
the smallest double instead of at 1, which keeps the stated error for every finite double, subnormal ones
included.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNIFORM_BIN_COUNT = 200


@dataclass(frozen=True, slots=True)
class UniformBins:
    """200 equal bins between low and high, and two atoms: bin 0 is exactly low, bin 201 exactly high.

    For bounded scores, where "exactly 0" and "exactly 1" are facts of their own. ValueError when the bounds
    are not finite or leave no room for 200 bins.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low) + 0.0)  # -0.0 becomes 0.0: equal bounds, equal names
        object.__setattr__(self, "high", float(self.high) + 0.0)
        if not math.isfinite(self.high - self.low):
            raise ValueError(f"bounds {self.low} and {self.high} are not finite or too far apart")
        if not (np.diff(_uniform_edges(self.low, self.high)) > 0).all():
            raise ValueError(f"no room for {UNIFORM_BIN_COUNT} bins between {self.low} and {self.high}")

    @property
    def name(self) -> str:
        return f"uniform:{self.low!r}:{self.high!r}"

    def index(self, values: ArrayLike) -> IntArray:
        """Bin of each value, 0 to 201; a value that is NaN or outside [low, high] is a ValueError."""
        array = np.asarray(values, dtype=np.float64)
        if not ((array >= self.low) & (array <= self.high)).all():
            raise ValueError(f"a value outside [{self.low}, {self.high}]")
        index = np.searchsorted(_uniform_edges(self.low, self.high), array, side="left")
        return np.where(array == self.high, UNIFORM_BIN_COUNT + 1, index).astype(np.int64)

    def lower(self, index: int) -> float:
        return self._edge(index, index - 1)

    def upper(self, index: int) -> float:
        return self._edge(index, index)

    def middle(self, index: int) -> float:
        """The value that stands for the bin: the bound itself for an atom, else the centre."""
        lower = self.lower(index)
        return lower + (self.upper(index) - lower) / 2

    def error(self, value: float) -> float:
        """Largest distance between a quantile of these bins and value, the true one; 0 at a bound."""
        return 0.0 if value in (self.low, self.high) else _uniform_error(self.low, self.high)

    def _edge(self, index: int, edge: int) -> float:
        if not 0 <= index <= UNIFORM_BIN_COUNT + 1:
            raise ValueError(f"no bin {index}")
        return float(_uniform_edges(self.low, self.high)[min(max(edge, 0), UNIFORM_BIN_COUNT)])


@dataclass(frozen=True, slots=True)
class LogBins:
    """Bins of constant relative width over all finite doubles: bin 0 is exactly zero, bin -i mirrors bin i.

    accuracy a, in [0.001, 0.2]: every value is within a * |value| of its bin's middle. With 0.01 there are 72
    617 bins on each side; only those in use are stored.
    """

    accuracy: float = 0.01

    def __post_init__(self) -> None:
        if not 0.001 <= self.accuracy <= 0.2:
            raise ValueError(f"accuracy {self.accuracy} outside [0.001, 0.2]")

    @property
    def name(self) -> str:
        return f"log:{self.accuracy!r}"

    def index(self, values: ArrayLike) -> IntArray:
        """Bin of each value, negative for values below zero; NaN or infinity is a ValueError."""
        array = np.asarray(values, dtype=np.float64)
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinity has no bin")
        index = np.searchsorted(_log_edges(self.accuracy), np.abs(array), side="left")
        return np.where(array < 0, -index, index).astype(np.int64)

    def lower(self, index: int) -> float:
        return -self.upper(-index) if index < 0 else self._edge(max(index - 1, 0))

    def upper(self, index: int) -> float:
        return -self.lower(-index) if index < 0 else self._edge(index)

    def middle(self, index: int) -> float:
        """The value that stands for the bin, within accuracy of both of its ends; 0 for the zero bin."""
        if index <= 0:
            return -self.middle(-index) if index < 0 else 0.0
        # Rounded up, because the end below has the smaller allowance and an ulp to spare (see _log_edges).
        lower, upper = self.lower(index), self.upper(index)
        return max(lower, min(upper, math.nextafter((1 - self.accuracy) * upper, math.inf)))

    def error(self, value: float) -> float:
        """Largest distance between a quantile of these bins and value, the true one."""
        return self.accuracy * abs(value)

    def _edge(self, index: int) -> float:
        edges = _log_edges(self.accuracy)
        if index >= edges.size:
            raise ValueError(f"no bin {index}")
        return float(edges[index])


Bins = UniformBins | LogBins


def bins_named(name: str) -> Bins:
    """The scheme of a name such as "uniform:0.0:1.0" or "log:0.01"; ValueError for any other text."""
    kind, *numbers = name.split(":")
    try:
        if kind == "uniform" and len(numbers) == 2:
            return UniformBins(float(numbers[0]), float(numbers[1]))
        if kind == "log" and len(numbers) == 1:
            return LogBins(float(numbers[0]))
    except ValueError as error:
        raise ValueError(f"no bins named {name!r}: {error}") from error
    raise ValueError(f"no bins named {name!r}")


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values fell into each bin of a scheme; bins without values are left out."""

    scheme: Bins
    counts: Mapping[int, int]

    def __post_init__(self) -> None:
        if any(count < 0 for count in self.counts.values()):
            raise ValueError("a bin with a negative count")
        object.__setattr__(self, "counts", {index: count for index, count in self.counts.items() if count})

    @classmethod
    def of(cls, values: ArrayLike, scheme: Bins) -> Histogram:
        indices, counts = np.unique(scheme.index(values), return_counts=True)
        return cls(scheme, dict(zip(indices.tolist(), counts.tolist(), strict=True)))

    def __add__(self, other: Histogram) -> Histogram:
        if self.scheme != other.scheme:
            raise ValueError(f"bins {self.scheme.name} and {other.scheme.name} do not add up")
        return Histogram(self.scheme, Counter(self.counts) + Counter(other.counts))

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    def quantile(self, q: float) -> float | None:
        """The q-quantile to within scheme.error(true quantile); see pooled_quantiles."""
        return pooled_quantiles([self], [q])[0]


def pooled_quantiles(histograms: Iterable[Histogram], qs: Sequence[float]) -> list[float | None]:
    """Quantiles of all values together, each None when there are none; q outside [0, 1] is a ValueError.

    The quantile meant is the inverse of the empirical distribution function (numpy's "inverted_cdf"): the
    smallest value with at least a share q of the values at or below it. It is within the largest error(true
    quantile) of the schemes pooled, for each of which every value is replaced by the middle of its bin.
    """
    if not all(0 <= q <= 1 for q in qs):
        raise ValueError(f"quantiles {list(qs)} outside [0, 1]")
    pooled: Counter[float] = Counter()
    for histogram in histograms:
        for index, count in histogram.counts.items():
            pooled[histogram.scheme.middle(index)] += count
    if not pooled:
        return [None] * len(qs)
    values = sorted(pooled)
    reached = np.cumsum([pooled[value] for value in values])
    n = int(reached[-1])
    ranks = [max(1, math.ceil(n * q)) for q in qs]
    return [values[position] for position in np.searchsorted(reached, ranks, side="left")]


@cache
def _uniform_edges(low: float, high: float) -> FloatArray:
    edges = low + (high - low) * np.arange(UNIFORM_BIN_COUNT + 1, dtype=np.float64) / UNIFORM_BIN_COUNT
    edges[-1] = high
    edges.setflags(write=False)
    return edges


@cache
def _uniform_error(low: float, high: float) -> float:
    """Half a bin's width, and the rounding of its edges."""
    edges = _uniform_edges(low, high)
    middles = edges[:-1] + np.diff(edges) / 2
    return float(max((edges[1:] - middles).max(), (middles - edges[:-1]).max()))


@cache
def _log_edges(accuracy: float) -> FloatArray:
    """Zero, the smallest double, then each edge a little less than (1 + a) / (1 - a) times the one before.

    "A little less" leaves room for the roundings in middle(). Among the smallest doubles, which are further
    apart than that, every double is an edge and so a bin of its own.
    """
    growth = (1 + accuracy) / (1 - accuracy) * (1 - 1e-12)
    edges = [0.0, math.ulp(0.0)]
    while not math.isinf(grown := edges[-1] * growth):
        edges.append(max(math.nextafter(grown, 0.0), math.nextafter(edges[-1], math.inf)))
    edges.append(math.nextafter(math.inf, 0.0))
    array = np.array(edges)
    array.setflags(write=False)
    return array
