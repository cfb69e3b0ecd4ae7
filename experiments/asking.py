"""What a client sends, as questions for allocation: which text is the unit, and which attributes targeting sees."""

from collections.abc import Iterable
from typing import NamedTuple

from experiments import allocation, catalogue
from experiments.allocation import Asked, Decision, checked_unit
from experiments.placement import Attributes, Definition
from triageops.rest import InvalidInput, Problem

MOST_UNITS = 1_000
"""Of one call."""

_EXACT = 2**53


class MissingUnit(InvalidInput):
    """The attribute that holds the unit of an experiment was not sent."""


class Answer(NamedTuple):
    """A unit with what became of it."""

    unit: str
    found: Decision | Problem


def unit_attribute(definition: Definition) -> str:
    """The attribute that holds the unit, by the name that GrowthBook's SDKs hash."""
    return definition.unit_attribute or "id"


def asked(definition: Definition, unit: str, attributes: Attributes) -> Asked:
    """A question about a unit that the caller names; targeting finds it where the SDKs have it."""
    if definition.condition is not None:
        attributes = {**attributes, unit_attribute(definition): unit}
    return Asked(definition, unit, attributes)


def asked_in_context(definition: Definition, context: Attributes) -> Asked:
    """A question of a caller whose attributes hold the unit; `id` is the caller's own. Raises MissingUnit, InvalidInput."""
    return Asked(definition, unit_in(definition, context), context)


def unit_in(definition: Definition, context: Attributes) -> str:
    """Numbers are units as GrowthBook's SDKs write them. Raises MissingUnit, and InvalidInput for what is no unit."""
    name = unit_attribute(definition)
    value = context.get(name)
    if type(value) is int and abs(value) <= _EXACT:
        # For the SDKs the number 0 is no unit.
        value = str(value) if value else ""
    if value is None or value == "":
        raise MissingUnit(
            f"The attribute {name!r}, which holds the unit of {definition.key}, is missing.",
            field=f"attributes.{name}",
            fix="Send it.",
        )
    if not isinstance(value, str):
        raise InvalidInput(
            f"The attribute {name!r}, which holds the unit of {definition.key}, is no text and no whole number.",
            field=f"attributes.{name}",
            fix="Send the id as text.",
        )
    return checked_unit(value)


def open_to(context: Attributes, keys: Iterable[str] | None) -> list[Definition]:
    """The running experiments that the caller has a unit for, or those that are named. Raises UnknownExperiment."""
    if keys is not None:
        return [allocation.known(key) for key in keys]
    return [
        one
        for one in catalogue.definitions().values()
        if one.is_running and context.get(unit_attribute(one)) not in (None, "")
    ]
