"""What is said of a route, read: names become rows, text becomes matchers. Raises InvalidInput throughout."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.models import Channel, EscalationStep, Hours, Route
from monitoring.routing.matchers import InvalidMatcher, parse
from monitoring.routing.tree import ALL_LABELS
from triageops.rest import InvalidInput

STEPS_MAX = 10
STEP_MIN_SECONDS, STEP_MAX_SECONDS = 30, 7 * 86_400


def matchers_in(given: str | Sequence[str]) -> list[str]:
    """One text each, as they are stored. Raises InvalidInput."""
    texts = [given] if isinstance(given, str) else given
    try:
        return [str(matcher) for text in texts for matcher in parse(text)]
    except InvalidMatcher as error:
        raise InvalidInput(
            str(error), field="matchers", fix='Write for example severity="critical".'
        ) from None


def group_by_in(given: Sequence[str] | None) -> list[str] | None:
    if given is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in given if name.strip()))
    return [ALL_LABELS] if ALL_LABELS in names else names


def hours_named(name: str | None) -> Hours | None:
    found = Hours.objects.filter(name=name).first() if name else None
    if name and found is None:
        raise InvalidInput(f"There are no hours called “{name}”.", field="hours", fix="Make them first.")
    return found


def channels_named(names: Sequence[str], field: str) -> list[Channel]:
    rows = Channel.objects.filter(name__in=names)
    found = {row.name: row for row in rows.of_people()}
    missing = [name for name in names if name not in found]
    own = next((row for row in rows if row.name in missing), None)
    if own is not None:
        raise InvalidInput(
            f"“{own.name}” is the product's own channel, which tells nobody.",
            field=field,
            fix="Name a channel that somebody reads.",
        )
    if missing:
        raise InvalidInput(
            f"There is no channel called “{missing[0]}”.", field=field, fix="Name channels that exist."
        )
    return list(found.values())


def step_in(given: Mapping[str, Any]) -> tuple[int, list[Channel]]:
    return given["after_seconds"], channels_named(given["channels"], "steps")


def check_steps(steps: Sequence[tuple[int, list[Channel]]]) -> None:
    if len(steps) > STEPS_MAX:
        raise InvalidInput(f"The most are {STEPS_MAX} steps.", field="steps", fix="Leave some out.")
    times = [after for after, _ in steps]
    if times != sorted(set(times)):
        raise InvalidInput(
            "Each step comes later than the one before.", field="steps", fix="Put them in the order of time."
        )
    for after, channels in steps:
        if not STEP_MIN_SECONDS <= after <= STEP_MAX_SECONDS:
            raise InvalidInput(
                "A step comes after 30 seconds at the earliest and 7 days at the latest.",
                field="steps",
                fix="Correct its time.",
            )
        if not channels:
            raise InvalidInput("A step tells nobody.", field="steps", fix="Choose its channels.")


def set_steps(route: Route, steps: Sequence[tuple[int, list[Channel]]]) -> None:
    route.steps.all().delete()
    for number, (after, channels) in enumerate(steps, start=1):
        EscalationStep.objects.create(route=route, number=number, after_seconds=after).channels.set(channels)
