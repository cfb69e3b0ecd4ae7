"""The lists of a definition: variants, metrics, steps of the ramp. A list that is given replaces the one that was."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from experiments.audit import METRIC_FIELDS, is_same
from experiments.definition import misfits
from experiments.drafts.values import invalid, set_value
from experiments.models import Experiment, ExperimentMetric, RampStep, Variant
from experiments.placement import MAX_ARMS
from triageops.rest import InvalidInput

PARTS = ("variants", "metrics", "ramp")
_MODELS: Mapping[str, type[Variant] | type[ExperimentMetric] | type[RampStep]] = {
    "variants": Variant,
    "metrics": ExperimentMetric,
    "ramp": RampStep,
}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "variants": ("key", "is_control", "weight_bp", "config"),
    "metrics": METRIC_FIELDS,
    "ramp": ("coverage_bp", "after_hours", "after_units"),
}
_READ_ONLY: Mapping[str, frozenset[str]] = {
    "variants": frozenset({"version", "config_hash"}),
    "metrics": frozenset(),
    "ramp": frozenset({"reached_at"}),
}
"""What reading gives and nobody sets: it may be sent back, and is ignored."""

_WORDS = {"variants": "variant", "metrics": "metric", "ramp": "step"}
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "variants": {
        "key": 'Send what clients know it by, such as "gpt-4".',
        "weight_bp": "Send basis points, such as 5000 for a half; those of all variants sum to 10 000.",
    },
    "metrics": {
        "key": 'Send a short name, such as "win_share".',
        "name": 'Send what people read, such as "win share", or leave it out: then it is the key.',
        "source": 'Send what it is of, such as "feedback:positive".',
    },
    "ramp": {"coverage_bp": "Send basis points, such as 5000 for a half of all units."},
}


def set_parts(experiment: Experiment, definition: Mapping[str, Any]) -> None:
    """Replaces the lists that the definition has. Raises InvalidInput."""
    if "variants" in definition:
        _replace_variants(experiment, _objects(definition, "variants"))
    for name in ("metrics", "ramp"):
        if name in definition:
            _replace(experiment, name, _objects(definition, name))


def differing_parts(experiment: Experiment, definition: Mapping[str, Any]) -> set[str]:
    """The lists of the definition that are not what is stored."""
    return {
        name
        for name in PARTS
        if name in definition and not _is_stored(experiment, name, _objects(definition, name))
    }


def _is_stored(experiment: Experiment, name: str, rows: Sequence[dict[str, Any]]) -> bool:
    stored = list(getattr(experiment, name).order_by("position"))
    if len(stored) != len(rows):
        return False
    for position, (row, one) in enumerate(zip(rows, stored, strict=True)):
        # A variant keeps what the row does not say; metrics and steps are made anew.
        given = copy(one) if name == "variants" else _MODELS[name]()
        _set(given, name, row, position)
        if not all(is_same(getattr(given, field), getattr(one, field)) for field in _FIELDS[name]):
            return False
    return True


def _objects(definition: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = definition[name]
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        if len(value) <= MAX_ARMS:
            return [_named(one) for one in value] if name == "metrics" else value
        raise InvalidInput(f"{len(value)} {name} are too many.", field=name, fix=f"Send at most {MAX_ARMS}.")
    raise InvalidInput(f"{name} is not a list of objects.", field=name, fix="Send a list of objects.")


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """A metric whose name is not said is called by its key."""
    return row if "name" in row or not row.get("key") else row | {"name": row["key"]}


def _replace_variants(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> None:
    """Variants that stay keep their row, since forced units and others refer to it."""
    kept = {variant.key: variant for variant in experiment.variants.all()}
    wanted = [str(row.get("key")) for row in rows]
    for position, (key, row) in enumerate(zip(wanted, rows, strict=True)):
        _check_needed("variants", position, row, is_new=key not in kept)
        if key in wanted[:position]:
            raise InvalidInput(
                f"Two variants have the key {key!r}.", field="variants", fix="Give each a key of its own."
            )
    _check_controls(wanted, rows, kept)
    experiment.variants.exclude(key__in=wanted).delete()
    # Out of the way, so that positions and the control may be exchanged.
    experiment.variants.update(position=models.F("position") + MAX_ARMS, is_control=False)
    for position, (key, row) in enumerate(zip(wanted, rows, strict=True)):
        variant = kept.get(key) or Variant(experiment=experiment)
        _set(variant, "variants", row, position)
        variant.position = position
        _clean(variant, "variants", position)
        said = misfits(variant.config, experiment.config_schema)
        if said:
            raise InvalidInput(
                f"The config of {variant.key} does not fit the schema: {said[0].rstrip('.')}.",
                field=f"variants[{position}].config",
                fix="Send a config that fits.",
            )
        _save(variant, "variants", position)


def _check_controls(
    keys: Sequence[str], rows: Sequence[Mapping[str, Any]], kept: Mapping[str, Variant]
) -> None:
    """At most one; a variant that stays keeps what its row does not say."""
    controls = [
        position
        for position, (key, row) in enumerate(zip(keys, rows, strict=True))
        if row.get("is_control", key in kept and kept[key].is_control) is True
    ]
    if len(controls) > 1:
        marked = ", ".join(keys[position] for position in controls)
        many = "Two" if len(controls) == 2 else str(len(controls))
        raise InvalidInput(
            f"{many} variants are marked as the control: {marked}.",
            field=f"variants[{controls[1]}]",
            fix="Mark one, and send is_control false for the others.",
        )


def _replace(experiment: Experiment, name: str, rows: Sequence[dict[str, Any]]) -> None:
    getattr(experiment, name).all().delete()
    for position, row in enumerate(rows):
        _check_needed(name, position, row, is_new=True)
        one = _MODELS[name](experiment=experiment, position=position)
        _set(one, name, row, position)
        _clean(one, name, position)
        _save(one, name, position)


def _check_needed(name: str, position: int, row: Mapping[str, Any], *, is_new: bool) -> None:
    for field, fix in _NEEDED[name].items():
        # A variant that stays keeps what the row does not say.
        if field in row or is_new or field == "key":
            if row.get(field) not in (None, ""):
                continue
            key = row.get("key")
            who = f"The {_WORDS[name]} {key!r}" if key else f"Number {position + 1} of {name}"
            raise InvalidInput(f"{who} has no {field}.", field=f"{name}[{position}].{field}", fix=fix)


def _set(one: models.Model, name: str, row: Mapping[str, Any], position: int) -> None:
    fields, path = _FIELDS[name], f"{name}[{position}]."
    for field, value in row.items():
        if field in _READ_ONLY[name]:
            continue
        if field not in fields:
            raise InvalidInput(
                f"The field {field!r} is not known.",
                field=path + field,
                fix=f"Use some of: {', '.join(fields)}.",
            )
        set_value(one, field, value, path)


def _save(one: models.Model, name: str, position: int) -> None:
    path = f"{name}[{position}]"
    try:
        with transaction.atomic():
            one.save()
    except IntegrityError:
        raise InvalidInput(
            f"{path} contradicts another one of the list.",
            field=path,
            fix="Use each key once, one control, and one primary metric.",
        ) from None


def _clean(one: models.Model, name: str, position: int) -> None:
    try:
        one.clean_fields(exclude={"experiment"})
        one.clean()
    except ValidationError as error:
        raise invalid(error, one, f"{name}[{position}].") from None
