"""One value of a document for one field of a model: of the right type, or a refusal that says what to send."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.dateparse import parse_datetime

from experiments.definition import size_as_json
from triageops.rest import InvalidInput

_KINDS: tuple[tuple[type[models.Field[Any, Any]], tuple[type, ...], str], ...] = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.FloatField, (int, float), "a number"),
    (models.DateTimeField, (str, datetime), "a time, such as 2026-03-01T12:00:00Z"),
    (models.JSONField, (dict,), "an object"),
    (models.Field, (str,), "text"),
)
_YEARS = range(1970, 9_000)
_MISSING = frozenset({"null", "blank", "required"})


def check_document(definition: Mapping[str, Any]) -> None:
    """Refuse what no field of any kind can store, such as half a character."""
    try:
        size_as_json(
            {name: str(one) if isinstance(one, datetime) else one for name, one in definition.items()}, "It"
        )
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages), field="definition", fix="Correct this value.") from None


def set_value(one: models.Model, name: str, value: object, path: str = "") -> None:
    """Django reads 0.9 as the integer 0 and [] as an empty text; here it must be what it is."""
    field: Any = one._meta.get_field(name)
    types, words = next((types, words) for kind, types, words in _KINDS if isinstance(field, kind))
    is_right = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not is_right and not (value is None and field.null):
        raise InvalidInput(f"{path}{name} is not {words}.", field=path + name, fix=f"Send {words}.")
    if isinstance(value, int) and abs(value) > 2**53:
        raise InvalidInput(f"{path}{name} is too large.", field=path + name, fix="Send a smaller number.")
    setattr(one, name, time_of(value, path + name) if isinstance(field, models.DateTimeField) else value)


def time_of(value: object, path: str) -> datetime | None:
    try:
        found = parse_datetime(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if value is None or (isinstance(found, datetime) and found.tzinfo and found.year in _YEARS):
        return found if isinstance(found, datetime) else None
    raise InvalidInput(
        f"{value!r} is no time with a time zone.", field=path, fix="Send one such as 2026-03-01T12:00:00Z."
    )


def invalid(error: ValidationError, one: models.Model, path: str = "") -> InvalidInput:
    """The first complaint of a model's own checks, with what to send."""
    name, errors = next(iter(error.error_dict.items()))
    said = " ".join(error.message_dict[name])
    if errors[0].code in _MISSING:
        return InvalidInput(f"{path}{name} is missing.", field=path + name, fix="Send it.")
    fields: dict[str, Any] = {field.name: field for field in one._meta.concrete_fields}
    choices = fields[name].choices if name in fields else None
    fix = f"Use one of {', '.join(value for value, _ in choices)}." if choices else "Correct this value."
    return InvalidInput(said, field=path + name, fix=fix)
