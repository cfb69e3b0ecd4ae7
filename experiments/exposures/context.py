"""What the collection must know of an experiment: its metrics' slots, its epochs, its variants' models and hashes."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from experiments.models import (
    AllocationEpoch,
    EpochKind,
    Experiment,
    ExperimentMetric,
    ForcedVariant,
    MetricType,
    Per,
    VariantVersion,
)
from experiments.outcomes import Outcome

_GRACE = timedelta(minutes=2)
"""A response that was under way when a variant changed was made with the former config."""


@dataclass(frozen=True)
class Slot:
    """One metric of an experiment as it is collected."""

    outcome: Outcome
    window: timedelta | None
    is_adjusted: bool
    is_quantile: bool


@dataclass(frozen=True)
class Epoch:
    """number, phase, and the floor: the epoch that dealt the units of this one."""

    number: int
    phase: int
    floor: int
    started_at: datetime
    salt: str
    versions: Mapping[str, int]


@dataclass(frozen=True)
class Context:
    """One experiment that has started."""

    id: int
    slots: tuple[Slot, ...]
    epochs: tuple[Epoch, ...]
    variants: Mapping[str, int]
    forced: frozenset[str]
    models: Mapping[tuple[str, int], tuple[str, str]]
    """(variant key, version) -> (model that the config names, config hash)"""

    @property
    def is_adjusted(self) -> bool:
        return any(slot.is_adjusted for slot in self.slots)

    def epoch_at(self, at: datetime) -> Epoch | None:
        """The epoch that stood at a moment; None before the start."""
        position = bisect_right([epoch.started_at for epoch in self.epochs], at)
        return self.epochs[position - 1] if position else None

    def epoch(self, number: int) -> Epoch:
        return self.epochs[number - 1]

    def hashes_at(self, variant: str, at: datetime) -> frozenset[str]:
        """Config hashes that a response of this moment may have."""
        moments = (at - _GRACE, at, at + _GRACE)
        epochs = [epoch for moment in moments if (epoch := self.epoch_at(moment)) is not None]
        return frozenset(self.models[variant, epoch.versions[variant]][1] for epoch in epochs)

    def model_at(self, variant: str, at: datetime) -> str:
        """The model that the variant's config named at a moment; empty when it names none."""
        epoch = self.epoch_at(at)
        return "" if epoch is None else self.models[variant, epoch.versions[variant]][0]


def contexts(keys: Collection[str]) -> dict[str, Context]:
    """Experiment key -> what is known of it, for those that have started; six queries for all of them."""
    experiments = list(Experiment.objects.filter(key__in=keys, started_at__isnull=False))
    ids = [one.pk for one in experiments]
    metrics: dict[int, list[ExperimentMetric]] = {}
    for metric in ExperimentMetric.objects.filter(experiment__in=ids).order_by("position", "id"):
        metrics.setdefault(metric.experiment_id, []).append(metric)
    epochs: dict[int, list[AllocationEpoch]] = {}
    for epoch in AllocationEpoch.objects.filter(experiment__in=ids).order_by("number"):
        epochs.setdefault(epoch.experiment_id, []).append(epoch)
    versions: dict[int, list[VariantVersion]] = {}
    rows = VariantVersion.objects.filter(variant__experiment__in=ids).select_related("variant")
    for version in rows:
        versions.setdefault(version.variant.experiment_id, []).append(version)
    forced: dict[int, set[str]] = {}
    for pk, unit in ForcedVariant.objects.filter(experiment__in=ids).values_list("experiment_id", "unit"):
        forced.setdefault(pk, set()).add(unit)
    return {
        one.key: _context(
            one.pk, metrics.get(one.pk, []), epochs[one.pk], versions[one.pk], forced.get(one.pk, set())
        )
        for one in experiments
    }


def _context(
    pk: int,
    metrics: Sequence[ExperimentMetric],
    epochs: Sequence[AllocationEpoch],
    versions: Sequence[VariantVersion],
    forced: set[str],
) -> Context:
    return Context(
        id=pk,
        slots=tuple(_slot(metric) for metric in metrics),
        epochs=tuple(_with_floors(epochs)),
        variants={version.variant.key: version.variant_id for version in versions},
        forced=frozenset(forced),
        models={
            (version.variant.key, version.number): (_model(version), version.config_hash)
            for version in versions
        },
    )


def _model(version: VariantVersion) -> str:
    found = version.config.get("model")
    return found if isinstance(found, str) else ""


def _slot(metric: ExperimentMetric) -> Slot:
    is_quantile = metric.kind == MetricType.QUANTILE
    return Slot(
        Outcome(metric.source, metric.per == Per.RESPONSE, metric.worth or 0.0),
        timedelta(days=metric.window_days) if metric.window_days else None,
        metric.is_adjusted and metric.kind not in {MetricType.QUANTILE, MetricType.RARE},
        is_quantile,
    )


def _with_floors(epochs: Sequence[AllocationEpoch]) -> list[Epoch]:
    found, floor = [], 1
    for epoch in epochs:
        if epoch.kind in {EpochKind.START, EpochKind.RERANDOMISE}:
            floor = epoch.number
        found.append(Epoch(epoch.number, epoch.phase, floor, epoch.started_at, epoch.salt, epoch.versions))
    return found
