"""Definitions as data: made, edited while a draft, copied, exported and imported; admin and REST call the same functions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.dateparse import parse_datetime

from experiments import audit
from experiments.audit import METRIC_FIELDS, Actor, Change, changing, person, snapshot
from experiments.definition import misfits, size_as_json
from experiments.epochs import NeedsReview
from experiments.models import Experiment, ExperimentMetric, Layer, RampStep, State, Variant
from experiments.placement import MAX_ARMS
from triageops.rest import Conflict, InvalidInput

FORMAT = "triageops.experiment/1"
FIELDS = (
    "name", "hypothesis", "unit_kind", "unit_attribute", "coverage_bp", "targeting", "layer_share_bp", "obeys_holdout",
    "design", "alpha", "correction", "minimum_sample", "planned_sample", "minimum_effect", "minimum_days",
    "requires_review", "auto_ship", "config_schema", "bandit_floor_bp", "bandit_hours", "planned_end_at", "starts_at",
    "stops_at",
)  # fmt: skip
PARTS = ("variants", "metrics", "ramp")
LATER_FIELDS = ("name", "hypothesis", "minimum_days", "planned_end_at", "stops_at", "auto_ship")
"""What may still be changed after the start: nothing of it changes what was promised before it."""

REVIEWED_FIELDS = frozenset({"auto_ship", "minimum_days", "stops_at"})
"""Of those, what decides something: under the two-person rule it stays as it was approved."""


class KeyTaken(Conflict):
    """An experiment with this key exists."""

    type = "experiment-exists"
    title = "There is such an experiment already"


def create(key: str, definition: Mapping[str, Any], *, by: Actor, now: datetime) -> Experiment:
    """A draft. `definition` has some of FIELDS, `layer` (a key) and PARTS. Raises InvalidInput or KeyTaken."""
    _check_document(definition)
    experiment = Experiment(key=key, owner=person(by))
    try:
        with transaction.atomic():
            _set_fields(experiment, definition)
            _full_clean(experiment)
            experiment.save(force_insert=True)
            _set_parts(experiment, definition)
            audit.write(Change(experiment), "create", by=by, now=now, reason="", before={})
    except IntegrityError as error:
        if "experiments_experiment_key" in str(error):
            raise KeyTaken(
                f"There is an experiment {key!r}.", field="key", fix="Choose another key."
            ) from None
        raise
    return experiment


def edit(
    experiment: Experiment, definition: Mapping[str, Any], *, by: Actor, now: datetime, reason: str = ""
) -> Experiment:
    """Change a draft, or of a started experiment what LATER_FIELDS names. Parts that are given replace the former ones."""
    _check_document(definition)
    sources = (State.DRAFT,)
    if set(definition) <= set(LATER_FIELDS):
        sources = tuple(state for state in State if state != State.ARCHIVED)  # type: ignore[assignment]
    with changing(experiment, "edit", by=by, now=now, reason=reason, sources=sources) as change:
        if (
            change.experiment.requires_review
            and not change.experiment.is_draft
            and REVIEWED_FIELDS & set(definition)
        ):
            raise NeedsReview(
                f"The two-person rule of this experiment covers {', '.join(sorted(REVIEWED_FIELDS))}.",
                fix="Take it back to draft before the start; after it these stay.",
            )
        _set_fields(change.experiment, definition)
        _full_clean(change.experiment)
        _set_parts(change.experiment, definition)
    return change.experiment


def clone(experiment: Experiment, key: str, *, by: Actor, now: datetime) -> Experiment:
    """A draft with the same definition, and a salt of its own: who was in which variant does not repeat."""
    return create(key, exported(experiment)["definition"], by=by, now=now)


def exported(experiment: Experiment) -> dict[str, Any]:
    """The definition as JSON, which `imported` takes; without what happened to it."""
    found = snapshot(experiment)
    definition: dict[str, Any] = {name: found[name] for name in FIELDS if name in found}
    definition["layer"] = found["layer"]
    definition["variants"] = [
        {name: one[name] for name in ("key", "is_control", "weight_bp", "config")}
        for one in found["variants"]
    ]
    definition |= {"metrics": found["metrics"], "ramp": found["ramp"]}
    # As it was defined: the ramp took the coverage further.
    first = experiment.epochs.order_by("number").first()
    if first is not None:
        definition["coverage_bp"] = first.coverage_bp
    # Times belong to one run of it.
    for name in ("planned_end_at", "starts_at", "stops_at"):
        definition.pop(name)
    return {"format": FORMAT, "key": experiment.key, "definition": definition}


def imported(document: Mapping[str, Any], *, by: Actor, now: datetime, key: str = "") -> Experiment:
    """A draft of an exported definition, under `key` or its own. Raises InvalidInput or KeyTaken."""
    if document.get("format") != FORMAT:
        raise InvalidInput(
            "This is no exported experiment.",
            field="format",
            fix=f'Send a document with "format": "{FORMAT}".',
        )
    definition = document.get("definition")
    if not isinstance(definition, dict):
        raise InvalidInput("The definition is missing.", field="definition", fix="Send the whole document.")
    own = document.get("key", "")
    if not key and not isinstance(own, str):
        raise InvalidInput("The key is not text.", field="key", fix="Send the key as a JSON string.")
    return create(key or str(own), definition, by=by, now=now)


def _check_document(definition: Mapping[str, Any]) -> None:
    """Refuse what no field of any kind can store, such as half a character."""
    try:
        size_as_json(
            {name: str(one) if isinstance(one, datetime) else one for name, one in definition.items()}, "It"
        )
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages), field="definition", fix="Correct this value.") from None


_KINDS: tuple[tuple[type[models.Field[Any, Any]], tuple[type, ...], str], ...] = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.FloatField, (int, float), "a number"),
    (models.DateTimeField, (str, datetime), "a time, such as 2026-03-01T12:00:00Z"),
    (models.JSONField, (dict,), "an object"),
    (models.Field, (str,), "text"),
)
_YEARS = range(1970, 9_000)


def _set_value(one: models.Model, name: str, value: object, path: str) -> None:
    """Django reads 0.9 as the integer 0 and [] as an empty text; here it must be what it is."""
    field: Any = one._meta.get_field(name)
    types, words = next((types, words) for kind, types, words in _KINDS if isinstance(field, kind))
    is_right = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not is_right and not (value is None and field.null):
        raise InvalidInput(f"{name} is not {words}.", field=path + name, fix=f"Send {words}.")
    if isinstance(value, int) and abs(value) > 2**53:
        raise InvalidInput(f"{name} is too large.", field=path + name, fix="Send a smaller number.")
    setattr(one, name, _time(value, path + name) if isinstance(field, models.DateTimeField) else value)


def _time(value: object, path: str) -> datetime | None:
    try:
        found = parse_datetime(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if value is None or (isinstance(found, datetime) and found.tzinfo and found.year in _YEARS):
        return found if isinstance(found, datetime) else None
    raise InvalidInput(
        f"{value!r} is no time with a time zone.", field=path, fix="Send one such as 2026-03-01T12:00:00Z."
    )


def _set_fields(experiment: Experiment, definition: Mapping[str, Any]) -> None:
    for name, value in definition.items():
        if name in FIELDS:
            _set_value(experiment, name, value, "")
        elif name == "layer":
            experiment.layer = _layer(value)
        elif name not in PARTS:
            raise InvalidInput(
                f"The field {name!r} is not known.",
                field=name,
                fix=f"Use some of: {', '.join((*FIELDS, 'layer', *PARTS))}.",
            )


def _layer(key: object) -> Layer | None:
    if key is None or key == "":
        return None
    found = Layer.objects.filter(key=key).first() if isinstance(key, str) else None
    if found is None:
        raise InvalidInput(f"There is no layer {key!r}.", field="layer", fix="Make it in the admin first.")
    return found


def _set_parts(experiment: Experiment, definition: Mapping[str, Any]) -> None:
    if "variants" in definition:
        _replace_variants(experiment, _objects(definition["variants"], "variants"))
    if "metrics" in definition:
        rows = _objects(definition["metrics"], "metrics")
        _replace(experiment, ExperimentMetric, "metrics", rows, METRIC_FIELDS)
    if "ramp" in definition:
        rows = _objects(definition["ramp"], "ramp")
        _replace(experiment, RampStep, "ramp", rows, ("coverage_bp", "after_hours", "after_units"))


def _objects(value: object, field: str) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        if len(value) <= MAX_ARMS:
            return value
        raise InvalidInput(
            f"{len(value)} {field} are too many.", field=field, fix=f"Send at most {MAX_ARMS}."
        )
    raise InvalidInput(f"{field} is not a list of objects.", field=field, fix="Send a list of objects.")


def _replace_variants(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> None:
    """Variants that stay keep their row, since forced units and others refer to it."""
    kept = {variant.key: variant for variant in experiment.variants.all()}
    wanted = {str(row.get("key")) for row in rows}
    if len(wanted) < len(rows):
        raise InvalidInput(
            "Two variants have the same key.", field="variants", fix="Give each a key of its own."
        )
    experiment.variants.exclude(key__in=wanted).delete()
    # Out of the way, so that positions and the control may be exchanged.
    experiment.variants.update(position=models.F("position") + MAX_ARMS, is_control=False)
    for position, row in enumerate(rows):
        variant = kept.get(str(row.get("key"))) or Variant(experiment=experiment)
        _set(variant, row, ("key", "is_control", "weight_bp", "config"), f"variants[{position}]")
        variant.position = position
        _clean_part(variant, f"variants[{position}]")
        said = misfits(variant.config, experiment.config_schema)
        if said:
            raise InvalidInput(
                f"The config does not fit the schema: {said[0]}",
                field=f"variants[{position}].config",
                fix="Send a config that fits.",
            )
        _save(variant, f"variants[{position}]")


def _replace(
    experiment: Experiment,
    model: type[ExperimentMetric] | type[RampStep],
    name: str,
    rows: Sequence[dict[str, Any]],
    fields: Sequence[str],
) -> None:
    model.objects.filter(experiment=experiment).delete()
    for position, row in enumerate(rows):
        one = model(experiment=experiment, position=position)
        _set(one, row, fields, f"{name}[{position}]")
        _clean_part(one, f"{name}[{position}]")
        _save(one, f"{name}[{position}]")


def _set(one: models.Model, row: Mapping[str, Any], fields: Sequence[str], path: str) -> None:
    for name, value in row.items():
        if name not in fields:
            raise InvalidInput(
                f"The field {name!r} is not known.",
                field=f"{path}.{name}",
                fix=f"Use some of: {', '.join(fields)}.",
            )
        _set_value(one, name, value, f"{path}.")


def _save(one: models.Model, path: str) -> None:
    try:
        with transaction.atomic():
            one.save()
    except IntegrityError:
        raise InvalidInput(
            f"{path} contradicts another one of the list.",
            field=path,
            fix="Use each key once, one control, and one primary metric.",
        ) from None


def _full_clean(experiment: Experiment) -> None:
    try:
        experiment.clean_fields()
        experiment.clean()
    except ValidationError as error:
        raise _invalid(error, "") from None


def _clean_part(one: models.Model, path: str) -> None:
    try:
        one.clean_fields(exclude={"experiment"})
        one.clean()
    except ValidationError as error:
        raise _invalid(error, f"{path}.") from None


def _invalid(error: ValidationError, path: str) -> InvalidInput:
    field, messages = next(iter(error.message_dict.items()))
    return InvalidInput(" ".join(messages), field=f"{path}{field}", fix="Correct this value.")
