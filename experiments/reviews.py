"""The two-person rule for what no draft is any more: one person asks for a change, another decides it.

It covers what gives users another config or makes it count: weights, coverage, configs, forced units, and shipping. Pausing,
stopping, the kill switch and taking a shipped variant back need one person only: safety must never wait.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from experiments import epochs, forcing, lifecycle
from experiments.allocation import checked_unit
from experiments.audit import changing
from experiments.lifecycle import NeedsPerson
from experiments.models import UNDER_WAY, ChangeRequest, EpochKind, Experiment, State
from triageops.rest import InvalidInput

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """One change. names: its arguments. sources: the states in which it can be asked for.

    check: raises InvalidInput or NotFound for what the approval would come upon. do: makes the change.
    """

    names: tuple[str, ...]
    sources: tuple[State, ...]
    check: Callable[[Experiment, Arguments], object]
    do: Callable[..., object]


def asks_another(experiment: Experiment, action: str) -> bool:
    """Whether the two-person rule wants somebody else to approve this change of the experiment as it is."""
    return experiment.requires_review and not experiment.is_draft and action in ACTIONS


def request(
    experiment: Experiment,
    action: str,
    arguments: dict[str, Any],
    *,
    by: User,
    now: datetime,
    reason: str = "",
) -> ChangeRequest:
    """Ask for a change. Raises InvalidInput or NotFound for one that could not be done."""
    sources = _check(experiment, action, arguments)
    with changing(experiment, "request_change", by=by, now=now, reason=reason, sources=sources) as change:
        asked = ChangeRequest.objects.create(
            experiment=change.experiment,
            action=action,
            arguments=arguments,
            reason=reason,
            requested_by=by,
            requested_at=now,
        )
        change.evidence = _evidence(asked)
        return asked


def _evidence(asked: ChangeRequest) -> dict[str, Any]:
    """What the audit keeps of a request: the state before and after is the same."""
    return {"request": asked.pk, "action": asked.action, "arguments": asked.arguments}


def _check(experiment: Experiment, action: str, arguments: Arguments) -> tuple[State, ...]:
    """Refuse now what the approval would come upon; gives the states in which it can be asked for."""
    kind = ACTIONS.get(action)
    if kind is None:
        raise InvalidInput(
            f"{action!r} is no change.", field="action", fix=f"Use one of {', '.join(ACTIONS)}."
        )
    if set(arguments) != set(kind.names):
        names = " and ".join(kind.names)
        raise InvalidInput(f"This change needs {names}.", field="arguments", fix="Send exactly these.")
    kind.check(experiment, arguments)
    return kind.sources


def _check_weights(experiment: Experiment, given: Arguments) -> None:
    kind, weights = epochs.check_kind(given["kind"]), _object(given, "weights")
    epochs.check_weights(list(experiment.variants.all()), weights)
    epochs.check_new_weights(epochs.current(experiment), kind, weights)


def _check_coverage(experiment: Experiment, given: Arguments) -> None:
    epochs.check_coverage(given["coverage_bp"])
    epochs.check_new_coverage(epochs.current(experiment), given["coverage_bp"])


def _check_configs(experiment: Experiment, given: Arguments) -> None:
    variants = {variant.key: variant for variant in experiment.variants.all()}
    epochs.check_configs(experiment, variants, _object(given, "configs"))


def _check_forced(experiment: Experiment, given: Arguments) -> None:
    checked_unit(_text(given, "unit"))
    lifecycle.variant_of(experiment, _text(given, "variant"))


def _object(arguments: Arguments, name: str) -> dict[str, Any]:
    found = arguments[name]
    if not isinstance(found, dict):
        raise InvalidInput(f"{name} is no object.", field=name, fix="Send a value for each variant.")
    return found


def _text(arguments: Arguments, name: str) -> str:
    found = arguments[name]
    if not isinstance(found, str):
        raise InvalidInput(f"{name} is no text.", field=name, fix="Send text.")
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
            change.evidence = _evidence(found)
        if is_approved:
            ACTIONS[found.action].do(
                change.experiment, found.arguments, by=by, now=now, reason=found.reason, is_approved=True
            )
    return Experiment.objects.get(pk=experiment.pk)


def _change_weights(experiment: Experiment, given: Arguments, **common: Any) -> None:
    epochs.change_weights(experiment, EpochKind(given["kind"]), given["weights"], **common)


ACTIONS = {
    "change_weights": Kind(("kind", "weights"), UNDER_WAY, _check_weights, _change_weights),
    "change_coverage": Kind(
        ("coverage_bp",),
        UNDER_WAY,
        _check_coverage,
        lambda one, given, **common: epochs.cover(one, given["coverage_bp"], **common),
    ),
    "revise": Kind(
        ("configs",),
        UNDER_WAY,
        _check_configs,
        lambda one, given, **common: epochs.revise(one, given["configs"], **common),
    ),
    "ship": Kind(
        ("variant",),
        tuple(lifecycle.SHIP.sources),
        lambda one, given: lifecycle.variant_of(one, _text(given, "variant")),
        lambda one, given, **common: lifecycle.ship(one, given["variant"], **common),
    ),
    "force": Kind(
        ("unit", "variant"),
        tuple(state for state in forcing.OPEN if state != State.DRAFT),
        _check_forced,
        lambda one, given, **common: forcing.force(one, given["unit"], given["variant"], **common),
    ),
    "unforce": Kind(
        ("unit",),
        tuple(state for state in State if state != State.DRAFT),
        lambda one, given: forcing.forced(one, _text(given, "unit")),
        lambda one, given, **common: forcing.unforce(one, given["unit"], **common),
    ),
}
"""What the rule covers; the migration that asks for the second person knows the same names."""
