"""The rows of epochs: the open one, the first one, the one that follows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from experiments.assignment import BASIS_POINTS
from experiments.audit import Actor, person
from experiments.models import AllocationEpoch, EpochKind, Experiment, Variant
from experiments.ranges import Segment, first_segments, retargeted, reweighted


def current(experiment: Experiment) -> AllocationEpoch:
    """The open epoch, or the last one of an experiment that has ended."""
    return experiment.epochs.order_by("number").last() or AllocationEpoch()


def first(
    experiment: Experiment,
    variants: Sequence[Variant],
    filters: list[dict[str, Any]],
    *,
    by: Actor,
    now: datetime,
    reason: str,
) -> AllocationEpoch:
    """The epoch that a start opens; the experiment must be locked."""
    keys, weights = [one.key for one in variants], [one.weight_bp for one in variants]
    experiment.epoch = 1
    return AllocationEpoch.objects.create(
        experiment=experiment,
        number=1,
        phase=1,
        kind=EpochKind.START,
        salt=experiment.salt,
        coverage_bp=experiment.coverage_bp,
        weights=dict(zip(keys, weights, strict=True)),
        versions={one.key: one.version for one in variants},
        ranges=first_segments(keys, weights, experiment.coverage_bp / BASIS_POINTS),
        filters=filters,
        started_at=now,
        reason=reason,
        by=person(by),
    )


def close(experiment: Experiment, at: datetime) -> None:
    for epoch in experiment.epochs.filter(ended_at=None):
        epoch.ended_at = max(at, epoch.started_at)
        epoch.save(update_fields=["ended_at"])


def following(experiment: Experiment, former: AllocationEpoch, **changes: Any) -> AllocationEpoch:
    """Close the open epoch and open one that differs by `changes`; the experiment must be locked."""
    now: datetime = changes["started_at"]
    close(experiment, now)
    experiment.epoch = former.number + 1
    kept = ("phase", "salt", "coverage_bp", "weights", "versions", "ranges", "filters")
    values = {name: getattr(former, name) for name in kept} | changes
    values["started_at"] = max(now, former.started_at)
    return AllocationEpoch.objects.create(experiment=experiment, number=experiment.epoch, **values)


def reopen(experiment: Experiment, *, by: Actor, now: datetime, reason: str) -> AllocationEpoch:
    """The epoch after a halt: nothing changes but that guardrails watch it by itself; the experiment must be locked."""
    return following(
        experiment,
        current(experiment),
        kind=EpochKind.RESUME,
        moved=[],
        started_at=now,
        reason=reason,
        by=person(by),
    )


def segments_in(epoch: AllocationEpoch) -> list[Segment]:
    return [(str(key), int(first_), int(end)) for key, first_, end in epoch.ranges]


def reweighted_segments(
    epoch: AllocationEpoch, variants: Sequence[Variant], weights_bp: Mapping[str, int]
) -> list[Segment]:
    # By position: JSON has another order, and the order decides who gets the rest.
    weights = {variant.key: weights_bp[variant.key] for variant in variants}
    segments = segments_in(epoch)
    return retargeted(segments, reweighted(segments, epoch.weights, weights))
