"""The fields of an experiment that a definition may set, which of them when, and what they must be together."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from experiments.audit import InvalidTransition, is_same
from experiments.drafts.parts import PARTS
from experiments.drafts.values import invalid, set_value, time_of
from experiments.epochs import NeedsReview
from experiments.models import NOT_STARTED, Experiment, Layer
from triageops.rest import InvalidInput

FIELDS = (
    "name", "hypothesis", "unit_kind", "unit_attribute", "coverage_bp", "targeting", "layer_share_bp", "obeys_holdout",
    "design", "alpha", "correction", "minimum_sample", "planned_sample", "minimum_effect", "minimum_days",
    "requires_review", "auto_ship", "config_schema", "bandit_floor_bp", "bandit_hours", "planned_end_at", "starts_at",
    "stops_at",
)  # fmt: skip
NAMED = ("owner", "layer")
"""What a definition names by a word of its own: a username, a key."""

LATER_FIELDS = ("name", "hypothesis", "minimum_days", "planned_end_at", "stops_at", "auto_ship")
"""What may still be changed after the start, beside the owner: nothing of it changes what was promised before it."""

REVIEWED_FIELDS = frozenset({"auto_ship", "minimum_days", "stops_at"})
"""Of those, what decides something: under the two-person rule it stays as it was approved."""

READ_ONLY = (
    "key", "state", "epoch", "shipped_variant", "approved_version", "started_at", "stopped_at", "created_at",
)  # fmt: skip
"""What reading gives and only the experiment's life changes: an edit may send it back as it was read."""

_TIMES = ("starts_at", "stops_at")
_OTHER_WAYS = {
    "coverage_bp": "Change the coverage by POST …/coverage.",
    "variants": "Change weights by POST …/weights, and configs by POST …/variants/revise.",
}


def set_fields(experiment: Experiment, definition: Mapping[str, Any]) -> set[str]:
    """Takes over what the definition says, all but the parts; gives the names of what differs from before."""
    changed = set()
    for name, value in definition.items():
        if name in PARTS:
            continue
        if name in READ_ONLY:
            _check_unchanged(experiment, name, value)
            continue
        if name not in FIELDS and name not in NAMED:
            raise InvalidInput(
                f"The field {name!r} is not known.",
                field=name,
                fix=f"Use some of: {', '.join((*FIELDS, *NAMED, *PARTS))}.",
            )
        before = getattr(experiment, name)
        if name == "owner":
            experiment.owner = _owner(value, experiment.owner)
        elif name == "layer":
            experiment.layer = _layer(value)
        else:
            set_value(experiment, name, value)
        if not is_same(before, getattr(experiment, name)):
            changed.add(name)
    return changed


def _check_unchanged(experiment: Experiment, name: str, value: object) -> None:
    stored = getattr(experiment, name)
    given = time_of(value, name) if name.endswith("_at") else value
    is_new = experiment._state.adding
    if is_new or not is_same(stored, given):
        raise InvalidInput(
            f"{name} cannot be set: it follows from what is done with the experiment.",
            field=name,
            fix="Leave it out." if is_new else "Leave it out, or send it as it was read.",
        )


def _owner(username: object, former: User | None) -> User | None:
    if username is None or username == "":
        return None
    # Who owns it already may have left since.
    if former is not None and username == former.username:
        return former
    known = User.objects.filter(is_active=True)
    found = known.filter(username=username).first() if isinstance(username, str) else None
    if found is None:
        raise InvalidInput(
            f"There is no active user {username!r}.",
            field="owner",
            fix="Send the username of somebody who can sign in to the admin, or null for nobody.",
        )
    return found


def _layer(key: object) -> Layer | None:
    if key is None or key == "":
        return None
    found = Layer.objects.filter(key=key).first() if isinstance(key, str) else None
    if found is None:
        raise InvalidInput(f"There is no layer {key!r}.", field="layer", fix="Make it in the admin first.")
    return found


def check_allowed(experiment: Experiment, changed: Collection[str]) -> None:
    """Whether this may still be changed in this state. Raises InvalidTransition or NeedsReview."""
    if experiment.is_draft:
        return
    fixed = [name for name in (*FIELDS, *NAMED, *PARTS) if name in changed and name not in LATER_FIELDS]
    fixed = [name for name in fixed if name != "owner"]
    if fixed:
        raise InvalidTransition(
            f"The experiment {experiment.key} is {experiment.get_state_display()}: {', '.join(fixed)} cannot be edited.",
            field=fixed[0],
            fix=_other_way(experiment, fixed[0]),
        )
    if experiment.requires_review and not REVIEWED_FIELDS.isdisjoint(changed):
        raise NeedsReview(
            f"The two-person rule of this experiment covers {', '.join(sorted(REVIEWED_FIELDS))}.",
            field=min(REVIEWED_FIELDS.intersection(changed)),
            fix="Take it back to draft before the start; after it these stay.",
        )


def _other_way(experiment: Experiment, name: str) -> str:
    if experiment.state in NOT_STARTED:
        return "Take it back to draft first."
    if experiment.is_under_way and name in _OTHER_WAYS:
        return _OTHER_WAYS[name]
    return f"Edit only {', '.join((*LATER_FIELDS, 'owner'))}; for anything else make a clone."


def check_times(experiment: Experiment, changed: Collection[str], now: datetime) -> None:
    """What is to happen by itself lies ahead. Raises InvalidInput."""
    for name in _TIMES:
        at: datetime | None = getattr(experiment, name)
        if name in changed and at is not None and at <= now:
            raise InvalidInput(
                f"{name} has passed: {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.",
                field=name,
                fix="Send a time to come, or null; start and stop do it at once.",
            )
    starts, stops = experiment.starts_at, experiment.stops_at
    is_ahead = experiment.started_at is None and not set(_TIMES).isdisjoint(changed)
    if is_ahead and starts is not None and stops is not None and stops <= starts:
        raise InvalidInput(
            "It would stop before it starts.", field="stops_at", fix="Send a later time to stop, or null."
        )


def clean(experiment: Experiment, changed: Collection[str] | None = None) -> None:
    """The model's own checks of what has changed (None: of all). Raises InvalidInput."""
    others = {field.name for field in experiment._meta.concrete_fields}
    try:
        experiment.clean_fields(exclude=None if changed is None else others - set(changed))
        experiment.clean()
    except ValidationError as error:
        raise invalid(error, experiment) from None
