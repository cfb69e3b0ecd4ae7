"""Cells of a histogram for a chart: as wide as round numbers are, about twenty, with what both sides have in each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from triageops.stats.histogram import Histogram, UniformBins, pooled_quantiles

MOST_CELLS = 25
FEW_VALUES = 12
_OUTER = (0.005, 0.995)
_ROUND = (1.0, 2.0, 5.0)
_PER_DECADE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_LONG_TAIL = 100.0


@dataclass(frozen=True, slots=True)
class ChartCell:
    """Shares of both in low < value <= high; low = high: exactly this value; None: no end on this side."""

    low: float | None
    high: float | None
    current: float
    reference: float


def chart_cells(current: Histogram, reference: Histogram) -> tuple[ChartCell, ...]:
    """Neither may be empty. A bin counts where its middle lies; each bound of a score that has values is a cell."""
    now, before = _by_value(current), _by_value(reference)
    if len({*now, *before}) <= FEW_VALUES:
        return tuple(
            ChartCell(x, x, now.get(x, 0) / current.n, before.get(x, 0) / reference.n)
            for x in sorted({*now, *before})
        )
    atoms = [x for x in _bounds(reference) if x in now or x in before]
    inner = [x for x in sorted({*now, *before}) if x not in atoms]
    cells = [
        ChartCell(
            low,
            high,
            _count(now, inner, low, high) / current.n,
            _count(before, inner, low, high) / reference.n,
        )
        for low, high in pairwise((None, *_edges(current, reference), None))
    ]
    used = [place for place, cell in enumerate(cells) if cell.current or cell.reference]
    exact = [ChartCell(x, x, now.get(x, 0) / current.n, before.get(x, 0) / reference.n) for x in atoms]
    below = [cell for cell in exact if cell.low is not None and cell.low < inner[0]]
    return (*below, *cells[used[0] : used[-1] + 1], *exact[len(below) :])


def _bounds(histogram: Histogram) -> tuple[float, ...]:
    scheme = histogram.scheme
    return (scheme.low, scheme.high) if isinstance(scheme, UniformBins) else ()


def _by_value(histogram: Histogram) -> dict[float, int]:
    return {histogram.scheme.middle(index): count for index, count in histogram.counts.items()}


def _count(
    counts: Mapping[float, int], values: Sequence[float], low: float | None, high: float | None
) -> int:
    return sum(counts.get(x, 0) for x in values if (low is None or x > low) and (high is None or x <= high))


def _edges(current: Histogram, reference: Histogram) -> list[float]:
    """Round numbers around nearly all values of both; on a logarithmic scale where the largest are far out."""
    ends = [
        found
        for one in (current, reference)
        for found in pooled_quantiles([one], _OUTER)
        if found is not None
    ]
    low, high = min(ends), max(ends)
    if low > 0 and high / low > _LONG_TAIL:
        return _log_edges(low, high)
    step = _round_up(max((high - low) / (MOST_CELLS - 4), abs(high) * 1e-9, 1e-300))
    first, last = math.floor(low / step), math.ceil(high / step)
    # From the whole number, not by adding: 0.15000000000000002 is no readable edge.
    return [_readable(number * step) for number in range(first, last + 1)]


def _log_edges(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [
        _readable(mantissa * 10.0**power) for power in range(first, last + 1) for mantissa in _PER_DECADE
    ]
    while len(every) > 2 * MOST_CELLS:
        every = every[::2]
    inside = [edge for edge in every if low < edge < high]
    return [
        *([every[every.index(inside[0]) - 1]] if inside[0] != every[0] else []),
        *inside[:: 1 + len(inside) // MOST_CELLS],
    ]


def _round_up(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next((one * power for one in _ROUND if one * power >= step), 10 * power)


def _readable(edge: float) -> float:
    return float(f"{edge:.12g}")
