"""What changes the way units are dealt while an experiment is under way: each change is an epoch, which never changes.

Three honest ways to change weights: *sticky* (who has a variant keeps it, newcomers come by the new weights), *minimal
move* (just as many units as must change their variant do, and leave the analysis), *re-randomise* (all are dealt anew with
another salt, and the analysis starts anew). A new config of a variant is another treatment: it starts the analysis anew,
with the units that were not exposed before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection

from experiments.assignment import BASIS_POINTS
from experiments.audit import Actor, changing, person
from experiments.catalogue import compiled
from experiments.definition import config_hash, in_percent, misfits, validate_config
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
from experiments.placement import Stored, standing
from experiments.ranges import (
    Segment,
    departures,
    first_segments,
    moves,
    recovered,
    retargeted,
    reweighted,
)
from triageops.rest import Conflict, InvalidInput
from triageops.wording import count

WEIGHT_KINDS = (EpochKind.STICKY, EpochKind.MINIMAL_MOVE, EpochKind.RERANDOMISE)


class NeedsReview(Conflict):
    """The experiment's two-person rule asks for somebody else's approval."""

    type = "needs-review"
    title = "Somebody else has to approve this"


@dataclass(frozen=True)
class Preview:
    """What a change of weights would do. moved_count: stored units that would change their variant."""

    kind: EpochKind
    stored_count: int
    moved_count: int
    restarts: bool
    sentences: tuple[str, ...]


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


def _next(experiment: Experiment, former: AllocationEpoch, **changes: Any) -> AllocationEpoch:
    """Close the open epoch and open one that differs by `changes`; the experiment must be locked."""
    now: datetime = changes["started_at"]
    close(experiment, now)
    experiment.epoch = former.number + 1
    kept = ("phase", "salt", "coverage_bp", "weights", "versions", "ranges", "filters")
    values = {name: getattr(former, name) for name in kept} | changes
    values["started_at"] = max(now, former.started_at)
    return AllocationEpoch.objects.create(experiment=experiment, number=experiment.epoch, **values)


def check_weights(variants: Sequence[Variant], weights_bp: Mapping[str, int]) -> None:
    keys = {variant.key for variant in variants}
    if set(weights_bp) != keys:
        raise InvalidInput(
            f"Weights are needed for {', '.join(sorted(keys))}.", field="weights", fix="Name each once."
        )
    weights = list(weights_bp.values())
    if any(type(weight) is not int or weight < 0 for weight in weights) or sum(weights) != BASIS_POINTS:
        raise InvalidInput(
            f"The weights {', '.join(map(str, weights))} are not basis points that sum to 10 000.",
            field="weights",
            fix="Make them whole numbers from 0 that sum to 10 000.",
        )


def check_coverage(coverage_bp: int) -> None:
    if type(coverage_bp) is not int or not 0 < coverage_bp <= BASIS_POINTS:
        raise InvalidInput(
            f"A coverage of {coverage_bp} basis points is none.",
            field="coverage_bp",
            fix="Send 1 to 10 000.",
        )


def check_kind(kind: str) -> EpochKind:
    if kind not in WEIGHT_KINDS:
        raise InvalidInput(
            f"{kind!r} is no way to change weights.",
            field="kind",
            fix=f"Use one of {', '.join(WEIGHT_KINDS)}.",
        )
    return EpochKind(kind)


def preview(experiment: Experiment, kind: EpochKind, weights_bp: Mapping[str, int]) -> Preview:
    """What `change_weights` would do to the units that are stored. Raises InvalidInput."""
    variants = list(experiment.variants.order_by("position"))
    check_weights(variants, weights_bp)
    former, groups = current(experiment), _stored(experiment)
    counts = Counter[str]()
    for (key, _), n in groups.items():
        counts[key] += n
    stored, moved = counts.total(), 0
    if kind == EpochKind.MINIMAL_MOVE:
        moved = _count_moved(groups, moves(_segments(former), _reweighted(former, variants, weights_bp)))
    elif kind == EpochKind.RERANDOMISE:
        covered = former.coverage_bp / BASIS_POINTS
        moved = round(sum(n * (1 - weights_bp[key] / BASIS_POINTS * covered) for key, n in counts.items()))
    return Preview(kind, stored, moved, kind == EpochKind.RERANDOMISE, _effects(kind, stored, moved))


_STORED = """
SELECT a.variant_id, round(a.bucket * 10000)::int, a.epoch, a.generation, count(*)
FROM experiments_assignment a
WHERE a.variant_id = ANY(%(variants)s) AND a.generation >= %(floor)s AND NOT EXISTS (
    SELECT FROM experiments_assignment later
    WHERE later.variant_id = ANY(%(variants)s) AND later.generation > %(floor)s
    AND later.unit = a.unit AND later.generation > a.generation
)
GROUP BY 1, 2, 3, 4
"""


def _stored(experiment: Experiment) -> Counter[tuple[str, int]]:
    """Units that have an arm now, by its key and the bucket, including those whose move is still to be stored."""
    found: Counter[tuple[str, int]] = Counter()
    for one in compiled([experiment.pk]):
        with connection.cursor() as cursor:
            cursor.execute(_STORED, {"variants": [arm.id for arm in one.arms], "floor": one.floor})
            rows = cursor.fetchall()
        positions = {arm.id: position for position, arm in enumerate(one.arms)}
        for variant_id, bucket, epoch, generation, n in rows:
            now = standing(one, Stored(positions[variant_id], bucket, epoch, generation))
            if now is not None:
                found[one.arms[now.arm].key, bucket] += n
    return found


def _count_moved(groups: Mapping[tuple[str, int], int], taken: Sequence[tuple[str, str, int, int]]) -> int:
    return sum(
        n
        for (key, bucket), n in groups.items()
        if any(source == key and first_ <= bucket < end for source, _, first_, end in taken)
    )


def _effects(kind: EpochKind, stored: int, moved: int) -> tuple[str, ...]:
    if kind == EpochKind.STICKY:
        return (
            f"Moves none of {count(stored)} units: each keeps its variant. Newcomers come by the new weights.",
            "The analysis goes on, with the new weights as a stratum of its own.",
            "Local SDKs can no longer work out who has which variant: their payload serves the control.",
        )
    if kind == EpochKind.MINIMAL_MOVE:
        return (
            f"Moves {count(moved)} of {count(stored)} units, the fewest that give the new weights; these leave the analysis.",
            "Everybody else keeps their variant, and the analysis goes on.",
            "Local SDKs work it out by themselves.",
        )
    return (
        f"Deals all units anew: about {count(moved)} of {count(stored)} get another variant, or leave a part of it uncovered.",
        "The analysis starts anew; what was found before stays to be read.",
        "Units carry over what they have seen, so a pause before it is wise.",
    )


def _segments(epoch: AllocationEpoch) -> list[Segment]:
    return [(str(key), int(first_), int(end)) for key, first_, end in epoch.ranges]


def _reweighted(
    epoch: AllocationEpoch, variants: Sequence[Variant], weights_bp: Mapping[str, int]
) -> list[Segment]:
    # By position: JSON has another order, and the order decides who gets the rest.
    weights = {variant.key: weights_bp[variant.key] for variant in variants}
    segments = _segments(epoch)
    return retargeted(segments, reweighted(segments, epoch.weights, weights))


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
            _refuse_without_review(one, is_approved=is_approved)
        variants = list(one.variants.order_by("position"))
        check_weights(variants, weights_bp)
        former = current(one)
        changes: dict[str, Any] = {"ranges": _reweighted(former, variants, weights_bp), "moved": []}
        if kind == EpochKind.MINIMAL_MOVE:
            changes["moved"] = moves(_segments(former), changes["ranges"])
        if kind == EpochKind.RERANDOMISE:
            keys = [variant.key for variant in variants]
            changes |= {"salt": new_salt(), "phase": former.phase + 1}
            coverage = former.coverage_bp / BASIS_POINTS
            changes["ranges"] = first_segments(keys, [weights_bp[key] for key in keys], coverage)
        weights = {variant.key: weights_bp[variant.key] for variant in variants}
        _next(
            one, former, kind=kind, weights=weights, started_at=now, reason=reason, by=person(by), **changes
        )
        for variant in variants:
            if variant.weight_bp != weights[variant.key]:
                variant.weight_bp = weights[variant.key]
                variant.save(update_fields=["weight_bp"])
    return change.experiment


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

    step: the step of the ramp that this is.
    """
    with changing(experiment, "change_coverage", by=by, now=now, reason=reason, sources=UNDER_WAY) as change:
        one = change.experiment
        if by is not None:
            _refuse_without_review(one, is_approved=is_approved)
        check_coverage(coverage_bp)
        former = current(one)
        segments, keys = (
            _segments(former),
            list(one.variants.order_by("position").values_list("key", flat=True)),
        )
        weights = [former.weights[key] for key in keys]
        is_growing = coverage_bp >= former.coverage_bp
        ranges = recovered(segments, keys, weights, coverage_bp / BASIS_POINTS, is_growing=is_growing)
        _next(
            one, former, kind=EpochKind.COVERAGE, coverage_bp=coverage_bp, ranges=ranges,
            moved=departures(segments, ranges), started_at=now, reason=reason, by=person(by),
        )  # fmt: skip
        one.coverage_bp = coverage_bp
        if step is not None:
            step.reached_at = now
            step.save(update_fields=["reached_at"])
    return change.experiment


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
        _refuse_without_review(one, is_approved=is_approved)
        variants = {variant.key: variant for variant in one.variants.all()}
        edited = _edited(one, variants, configs)
        for variant in edited:
            variant.version += 1
            VariantVersion.objects.create(
                variant=variant,
                number=variant.version,
                config=variant.config,
                config_hash=config_hash(variant.config),
                created_at=now,
                by=person(by),
            )
            variant.save(update_fields=["config", "version"])
        former = current(one)
        versions = {key: variant.version for key, variant in variants.items()}
        _next(
            one, former, kind=EpochKind.REVISION, phase=former.phase + 1, versions=versions, moved=[], started_at=now,
            reason=reason, by=person(by),
        )  # fmt: skip
    return change.experiment


def check_configs(
    experiment: Experiment, variants: Mapping[str, Variant], configs: Mapping[str, Any]
) -> None:
    """Raises InvalidInput for configs that these variants cannot have."""
    for key, config in configs.items():
        if key not in variants:
            raise InvalidInput(
                f"There is no variant {key!r}.", field=f"configs.{key}", fix="Name a variant of it."
            )
        try:
            validate_config(config)
        except ValidationError as error:
            raise InvalidInput(
                " ".join(error.messages), field=f"configs.{key}", fix="Correct this config."
            ) from None
        said = misfits(config, experiment.config_schema)
        if said:
            raise InvalidInput(
                f"The config of {key} does not fit the schema: {said[0]}",
                field=f"configs.{key}",
                fix="Send a config that fits.",
            )


def _edited(
    experiment: Experiment, variants: Mapping[str, Variant], configs: Mapping[str, Any]
) -> list[Variant]:
    check_configs(experiment, variants, configs)
    edited = [
        variants[key] for key, config in configs.items() if variants[key].config_hash != config_hash(config)
    ]
    if not edited:
        raise InvalidInput("No config differs from what it is.", field="configs", fix="Change at least one.")
    for variant in edited:
        variant.config = configs[variant.key]
    return edited


def _refuse_without_review(experiment: Experiment, *, is_approved: bool) -> None:
    if experiment.requires_review and not is_approved:
        raise NeedsReview(
            "The two-person rule of this experiment asks for somebody else's approval.",
            fix="Request the change in the admin; somebody else approves it there.",
        )


def describe_weights(weights_bp: Mapping[str, int]) -> str:
    """gpt-4 50 %, claude-2 30 %."""
    return ", ".join(f"{key} {in_percent(weight)}" for key, weight in weights_bp.items())
