"""What people and programs say of a monitor: made and changed, checked, under a lock."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction

from monitoring import budget, lifecycle, references
from monitoring.models import Channel, Monitor, MonitorState
from monitoring.questions import FIELDS, TRIED
from triageops.rest import Conflict, InvalidInput

log = structlog.get_logger(__name__)

PLAIN = (
    "name",
    "description",
    "severity",
    "channels",
    "runbook_url",
    "resolve_after_buckets",
    "recovery_n_min",
    "hold_seconds",
    "stale_after_days",
)
"""Of these a change touches no evidence."""

SETTABLE = (*PLAIN, *TRIED)
FIELDS_OF_ROW = tuple(name for name in SETTABLE if name != "channels")
Values = Mapping[str, Any]


class NameTaken(Conflict):
    """Another monitor has this name."""

    type = "name-taken"
    title = "Another monitor has this name"


class MonitorChanged(Conflict):
    """The monitor is not the one that the caller saw."""

    type = "monitor-changed"
    title = "Somebody changed the monitor meanwhile"


class NeedsReason(InvalidInput):
    """What a monitor that is watching asks is changed with a reason."""


class NothingToLearn(Conflict):
    """The past holds too little to say what is usual."""

    type = "nothing-to-learn"
    title = "There is nothing to learn from"


def create(values: Values, *, now: datetime) -> Monitor:
    """In the state learning. values: of SETTABLE, channels by name. Raises InvalidInput and NameTaken."""
    monitor = Monitor()
    named = _channels(values)
    _set(monitor, values)
    with _unique_name(monitor), transaction.atomic():
        _check(monitor)
        monitor.save()
        # Who says nothing of it wants somebody to hear of it.
        monitor.channels.set(Channel.objects.enabled().of_people() if named is None else named)
        transaction.on_commit(lambda: log.info("monitor.created", monitor_id=monitor.pk))
    return monitor


def edit(
    monitor_id: int,
    values: Values,
    *,
    by: User | None,
    reason: str = "",
    seen: str | None = None,
    now: datetime,
) -> Monitor:
    """Change what differs; what is as it is already counts as not said.

    seen: version_of the monitor that the caller saw. Another question resolves what is open and begins the evidence anew.
    Raises InvalidInput, NameTaken, MonitorChanged, NeedsReason, NothingToLearn and Monitor.DoesNotExist.
    """
    named = _channels(values)
    with transaction.atomic():
        monitor = Monitor.objects.select_for_update(no_key=True).get(pk=monitor_id)
        if seen is not None and seen != version_of(monitor):
            raise MonitorChanged(
                "It was changed since it was read.", fix="Read it again, then send the change."
            )
        changed = {
            name: values[name]
            for name in FIELDS_OF_ROW
            if name in values and values[name] != getattr(monitor, name)
        }
        if changed:
            _change(monitor, changed, by=by, reason=reason, now=now)
        if named is not None and {one.pk for one in named} != set(
            monitor.channels.values_list("pk", flat=True)
        ):
            monitor.channels.set(named)
    return monitor


def version_of(monitor: Monitor) -> str:
    """Of all that can be set; two monitors that are defined alike have the same."""
    said = {name: getattr(monitor, name) for name in FIELDS_OF_ROW}
    said["channels"] = sorted(channel.name for channel in monitor.channels.all())
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checked(clean: Callable[[], None]) -> None:
    """Raises InvalidInput for the first of what a model's validation refuses."""
    try:
        clean()
    except ValidationError as error:
        raise refusal(error) from None


def refusal(error: ValidationError, within: str = "") -> InvalidInput:
    """The first thing that is wrong, with its field; within: what stands before the field's name."""
    if not hasattr(error, "error_dict"):
        return InvalidInput(" ".join(error.messages))
    name, messages = next(iter(error.message_dict.items()))
    field = None if name == NON_FIELD_ERRORS else within + name
    return InvalidInput(" ".join(messages), field=field, fix="Correct this value; see /api/docs.")


def _check(monitor: Monitor) -> None:
    if Monitor.objects.filter(name=monitor.name).exclude(pk=monitor.pk).exists():
        raise _taken(monitor)
    checked(monitor.full_clean)


def _change(monitor: Monitor, changed: Values, *, by: User | None, reason: str, now: datetime) -> None:
    """The monitor is locked."""
    asked = [name for name in FIELDS if name in changed]
    if asked and monitor.is_watching and not reason.strip():
        raise NeedsReason(
            f"It is watching, and {', '.join(asked)} would change what it asks.",
            field="reason",
            fix="Say why; it stands with the new reference.",
        )
    _set(monitor, changed)
    _check(monitor)
    with _unique_name(monitor):
        plain = [name for name in changed if name not in asked]
        if plain:
            monitor.save(update_fields=plain)
        if asked:
            _ask(monitor, changed, by=by, reason=reason, now=now)
    if {"weight", "alarms_per_30_days"} & changed.keys():
        _share_anew(monitor)


def _ask(monitor: Monitor, changed: Values, *, by: User | None, reason: str, now: datetime) -> None:
    question = {name: _as_json(value) for name, value in changed.items()}
    try:
        lifecycle.change(monitor, question, by=by, reason=reason, now=now)
    except references.NothingToLearn as error:
        raise NothingToLearn(str(error), fix="Choose another stretch of time or other records.") from None
    except ValidationError as error:
        raise refusal(error) from None


def _as_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _share_anew(monitor: Monitor) -> None:
    # What a backtest promised was of another budget.
    if monitor.state == MonitorState.BACKTESTED and not lifecycle.is_tried(monitor):
        monitor.state = MonitorState.LEARNING
        monitor.save(update_fields=["state"])
    if monitor.is_watching:
        budget.share_if_active(monitor)
        monitor.save(update_fields=["whole_alarms", "slice_alarms"])
    budget.redistribute_after_commit()


def _set(monitor: Monitor, values: Values) -> None:
    for name in FIELDS_OF_ROW:
        if name in values:
            setattr(monitor, name, values[name])


@contextmanager
def _unique_name(monitor: Monitor) -> Iterator[None]:
    """For the other one who takes the name between our look and our write."""
    try:
        yield
    except IntegrityError as error:
        if "monitor_name" not in str(error):
            raise
        raise _taken(monitor) from None


def _taken(monitor: Monitor) -> NameTaken:
    return NameTaken(f"There is a monitor called “{monitor.name}”.", field="name", fix="Use another name.")


def _channels(values: Values) -> list[Channel] | None:
    """None when nothing is said of them."""
    if "channels" not in values:
        return None
    names = set(values["channels"])
    found = list(Channel.objects.of_people().filter(name__in=names))
    missing = names - {channel.name for channel in found}
    if missing:
        raise InvalidInput(
            f"There is no channel called “{min(missing)}”.",
            field="channels",
            fix="Channels are made in the admin.",
        )
    return found
