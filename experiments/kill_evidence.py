"""What the kill switch freezes beside its headline: who is affected, and what was found last. Nothing here may hold it up."""

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import Subquery

from experiments.models import Experiment, Look, Variant
from triageops.wording import plural

log = structlog.get_logger(__name__)

MOST_COUNTED = 10_000
"""Of one variant."""
_MILLISECONDS = 200
"""How long a single question may take."""


def known(experiment: Experiment) -> dict[str, Any]:
    """Who is affected and what was found last, as a halt freezes it; empty when the database does not say it at once."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {_MILLISECONDS}")
            variants = list(experiment.variants.order_by("position"))
            look = _last_look(experiment)
            units, source = _units_at(look, variants), "last look"
            if not any(units.values()):
                units, source = _assigned(variants), "assigned"
            # Nothing was written; the limit ends here also within a larger transaction.
            transaction.set_rollback(True)
    except (DatabaseError, KeyError, TypeError):
        log.warning("kill.evidence_missing", experiment=experiment.key, exc_info=True)
        return {}
    treated = {one.key: units[one.key] for one in variants if not one.is_control}
    is_capped = source == "assigned" and MOST_COUNTED in units.values()
    return {
        "control": next((one.key for one in variants if one.is_control), ""),
        "affected_count": sum(treated.values()),
        "affected": ("at least " if is_capped else "")
        + ", ".join(f"{plural(n, 'unit')} of {key}" for key, n in treated.items()),
        "units": units,
        "units_source": source,
        "units_are_at_least": is_capped,
        "look": look
        and {
            "id": look.pk,
            "at": look.at.isoformat(),
            "decision": look.decision,
            "variant": look.variant,
            "sentence": look.sentence,
        },
    }


def _last_look(experiment: Experiment) -> Look | None:
    """Of the current phase."""
    phase = experiment.epochs.order_by("-number").values("phase")[:1]
    return experiment.looks.filter(phase=Subquery(phase)).order_by("-id").first()


def _units_at(look: Look | None, variants: Sequence[Variant]) -> dict[str, int]:
    traffic = [] if look is None else look.health["traffic"]
    return {one.key: sum(row["units"] for row in traffic if row["variant"] == one.key) for one in variants}


def _assigned(variants: Sequence[Variant]) -> dict[str, int]:
    """Units that ever got each variant; counted up to MOST_COUNTED, so that millions cost no more."""
    return {one.key: one.assignments.order_by()[:MOST_COUNTED].count() for one in variants}
