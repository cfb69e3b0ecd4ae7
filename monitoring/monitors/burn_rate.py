"""Fires when an error budget is used up too fast, in a long and in a short window at once.

Source: Google, The Site Reliability Workbook (2018), chapter 5, “Multiwindow, multi-burn-rate alerts”. The burn rate is the
share of bad records over the share that the objective allows. It is a rule, not a test: nothing is promised about false
alarms, and nothing is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from monitoring.monitors.burn_windows import BurnRun
from monitoring.monitors.deviation import Deviation, Deviations
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable, values_of
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import State
from triageops.stats.moments import Moments


@dataclass(frozen=True)
class BurnRate:
    """Pages for fast burns, a ticket for slow ones."""

    name: ClassVar[str] = "burn_rate"
    title: ClassVar[str] = "burn rate: an error budget is used up too fast"
    learns: ClassVar[bool] = False
    is_dense: ClassVar[bool] = False
    compares: ClassVar[bool] = False

    objective: float = field(
        metadata={
            "help": "The share of records that has to be good, such as 0.999. Above 0.931 all three alarms can fire, above"
            " 0.834 the slower two."
        }
    )
    good_from: float | None = field(
        default=None,
        metadata={
            "help": "Where values are not 0 and 1: a record is good from this value on, or up to it where less is better."
        },
    )
    least_records: float = field(
        default=20.0,
        metadata={"help": "An alarm needs so many records in its short window."},
    )

    @property
    def level(self) -> float:
        """Of the share of bad records."""
        return 1 - self.objective

    @classmethod
    def read(cls, parameters: Mapping[str, object]) -> Self:
        values = values_of(cls, parameters)
        errors = {}
        if not 0 < values["objective"] < 1:
            errors["objective"] = "This must lie between 0 and 1."
        if values.get("least_records", 1.0) < 1:
            errors["least_records"] = "This must be 1 or more."
        if errors:
            raise InvalidParameters(errors)
        return cls(**values)

    def check(self, metric: Metric) -> None:
        if metric.shape == "volume":
            raise Unwatchable(f"“{metric.key}” is a volume: its values are no records that are good or bad.")
        if metric.is_higher_better is None:
            raise Unwatchable(f"Nobody has said yet whether more or less of “{metric.key}” is better.")
        if metric.shape not in {"share", "unknown"} and self.good_from is None:
            raise InvalidParameters(
                {"good_from": f"This is needed: the values of “{metric.key}” are not only 0 and 1."}
            )

    def learn(self, samples: Sequence[Sample], metric: Metric, *, zone: str) -> None:
        """Nothing."""

    def watch(self, metric: Metric, learnt: Learnt | None = None, *, is_compared: bool = False) -> BurnWatch:
        self.check(metric)
        return BurnWatch(
            1 - self.objective, bool(metric.is_higher_better), self.good_from, self.least_records
        )


@dataclass(frozen=True)
class BurnWatch:
    """budget: the share that may be bad, in (0, 1). What is shown is the share of bad records."""

    is_of_records: ClassVar[bool] = True
    recovers: ClassVar[bool] = True

    budget: float
    is_higher_better: bool
    good_from: float | None
    least_records: float

    def counts(self, sample: Sample) -> tuple[int, int]:
        """All records, and the bad ones. Raises ValueError for values other than 0 and 1 where those are asked for.

        With a limit, by bins; the one in which the limit lies is good.
        """
        if self.good_from is None:
            bad = sample.n - sample.successes if self.is_higher_better else sample.successes
            return sample.n, bad
        limit, n, bad = self.good_from, 0, 0
        for one in sample.histograms():
            for index, count in one.counts.items():
                n += count
                lower, middle, upper = (
                    one.scheme.lower(index),
                    one.scheme.middle(index),
                    one.scheme.upper(index),
                )
                bad += count if (upper < limit if self.is_higher_better else lower >= limit < middle) else 0
        return n, bad

    def resume(self, state: State) -> BurnRun:
        return BurnRun.from_json(self.budget, self.least_records, self.counts, state)

    def expected(self, sample: Sample) -> float:
        return self.budget

    def value(self, sample: Sample) -> float | None:
        n, bad = self.counts(sample)
        return bad / n if n else None

    def band(self, sample: Sample) -> tuple[float, float]:
        return 0.0, self.budget

    def deviations(self, sample: Sample) -> Deviations:
        """From half the budget, so that three quarters of it are in band, and settled is an interval within all of it."""
        n, bad = self.counts(sample)
        if not n:
            return ()
        usual, share = self.budget / 2, bad / n
        # Few records without a bad one do not prove that there will be none.
        spread = n * max(share * (1 - share), usual * (1 - usual))
        return (Deviation(Moments(n, share - usual, spread), usual, float(n), is_strict=True),)

    def complaint(self, label: str) -> str:
        return f"uses up its error budget too fast: {label}"

    def is_same_change(self, label: str, other: str) -> bool:
        """Faster or slower, it is the same budget."""
        return True
