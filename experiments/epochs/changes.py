"""New weights, another coverage, new configs: each closes the open epoch and opens the next one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from experiments.assignment import BASIS_POINTS
from experiments.audit import Actor, changing, person
from experiments.definition import config_hash
from experiments.epochs.checks import (
    check_configs,
    check_coverage,
    check_kind,
    check_new_coverage,
    check_new_weights,
    check_weights,
    differing_configs,
    refuse_without_review,
)
from experiments.epochs.rows import current, following, reweighted_segments, segments_in
from experiments.models import (
    UNDER_WAY,
    AllocationEpoch,
    EpochKind,
    Experiment,
    RampStep,
    Variant,
    VariantVersion,
    new_salt,
)
from experiments.ranges import Segment, departures, first_segments, moves, recovered


def change_weights(
    experiment: Experiment,
    kind: EpochKind,
    weights_bp: Mapping[str, int],
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
) -> Experiment:
    """A new epoch with these weights. Raises NeedsReview, InvalidInput, InvalidTransition or Changed."""
    with changing(experiment, "change_weights", by=by, now=now, reason=reason, sources=UNDER_WAY) as change:
        one = change.experiment
        # The bandit itself, which nobody has to approve, is nobody.
        if by is not None or kind != EpochKind.BANDIT:
            check_kind(kind)
            refuse_without_review(one, is_approved=is_approved)
        variants = list(one.variants.order_by("position"))
        check_weights(variants, weights_bp)
        former = current(one)
        check_new_weights(former, kind, weights_bp)
        weights = {variant.key: weights_bp[variant.key] for variant in variants}
        changes = _dealt(former, variants, kind, weights)
        following(
            one, former, kind=kind, weights=weights, started_at=now, reason=reason, by=person(by), **changes
        )
        for variant in variants:
            if variant.weight_bp != weights[variant.key]:
                variant.weight_bp = weights[variant.key]
                variant.save(update_fields=["weight_bp"])
    return change.experiment


def _dealt(
    former: AllocationEpoch, variants: Sequence[Variant], kind: EpochKind, weights: Mapping[str, int]
) -> dict[str, Any]:
    """What the new epoch has of its own: its ranges, the buckets that moved, of a re-randomisation salt and phase."""
    if kind == EpochKind.RERANDOMISE:
        ranges = first_segments(list(weights), list(weights.values()), former.coverage_bp / BASIS_POINTS)
        return {"salt": new_salt(), "phase": former.phase + 1, "ranges": ranges, "moved": []}
    ranges = reweighted_segments(former, variants, weights)
    return {
        "ranges": ranges,
        "moved": moves(segments_in(former), ranges) if kind == EpochKind.MINIMAL_MOVE else [],
    }


def cover(
    experiment: Experiment,
    coverage_bp: int,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
    step: RampStep | None = None,
) -> Experiment:
    """A new epoch with this coverage: a larger one moves nobody, and with a smaller one who is in stays in.

    step: the step of the ramp that this is; when people raised the coverage so far already, it is reached without an epoch.
    """
    with changing(experiment, "change_coverage", by=by, now=now, reason=reason, sources=UNDER_WAY) as change:
        one = change.experiment
        if by is not None:
            refuse_without_review(one, is_approved=is_approved)
        check_coverage(coverage_bp)
        former = current(one)
        if step is None or coverage_bp > former.coverage_bp:
            check_new_coverage(former, coverage_bp)
            ranges = _recovered(one, former, coverage_bp)
            following(
                one, former, kind=EpochKind.COVERAGE, coverage_bp=coverage_bp, ranges=ranges,
                moved=departures(segments_in(former), ranges), started_at=now, reason=reason, by=person(by),
            )  # fmt: skip
            one.coverage_bp = coverage_bp
        if step is not None:
            step.reached_at = now
            step.save(update_fields=["reached_at"])
    return change.experiment


def _recovered(experiment: Experiment, former: AllocationEpoch, coverage_bp: int) -> list[Segment]:
    keys = list(experiment.variants.order_by("position").values_list("key", flat=True))
    weights = [former.weights[key] for key in keys]
    is_growing = coverage_bp >= former.coverage_bp
    return recovered(segments_in(former), keys, weights, coverage_bp / BASIS_POINTS, is_growing=is_growing)


def revise(
    experiment: Experiment,
    configs: Mapping[str, Any],
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
) -> Experiment:
    """New configs of some variants: a new version of each, and a new phase. Raises as `change_weights` does."""
    with changing(experiment, "revise", by=by, now=now, reason=reason, sources=UNDER_WAY) as change:
        one = change.experiment
        refuse_without_review(one, is_approved=is_approved)
        variants = {variant.key: variant for variant in one.variants.all()}
        check_configs(one, variants, configs)
        for key, config in differing_configs(variants, configs).items():
            _new_version(variants[key], config, by, now)
        former = current(one)
        versions = {key: variant.version for key, variant in variants.items()}
        following(
            one, former, kind=EpochKind.REVISION, phase=former.phase + 1, versions=versions, moved=[], started_at=now,
            reason=reason, by=person(by),
        )  # fmt: skip
    return change.experiment


def _new_version(variant: Variant, config: dict[str, Any], by: Actor, now: datetime) -> None:
    variant.config = config
    variant.version += 1
    variant.save(update_fields=["config", "version"])
    VariantVersion.objects.create(
        variant=variant,
        number=variant.version,
        config=config,
        config_hash=config_hash(config),
        created_at=now,
        by=person(by),
    )
