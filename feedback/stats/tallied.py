"""Tallies of feedback as numbers with moments: shares are values 0 and 1, ratings the values 1 to 5."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

from feedback.models import FeedbackRollup, FeedbackType
from triageops.stats.histogram import UniformBins
from triageops.stats.moments import Moments

Kind = Literal["negative", "positive", "rating", "coverage"]
"""Share of negative, of positive feedback among all; its rating; share of responses that have any."""

TYPES = (FeedbackRollup.ANY, *FeedbackType.values)
SUMS = ", ".join(
    [
        *(f"sum(r.count) FILTER (WHERE r.feedback_type = '{name}')" for name in TYPES),
        *(f"sum(r.rating_counts[{rating}])" for rating in range(1, 6)),
    ]
)
"""SQL of what `Tally.of` takes."""

_RATINGS = UniformBins(1.0, 5.0)
_SHARES = UniformBins(0.0, 1.0)


class Tally(NamedTuple):
    """Responses with any feedback, feedback of each type, and the ratings 1 to 5; nothing is below zero."""

    covered: int
    by_type: dict[str, int]
    ratings: Sequence[int]

    @classmethod
    def of(cls, sums: Sequence[int | None]) -> "Tally":
        """From SUMS; what is below zero comes of an attribute that is watched since later than its responses."""
        counts = [max(0, int(number or 0)) for number in sums]
        types = dict(zip(TYPES, counts[: len(TYPES)], strict=True))
        return cls(types.pop(FeedbackRollup.ANY), types, counts[len(TYPES) :])


NO_FEEDBACK = Tally(0, {}, ())


def values_of(kind: Kind, tally: Tally, response_count: int) -> dict[int, int]:
    """Each value that was seen, and how often; `response_count` is for coverage only."""
    if kind == "rating":
        counts = dict(enumerate(tally.ratings, start=1))
    elif kind == "coverage":
        counts = _zeros_and_ones(tally.covered, response_count)
    else:
        counts = _zeros_and_ones(tally.by_type.get(kind, 0), sum(tally.by_type.values()))
    return {value: count for value, count in counts.items() if count}


def _zeros_and_ones(count: int, n: int) -> dict[int, int]:
    ones = min(count, n)
    return {0: n - ones, 1: ones}


def moments_of(counts: Mapping[int, int]) -> Moments:
    """Of whole values and how often each was seen: sums of whole numbers, so the same in whatever order."""
    n = sum(counts.values())
    if not n:
        return Moments(0, 0.0, 0.0)
    total = sum(value * count for value, count in counts.items())
    squares = sum(value * value * count for value, count in counts.items())
    return Moments(n, total / n, (n * squares - total * total) / n)


def histogram_of(kind: Kind, counts: Mapping[int, int]) -> dict[str, dict[int, int]]:
    """Name of bins -> bin -> count; empty for no values."""
    bins = _RATINGS if kind == "rating" else _SHARES
    return {bins.name: {_bin(bins, value): count for value, count in counts.items()}} if counts else {}


@cache
def _bin(bins: UniformBins, value: int) -> int:
    return int(bins.index([value])[0])
