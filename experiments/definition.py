"""What a definition may contain: keys, weights, configs, targeting, sources of metrics."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from jsonschema import Draft202012Validator, SchemaError

from experiments import outcomes, targeting
from experiments.assignment import BASIS_POINTS

UNIT_MAX = 128
"""Longest unit, in characters."""

KEY_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"
"""Keys of experiments and variants: they stand in addresses unescaped, also in clients that we do not write."""

CONFIG_MAX_BYTES = 65_536

valid_key = RegexValidator(
    KEY_PATTERN,
    "Use letters, digits, “.”, “_” and “-”, beginning with a letter or digit; at most 128 characters.",
)
in_basis_points = (MinValueValidator(0), MaxValueValidator(BASIS_POINTS))


def is_key(text: str) -> bool:
    return re.fullmatch(KEY_PATTERN, text) is not None


def validate_config(config: object) -> None:
    """Refuse what clients cannot read or PostgreSQL cannot store as an object of JSON."""
    if not isinstance(config, dict):
        raise ValidationError('The config must be an object, such as {"model": "gpt-4", "temperature": 0.2}.')
    size = size_as_json(config, "The config")
    if size > CONFIG_MAX_BYTES:
        raise ValidationError(f"The config has {size} bytes; the most is {CONFIG_MAX_BYTES}.")


def size_as_json(value: object, what: str) -> int:
    """Bytes of the value as JSON. Raises ValidationError for what PostgreSQL cannot store."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise ValidationError(
            f"{what} holds NaN, an infinity, half a character or too deep a nesting."
        ) from None
    # Escaped backslashes go first: the six letters of an escape are no NUL when they are text.
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValidationError(f"{what} holds a NUL character; remove it.")
    return size


SMALLEST_EFFECT, LARGEST_EFFECT = 1e-9, 1e12
"""Far beyond what any metric measures; within them plans and bounds can be computed."""


def validate_effect(value: float) -> None:
    """Refuse what no effect of a metric can be: zero, negative, no number, or one that nothing can be planned with."""
    if not SMALLEST_EFFECT <= value <= LARGEST_EFFECT:
        raise ValidationError(
            f"{value} is no effect to look for: give a number from {SMALLEST_EFFECT:g} to {LARGEST_EFFECT:g}, in the "
            "metric's own unit."
        )


def validate_margin(value: float) -> None:
    """Zero, for none, or an effect."""
    if value != 0 and not SMALLEST_EFFECT <= value <= LARGEST_EFFECT:
        raise ValidationError(
            f"{value} is no margin: give 0 for none, or a number from {SMALLEST_EFFECT:g} to {LARGEST_EFFECT:g}, in "
            "the metric's own unit."
        )


def validate_targeting(condition: object) -> None:
    try:
        targeting.validate(condition)
    except targeting.InvalidCondition as error:
        raise ValidationError(str(error)) from None


def validate_schema(schema: object) -> None:
    """Refuse what is no JSON Schema, or one that would fetch another document."""
    if schema is None:
        return
    if not isinstance(schema, dict):
        raise ValidationError('The schema must be an object, such as {"required": ["model"]}.')
    if size_as_json(schema, "The schema") > CONFIG_MAX_BYTES:
        raise ValidationError(f"The schema has more than {CONFIG_MAX_BYTES} bytes.")
    text = json.dumps(schema)
    if '"$ref"' in text or '"$dynamicRef"' in text:
        raise ValidationError("The schema may not refer to others ($ref).")
    # A part of another draft would be read by its rules.
    if text.count('"$schema"') > ("$schema" in schema):
        raise ValidationError("Only the schema as a whole may say what it follows ($schema).")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValidationError(f"This is no JSON Schema: {error.message}.") from None
    except RecursionError:
        raise ValidationError("The schema is nested too deeply.") from None


def misfits(config: Mapping[str, Any], schema: Mapping[str, Any] | None) -> list[str]:
    """What in the config does not fit the schema, as sentences; at most ten."""
    if schema is None:
        return []
    found = Draft202012Validator(schema).iter_errors(config)
    try:
        return [
            f"{'.'.join(map(str, error.absolute_path)) or 'The config'}: {error.message}"
            for error, _ in zip(found, range(10), strict=False)
        ]
    except (ArithmeticError, RecursionError):
        return ["The config: a number is too large, or the nesting too deep, to be checked."]


def validate_source(source: str) -> None:
    if not outcomes.is_source(source):
        raise ValidationError(
            f"“{source}” is not known. Use one of {', '.join(outcomes.SOURCES)}, or quality:<metric>."
        )


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits, the same for equal configs whatever the order of their members."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_percent(basis_points: int) -> str:
    return f"{basis_points / 100:g} %"
