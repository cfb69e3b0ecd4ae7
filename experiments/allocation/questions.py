"""What is asked about a unit, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from experiments import catalogue
from experiments.definition import UNIT_MAX
from experiments.placement import Attributes, Definition, Reason
from triageops.rest import InvalidInput, NotFound


class UnknownExperiment(NotFound):
    type = "unknown-experiment"
    title = "There is no such experiment"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no experiment with the key {key!r}.",
            field="key",
            fix="GET /api/v1/experiments lists all of them.",
        )


class Asked(NamedTuple):
    """One unit that asks one experiment for its variant."""

    definition: Definition
    unit: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Decision:
    """What a client does with one unit.

    variant: None only for a draft without a control. bucket: in [0, 1), None while nobody is assigned. assigned_at: when
    the unit was first seen, None outside the experiment, and when somebody only looks at what a new unit would get.
    """

    experiment: str
    variant: str | None
    config: Mapping[str, Any]
    in_experiment: bool
    reason: Reason
    bucket: float | None = None
    assigned_at: datetime | None = None
    config_hash: str = ""
    variant_version: int | None = None
    epoch: int | None = None


def known(key: str) -> Definition:
    found = catalogue.find(key)
    if found is None:
        raise UnknownExperiment(key)
    return found


def checked_unit(unit: str) -> str:
    if not unit:
        raise InvalidInput(
            "The unit is empty.", field="unit", fix="Send the pseudonymous id of the user or case."
        )
    if len(unit) > UNIT_MAX:
        raise InvalidInput(
            f"The unit has {len(unit)} characters; the most is {UNIT_MAX}.",
            field="unit",
            fix="Send a shorter id, for instance its SHA-256 in hexadecimal.",
        )
    if (not unit.isascii() and any("\ud800" <= character <= "\udfff" for character in unit)) or "\0" in unit:
        raise InvalidInput(
            "The unit holds a NUL character or half a surrogate pair.",
            field="unit",
            fix="Send text that is valid Unicode without U+0000.",
        )
    return unit
