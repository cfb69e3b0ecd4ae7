"""Kinds that learn nothing: the whole file is watched, and what is usual is what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.monitors.burn_rate import BurnRate, BurnWatch
from monitoring.monitors.kind import InvalidParameters, Metric
from monitoring.monitors.never import Never, NeverWatch
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.watch import Watch
from monitoring.offline.question import Question, Unusable


def fixed_watch(question: Question) -> Watch:
    """Raises Unusable for parameters that do not fit."""
    metric = Metric(
        "value",
        bounds=question.bounds or (0.0, 1.0),
        is_higher_better=question.worse_is == "lower",
        shape="share" if question.are_shares else "score",
    )
    try:
        if question.kind == "slo_guard":
            guard = {"level": question.level, "margin": question.margin}
            return SloGuard.read(guard).watch(metric)
        if question.kind == "burn_rate":
            return BurnRate.read({"objective": question.objective}).watch(metric)
        return Never().watch(metric)
    except InvalidParameters as error:
        problems = [f"--{name}: {message}" for name, message in error.errors.items()]
        raise Unusable(" ".join(problems)) from error


class Asked:
    """In the place of what a reference shows (monitoring.offline.usual)."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def of(self, samples: Sequence[Sample]) -> float:
        return self.watch.expected(samples[0])

    def measured(self, label: str, samples: Sequence[Sample]) -> tuple[str, float, float]:
        """(measure, as asked for, now)."""
        now, usual = Sample.merge(samples), self.of(samples)
        if isinstance(self.watch, NeverWatch):
            return "records", usual, float(self.watch.events(now))
        measure = "share of bad records" if isinstance(self.watch, BurnWatch) else "mean"
        value = self.watch.value(now)
        return measure, usual, usual if value is None else value
