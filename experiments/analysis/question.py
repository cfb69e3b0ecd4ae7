"""What one look asks: the experiment's metrics, arms and plans as they stand, and what the look before said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from experiments.analysis.inference import Plan
from experiments.models import (
    AllocationEpoch,
    Design,
    Experiment,
    ExperimentMetric,
    LookEstimate,
    MetricType,
    Role,
    SequentialPlan,
    Variant,
)

Place = tuple[str, str]
"""metric key, variant key"""


@dataclass
class Estimate:
    """One metric of one arm in one look: the columns of LookEstimate."""

    metric: str
    variant: str
    n: int = 0
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    effect: float | None = None
    se: float | None = None
    information: float | None = None
    log_e: float | None = None
    p_any: float | None = None
    p_corrected: float | None = None
    low: float | None = None
    high: float | None = None
    boundary: float | None = None
    z: float | None = None
    verdict: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Question:
    """Everything that is read once for a look. epochs: of the phase, in order. new_plans: made in this look."""

    experiment: Experiment
    phase: int
    epochs: Sequence[AllocationEpoch]
    variants: Sequence[Variant]
    metrics: Sequence[ExperimentMetric]
    plans: dict[Place, Plan]
    former: Mapping[Place, LookEstimate]
    now: datetime
    new_plans: list[SequentialPlan] = field(default_factory=list)
    strata: tuple[int, ...] = ()
    """Numbers of the epochs of which the sums are, in their order."""
    rows: list[Estimate] = field(default_factory=list)
    """What this look found so far."""

    @property
    def control(self) -> Variant:
        return next(variant for variant in self.variants if variant.is_control)

    @property
    def treatments(self) -> list[Variant]:
        return [variant for variant in self.variants if not variant.is_control]

    @property
    def family(self) -> list[ExperimentMetric]:
        """The metrics about which something may be claimed; guardrails have an error rate of their own."""
        return [metric for metric in self.metrics if metric.role != Role.GUARDRAIL]

    @property
    def corrected_alpha(self) -> float:
        """The experiment's error rate, shared by all comparisons of the family."""
        return self.experiment.alpha / max(1, len(self.family) * len(self.treatments))

    @property
    def is_group_sequential(self) -> bool:
        return self.experiment.design == Design.GROUP_SEQUENTIAL

    @property
    def is_bandit(self) -> bool:
        return self.experiment.design == Design.BANDIT

    def alpha_of(self, metric: ExperimentMetric) -> float:
        if metric.role != Role.GUARDRAIL:
            return self.corrected_alpha
        return metric.alpha or self.experiment.alpha

    def planned_pair(self, n_pair: int, n_all: int) -> int | None:
        """Units of two arms at the planned end, when they grow as all do; None when nothing is planned."""
        planned = self.experiment.planned_sample
        return None if planned is None or not n_all else max(1, round(planned * n_pair / n_all))

    def plan(
        self,
        metric: str,
        variant: str,
        *,
        se: float,
        n: int,
        planned_n: int | None,
        alpha: float,
        sides: int = 2,
    ) -> Plan:
        """The plan of this comparison, made now if this is its first look."""
        found = self.plans.get((metric, variant))
        if found is None:
            found = Plan.at_first_look(se=se, n=n, planned_n=planned_n, alpha=alpha, sides=sides)
            self.plans[metric, variant] = found
            self.new_plans.append(
                SequentialPlan(
                    experiment=self.experiment,
                    phase=self.phase,
                    metric=metric,
                    variant=variant,
                    alpha=found.alpha,
                    tau2=found.tau2,
                    planned_information=found.planned_information,
                    planned_at=self.now,
                )
            )
        return found


def question(experiment: Experiment, now: datetime) -> Question:
    """Read what a look needs; six queries."""
    all_epochs = list(experiment.epochs.order_by("number"))
    phase = all_epochs[-1].phase
    last = experiment.looks.filter(phase=phase).first()
    former = {} if last is None else {(row.metric, row.variant): row for row in last.estimates.all()}
    plans = {
        (row.metric, row.variant): Plan(row.alpha, row.tau2, row.planned_information)
        for row in experiment.plans.filter(phase=phase)
    }
    return Question(
        experiment=experiment,
        phase=phase,
        epochs=all_epochs,
        variants=list(experiment.variants.order_by("position")),
        metrics=list(experiment.metrics.order_by("position", "id")),
        plans=plans,
        former=former,
        now=now,
    )


def is_proportion(metric: ExperimentMetric) -> bool:
    return metric.kind in {MetricType.PROPORTION, MetricType.RARE}
