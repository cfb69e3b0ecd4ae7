"""What a change of weights would do to the units that are stored, before anybody makes it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connection

from experiments.assignment import BASIS_POINTS
from experiments.catalogue import compiled
from experiments.epochs.checks import check_new_weights, check_weights
from experiments.epochs.rows import current, reweighted_segments, segments_in
from experiments.models import EpochKind, Experiment
from experiments.placement import Stored, standing
from experiments.ranges import moves
from triageops.wording import count


@dataclass(frozen=True)
class Preview:
    """What a change of weights would do. moved_count: stored units that would change their variant."""

    kind: EpochKind
    stored_count: int
    moved_count: int
    restarts: bool
    sentences: tuple[str, ...]


def preview(experiment: Experiment, kind: EpochKind, weights_bp: Mapping[str, int]) -> Preview:
    """What `change_weights` would do to the units that are stored. Raises InvalidInput."""
    variants = list(experiment.variants.order_by("position"))
    check_weights(variants, weights_bp)
    former = current(experiment)
    check_new_weights(former, kind, weights_bp)
    groups = _stored(experiment)
    counts = Counter[str]()
    for (key, _), n in groups.items():
        counts[key] += n
    stored, moved = counts.total(), 0
    if kind == EpochKind.MINIMAL_MOVE:
        moved = _count_moved(
            groups, moves(segments_in(former), reweighted_segments(former, variants, weights_bp))
        )
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
