"""Which units an experiment could take in, from what is recorded of them.

A response does not record what kind its unit is of. What is known of it comes from the experiment that the response
belongs to, and from the attribute that holds the unit: of a response with clinic_id c-1 and unit p-7, the unit is no
clinic.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.backends.utils import CursorWrapper

from experiments import targeting
from experiments.models import Experiment, UnitKind
from experiments.placement import Attributes
from experiments.planning.sampling import Window
from experiments.planning.thinning import Member
from experiments.targeting.shapes import JUNCTIONS


class Latest(NamedTuple):
    """The last response of a unit in the window, and when it had its first."""

    first_at: datetime
    at: datetime
    experiment: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Population:
    """Of whom a plan speaks. Shares are of the window's units.

    unit_count: units of the window, estimated. other_kind_share: known to be of another kind, and left out.
    unknown_kind_share: of a kind that is not known, and kept. fitting_share: whom the targeting fits, of those kept;
    None without a targeting, and when it could not be checked. missing: attributes that the targeting asks for and no
    unit has. bare_share: units that lack some of these attributes, of those kept.
    """

    unit_count: float
    other_kind_share: float
    unknown_kind_share: float
    fitting_share: float | None
    missing: tuple[str, ...]
    bare_share: float


_LATEST = """
SELECT w.unit, (
    SELECT min(occurred_at) FROM feedback_response
    WHERE unit = w.unit AND unit <> '' AND occurred_at >= %(since)s AND occurred_at < %(until)s
), r.occurred_at, r.experiment, r.attributes FROM unnest(%(units)s::text[]) AS w (unit)
CROSS JOIN LATERAL (
    SELECT occurred_at, experiment, attributes FROM feedback_response
    WHERE unit = w.unit AND unit <> '' AND occurred_at >= %(since)s AND occurred_at < %(until)s
    ORDER BY occurred_at DESC LIMIT 1
) AS r
"""


def latest(cursor: CursorWrapper, units: Sequence[str], window: Window) -> dict[str, Latest]:
    """The last response of each unit."""
    cursor.execute(_LATEST, window.ends | {"units": units})
    return {
        unit: Latest(first_at, at, experiment, msgspec.json.decode(attributes, type=dict[str, Any]))
        for unit, first_at, at, experiment, attributes in cursor.fetchall()
    }


def taken_in(
    experiment: Experiment, units: Mapping[str, Member], seen: Mapping[str, Latest]
) -> tuple[dict[str, Member], Population]:
    """Those that the experiment could take in, and who they are of."""
    kind_of = kinds(experiment)
    is_own = {unit: kind_of(unit, seen[unit]) for unit in units}
    kept = {unit: one for unit, one in units.items() if is_own[unit] is not False}
    holder = experiment.unit_attribute or "id"
    names = asked_for(experiment.targeting) - {holder}
    have = {unit: {name for name in names if seen[unit].attributes.get(name) is not None} for unit in kept}
    missing = names.difference(*have.values())
    is_checked = bool(experiment.targeting) and not missing
    fits = _condition(experiment) if is_checked else _anybody
    fitting = {unit: one for unit, one in kept.items() if fits({**seen[unit].attributes, holder: unit})}
    total, kept_total = _sum(units), _sum(kept)
    return fitting, Population(
        unit_count=total,
        other_kind_share=_share(total - kept_total, total),
        unknown_kind_share=_share(_sum({unit: kept[unit] for unit in kept if is_own[unit] is None}), total),
        fitting_share=_share(_sum(fitting), kept_total) if is_checked else None,
        missing=tuple(sorted(missing)),
        bare_share=_share(_sum({unit: kept[unit] for unit in kept if have[unit] != names}), kept_total),
    )


def _sum(units: Mapping[str, Member]) -> float:
    return math.fsum(one.weight for one in units.values())


def _anybody(_: Attributes) -> bool:
    return True


def _nobody(_: Attributes) -> bool:
    return False


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole else 0.0


def _condition(experiment: Experiment) -> Callable[[Attributes], bool]:
    try:
        return targeting.compiled(experiment.targeting)
    except targeting.InvalidCondition:
        # As the catalogue has it: the experiment is for nobody.
        return _nobody


def kinds(experiment: Experiment) -> Callable[[str, Latest], bool | None]:
    """Whether a unit is of the experiment's kind; None: not known."""
    others = Experiment.objects.order_by().values_list("key", "unit_kind", "unit_attribute")
    own = _kind(experiment.unit_kind, experiment.unit_attribute)
    known = {key: _kind(kind, attribute) == own for key, kind, attribute in others}

    def of(unit: str, one: Latest) -> bool | None:
        held = one.attributes.get(experiment.unit_attribute) if experiment.unit_attribute else None
        if held is not None:
            return str(held) == unit
        return known.get(one.experiment)

    return of


def _kind(kind: str, attribute: str) -> tuple[str, str]:
    """Two experiments on “other” units are on the same ones only if the same attribute holds them."""
    return kind, attribute if kind == UnitKind.OTHER else ""


def asked_for(condition: object) -> set[str]:
    """The attributes that a condition looks at, each by the first part of its path."""
    if not isinstance(condition, dict):
        return set()
    found: set[str] = set()
    for name, value in condition.items():
        if name in JUNCTIONS:
            found |= _of_all(value if isinstance(value, list) else [])
        elif name == "$not":
            found |= asked_for(value)
        else:
            found.add(name.partition(".")[0])
    return found


def _of_all(conditions: Iterable[object]) -> set[str]:
    return set().union(*map(asked_for, conditions))
