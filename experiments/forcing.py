"""Variants for named units: test accounts, support, a demonstration. They are flagged, and in no analysis."""

from datetime import datetime

from experiments.allocation import checked_unit
from experiments.audit import Actor, changing, person
from experiments.models import ENDED, Experiment, ForcedVariant, State
from triageops.rest import InvalidInput, NotFound

_OPEN = tuple(state for state in State if state not in ENDED)
MOST = 1_000
"""Of one experiment: they are held in every process."""


def force(
    experiment: Experiment, unit: str, variant: str, *, by: Actor, now: datetime, reason: str = ""
) -> ForcedVariant:
    """Give this unit this variant from now on. Raises InvalidInput, InvalidTransition or Changed."""
    checked_unit(unit)
    with changing(experiment, "force", by=by, now=now, reason=reason, sources=_OPEN) as change:
        chosen = change.experiment.variants.filter(key=variant).first()
        if chosen is None:
            raise InvalidInput(
                f"There is no variant {variant!r}.", field="variant", fix="Name one of its variants."
            )
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


def unforce(experiment: Experiment, unit: str, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Treat the unit as any other again; it stays out of the analysis. Raises NotFound."""
    with changing(experiment, "unforce", by=by, now=now, reason=reason) as change:
        row = ForcedVariant.objects.standing().filter(experiment=change.experiment, unit=unit).first()
        if row is None:
            raise NotFound(f"The unit {unit!r} is not forced.")
        _end(row, now)
    return change.experiment


def _end(row: ForcedVariant | None, now: datetime) -> None:
    if row is not None:
        row.removed_at = max(now, row.created_at)
        row.save(update_fields=["removed_at"])
