"""The two-person rule for what is under way: one person asks for a change, another decides it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from experiments import epochs
from experiments.audit import changing
from experiments.lifecycle import NeedsPerson
from experiments.models import UNDER_WAY, ChangeRequest, EpochKind, Experiment
from triageops.rest import InvalidInput

ACTIONS = {"change_weights": ("kind", "weights"), "change_coverage": ("coverage_bp",), "revise": ("configs",)}
"""With the arguments of each."""


def request(
    experiment: Experiment,
    action: str,
    arguments: dict[str, Any],
    *,
    by: User,
    now: datetime,
    reason: str = "",
) -> ChangeRequest:
    """Ask for a change. Raises InvalidInput for one that could not be done."""
    _check(experiment, action, arguments)
    with changing(experiment, "request_change", by=by, now=now, reason=reason, sources=UNDER_WAY) as change:
        return ChangeRequest.objects.create(
            experiment=change.experiment,
            action=action,
            arguments=arguments,
            reason=reason,
            requested_by=by,
            requested_at=now,
        )


def _check(experiment: Experiment, action: str, arguments: Mapping[str, Any]) -> None:
    """Refuse now what the approval would come upon."""
    if action not in ACTIONS:
        raise InvalidInput(
            f"{action!r} is no change.", field="action", fix=f"Use one of {', '.join(ACTIONS)}."
        )
    if set(arguments) != set(ACTIONS[action]):
        names = " and ".join(ACTIONS[action])
        raise InvalidInput(f"This change needs {names}.", field="arguments", fix="Send exactly these.")
    variants = {variant.key: variant for variant in experiment.variants.all()}
    if action == "change_coverage":
        epochs.check_coverage(arguments["coverage_bp"])
    elif action == "change_weights":
        epochs.check_kind(arguments["kind"])
        epochs.check_weights(list(variants.values()), _object(arguments, "weights"))
    else:
        epochs.check_configs(experiment, variants, _object(arguments, "configs"))


def _object(arguments: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = arguments[name]
    if not isinstance(found, dict):
        raise InvalidInput(f"{name} is no object.", field=name, fix="Send a value for each variant.")
    return found


def decide(
    asked: ChangeRequest, *, is_approved: bool, by: User, now: datetime, reason: str = ""
) -> Experiment:
    """Approve, and do it, or refuse. Raises NeedsPerson for the requester's own approval, and what the change raises."""
    experiment = asked.experiment
    if asked.decided_at is not None:
        raise NeedsPerson("This was decided before.", fix="Ask for the change again.")
    if is_approved and asked.requested_by_id == by.pk:
        raise NeedsPerson("Who asks for a change cannot approve it.", fix="Let somebody else decide.")
    action = "approve_change" if is_approved else "refuse_change"
    # As one: what cannot be done any more is not approved either.
    with transaction.atomic():
        with changing(experiment, action, by=by, now=now, reason=reason) as change:
            found = ChangeRequest.objects.select_for_update().get(pk=asked.pk)
            if found.decided_at is not None:
                raise NeedsPerson("This was decided before.", fix="Ask for the change again.")
            found.decided_by, found.decided_at, found.is_approved = by, now, is_approved
            found.save()
        if not is_approved:
            return change.experiment
        return _do(change.experiment, found, by, now)


def _do(experiment: Experiment, asked: ChangeRequest, by: User, now: datetime) -> Experiment:
    given = asked.arguments
    common: dict[str, Any] = {"by": by, "now": now, "reason": asked.reason, "is_approved": True}
    if asked.action == "change_weights":
        return epochs.change_weights(experiment, EpochKind(given["kind"]), given["weights"], **common)
    if asked.action == "change_coverage":
        return epochs.cover(experiment, given["coverage_bp"], **common)
    return epochs.revise(experiment, given["configs"], **common)
