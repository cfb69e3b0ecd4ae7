"""Variants for named units: test accounts, support, a demonstration. They are flagged, and in no analysis.

They belong to what a review approves: in a draft one person names them, after it the two-person rule covers them.
"""

from datetime import datetime

from experiments.allocation import checked_unit
from experiments.audit import Actor, changing, person
from experiments.epochs.checks import refuse_without_review
from experiments.lifecycle import variant_of
from experiments.models import ENDED, Experiment, ForcedVariant, State
from triageops.rest import InvalidInput, NotFound

OPEN = tuple(state for state in State if state not in ENDED)
MOST = 1_000
"""Of one experiment: they are held in every process."""


def force(
    experiment: Experiment,
    unit: str,
    variant: str,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
) -> ForcedVariant:
    """Give this unit this variant from now on. Raises NeedsReview, InvalidInput, InvalidTransition or Changed."""
    checked_unit(unit)
    with changing(experiment, "force", by=by, now=now, reason=reason, sources=OPEN) as change:
        _refuse_without_review(change.experiment, is_approved=is_approved)
        chosen = variant_of(change.experiment, variant)
        standing = ForcedVariant.objects.standing().filter(experiment=change.experiment)
        if standing.exclude(unit=unit).count() >= MOST:
            raise InvalidInput(
                f"{MOST} units are forced already.", field="unit", fix="Use targeting for so many units."
            )
        _end(standing.filter(unit=unit).first(), now)
        return ForcedVariant.objects.create(
            experiment=change.experiment,
            unit=unit,
            variant=chosen,
            reason=reason[:200],
            by=person(by),
            created_at=now,
        )


def unforce(
    experiment: Experiment,
    unit: str,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
) -> Experiment:
    """Treat the unit as any other again; it stays out of the analysis. Raises NeedsReview or NotFound."""
    with changing(experiment, "unforce", by=by, now=now, reason=reason) as change:
        row = forced(change.experiment, unit)
        _refuse_without_review(change.experiment, is_approved=is_approved)
        _end(row, now)
    return change.experiment


def forced(experiment: Experiment, unit: str) -> ForcedVariant:
    """Raises NotFound for a unit that is not forced."""
    checked_unit(unit)
    row = ForcedVariant.objects.standing().filter(experiment=experiment, unit=unit).first()
    if row is None:
        raise NotFound(f"The unit {unit!r} is not forced.")
    return row


def _refuse_without_review(experiment: Experiment, *, is_approved: bool) -> None:
    refuse_without_review(experiment, is_approved=is_approved or experiment.is_draft)


def _end(row: ForcedVariant | None, now: datetime) -> None:
    if row is not None:
        row.removed_at = max(now, row.created_at)
        row.save(update_fields=["removed_at"])
