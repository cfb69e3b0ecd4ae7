"""What is kept of the rows of each bucket: exact sums and counts, so that the order of rows never matters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from monitoring.monitors.sample import Sample
from monitoring.offline.cells import LARGEST_COUNT, Columns, value_of, whole
from monitoring.offline.question import Kind, Question, Unusable
from triageops.stats.histogram import Bins, LogBins, UniformBins

MOST_BUCKETS = 1_000_000
_ONE = 1074
"""Every double is a whole number of 2^-1074."""
_BATCH = 50_000
UNIT = UniformBins(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Table:
    """The file as buckets, in the order of time. times: how timestamps were read.

    filled_count: buckets of a volume that no row speaks of, taken as 0. cut_count: incomplete ones at its ends, left out.
    """

    samples: list[Sample]
    times: str
    row_count: int
    missing_count: int
    filled_count: int = 0
    cut_count: int = 0


class Kept:
    """What is kept of the rows of each bucket; one class for each kind."""

    def __init__(self, question: Question, columns: Columns) -> None:
        self.question, self.columns = question, columns
        self.seen: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.missing: Counter[int] = Counter()

    @staticmethod
    def of(question: Question, columns: Columns) -> Kept:
        kinds: dict[Kind, Callable[[Question, Columns], Kept]] = {
            "distribution": _Values,
            "rate": _Successes,
            "volume": _Events,
        }
        return kinds[question.kind](question, columns)

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
        bounds = self.question.bounds
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{value:g} is outside the bounds {bounds[0]:g} and {bounds[1]:g}")
        numerator, denominator = value.as_integer_ratio()
        shift = _ONE - denominator.bit_length() + 1
        kept[0] += 1
        kept[1] += numerator << shift
        kept[2] += numerator * numerator << 2 * shift
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
            Fraction(total, 1 << _ONE),
            Fraction(squares, 1 << 2 * _ONE),
            {name: dict(sorted(self.counts[start][name].items()))},
            self.missing[start],
        )


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
        kept[0] += (
            _successes_of(text, value, n) if self.question.value_is == "share" else whole(text, "value")
        )
        kept[1] += n
        _refuse_too_many(kept[1])
        if self.question.value_is == "count" and value > n:
            raise ValueError(f"{text} successes among {n}")

    def sample(self, start: int) -> Sample:
        successes, n, _ = self.seen[start]
        return Sample.of_shares(start, self.question.bucket_seconds, successes, n)


def _successes_of(text: str, share: float, n: int) -> int:
    """Of a share that was rounded to the digits of its text."""
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share from 0 to 1")
    mantissa, _, power = text.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(power or 0)
    found = round(share * n)
    if abs(share * n - found) > 0.5 * n * 10.0 ** -max(0, digits) + 1e-9 * n:
        raise ValueError(f"a share of {text} among {n} is no whole number of successes")
    return found


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
