"""What is kept of the rows of each bucket: exact sums and counts, so that the order of rows never matters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median

from monitoring.monitors.sample import Sample
from monitoring.offline.cells import (
    LARGEST_COUNT,
    ONE,
    Columns,
    exact_of,
    refuse_outside,
    successes_of,
    value_of,
    whole,
)
from monitoring.offline.question import Question, Unusable
from triageops.stats.histogram import Bins, LogBins, UniformBins

MOST_BUCKETS = 1_000_000
_BATCH = 50_000
UNIT = UniformBins(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Table:
    """The file as buckets, in the order of time. times: how timestamps were read.

    filled_count: buckets of a volume that no row speaks of, taken as 0. cut_count: incomplete ones at its ends, left out.
    are_means: values are means of several records, so each bucket is one value; empty_count: rows that are of no record.
    """

    samples: list[Sample]
    times: str
    row_count: int
    missing_count: int
    filled_count: int = 0
    cut_count: int = 0
    are_means: bool = False
    empty_count: int = 0


class Kept:
    """What is kept of the rows of each bucket; one class for each kind."""

    def __init__(self, question: Question, columns: Columns) -> None:
        self.question, self.columns = question, columns
        self.seen: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.missing: Counter[int] = Counter()

    @staticmethod
    def of(question: Question, columns: Columns) -> Kept:
        if question.kind == "volume":
            return _Events(question, columns)
        if question.are_shares:
            return _Successes(question, columns)
        return _Values(question, columns) if columns.n is None else _Means(question, columns)

    def add(self, start: int, row: Sequence[str]) -> None:
        raise NotImplementedError

    def sample(self, start: int) -> Sample:
        raise NotImplementedError

    def table(self, times: str, row_count: int) -> Table:
        samples = [self.sample(start) for start in sorted(self.seen)]
        return Table(samples, times, row_count, self.missing.total())

    def text(self, row: Sequence[str]) -> str:
        return row[self.columns.value] if self.columns.value is not None else ""


class _Values(Kept):
    """seen: n, sum and sum of squares as whole numbers. Bins are settled when all is read."""

    def __init__(self, question: Question, columns: Columns) -> None:
        super().__init__(question, columns)
        self.schemes: list[Bins] = [UniformBins(*question.bounds)] if question.bounds else [UNIT, LogBins()]
        self.counts: dict[int, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        self.starts: list[int] = []
        self.values: list[float] = []

    def add(self, start: int, row: Sequence[str]) -> None:
        kept, value = self.seen[start], value_of(self.text(row))
        if value is None:
            self.missing[start] += 1
            return
        refuse_outside(value, self.question.bounds)
        exact = exact_of(value)
        kept[0] += 1
        kept[1] += exact
        kept[2] += exact * exact
        self.starts.append(start)
        self.values.append(value)
        if len(self.values) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        is_choice = len(self.schemes) > 1
        if is_choice and not all(0 <= value <= 1 for value in self.values):
            self.schemes.remove(UNIT)
        for scheme in self.schemes:
            for start, index in zip(self.starts, scheme.index(self.values).tolist(), strict=True):
                self.counts[start][scheme.name][index] += 1
        self.starts, self.values = [], []

    def table(self, times: str, row_count: int) -> Table:
        self._flush()
        return super().table(times, row_count)

    def sample(self, start: int) -> Sample:
        n, total, squares = self.seen[start]
        name = self.schemes[0].name
        return Sample(
            start,
            self.question.bucket_seconds,
            n,
            Fraction(total, 1 << ONE),
            Fraction(squares, 1 << 2 * ONE),
            {name: dict(sorted(self.counts[start][name].items()))},
            self.missing[start],
        )


class _Means(Kept):
    """Rows are means of n records, of which the spread is not known: each bucket is one value, the mean of its records.

    seen: n, and the sum of n times the value as a whole number.
    """

    def __init__(self, question: Question, columns: Columns) -> None:
        super().__init__(question, columns)
        self.scheme: Bins = UniformBins(*question.bounds) if question.bounds else UNIT
        self.empty_count = 0

    def add(self, start: int, row: Sequence[str]) -> None:
        kept = self.seen[start]
        n = 1 if self.columns.n is None else whole(row[self.columns.n], "n")
        if n == 0:
            self.empty_count += 1
            return
        value = value_of(self.text(row))
        if value is None:
            self.missing[start] += 1
            return
        refuse_outside(value, self.question.bounds)
        kept[0] += n
        kept[1] += n * exact_of(value)
        _refuse_too_many(kept[0])

    def table(self, times: str, row_count: int) -> Table:
        means = [self._mean(start) for start, (n, *_) in self.seen.items() if n]
        if not self.question.bounds and not all(0 <= mean <= 1 for mean in means):
            self.scheme = LogBins()
        found = super().table(times, row_count)
        return replace(found, are_means=True, empty_count=self.empty_count)

    def _mean(self, start: int) -> float:
        n, total, _ = self.seen[start]
        return float(Fraction(total, n << ONE))

    def sample(self, start: int) -> Sample:
        seconds, missing = self.question.bucket_seconds, self.missing[start]
        if not self.seen[start][0]:
            return Sample(start, seconds, null_count=missing)
        mean = self._mean(start)
        counts = {self.scheme.name: {int(self.scheme.index([mean])[0]): 1}}
        return Sample(start, seconds, 1, Fraction(mean), Fraction(mean) ** 2, counts, missing)


class _Successes(Kept):
    """seen: successes and n."""

    def add(self, start: int, row: Sequence[str]) -> None:
        text = self.text(row)
        n = 1 if self.columns.n is None else whole(row[self.columns.n], "n")
        kept = self.seen[start]
        value = value_of(text)
        if value is None:
            self.missing[start] += n
            return
        if self.columns.n is None and value not in {0.0, 1.0}:
            raise ValueError(f"{text!r} is neither 0 nor 1")
        kept[0] += successes_of(text, value, n) if self.question.value_is == "share" else whole(text, "value")
        kept[1] += n
        _refuse_too_many(kept[1])
        if self.question.value_is == "count" and value > n:
            raise ValueError(f"{text} successes among {n}")

    def sample(self, start: int) -> Sample:
        successes, n, _ = self.seen[start]
        return Sample.of_shares(start, self.question.bucket_seconds, successes, n)


def _refuse_too_many(count: int) -> None:
    if count > LARGEST_COUNT:
        raise ValueError(f"more than {LARGEST_COUNT:g} in one bucket")


class _Events(Kept):
    """seen: events and rows."""

    def add(self, start: int, row: Sequence[str]) -> None:
        kept = self.seen[start]
        kept[0] += whole(self.text(row), "value") if self.is_counted else 1
        kept[1] += 1
        _refuse_too_many(kept[0])

    @property
    def is_counted(self) -> bool:
        return self.columns.value is not None and self.question.value_is != "event"

    def sample(self, start: int) -> Sample:
        return Sample(start, self.question.bucket_seconds, self.seen[start][0] if start in self.seen else 0)

    def table(self, times: str, row_count: int) -> Table:
        """Every bucket from the first row to the last; those at the ends only where the file knows all of them."""
        step = self.question.bucket_seconds
        first, last = min(self.seen), max(self.seen)
        span = (last - first) // step + 1
        if span > MOST_BUCKETS:
            raise Unusable(
                f"{span} buckets from the first row to the last; is a time wrong, or --bucket too short?"
            )
        typical = median(kept[1] for kept in self.seen.values())
        if self.is_counted and span > 2 * len(self.seen):
            raise Unusable(
                "most buckets have no row, which says neither 0 nor anything else: give --bucket the time between rows,"
                " or add rows of 0"
            )
        is_whole = {end: self.is_counted and self.seen[end][1] >= typical for end in (first, last)}
        starts = [start for start in range(first, last + 1, step) if is_whole.get(start, True)]
        filled = sum(start not in self.seen for start in starts)
        samples = [self.sample(start) for start in starts]
        return Table(samples, times, row_count, 0, filled, span - len(starts))
