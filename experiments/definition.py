"""What a definition may contain: keys, weights, configs."""

import json
import re

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator

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
    try:
        text = json.dumps(config, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (ValueError, UnicodeEncodeError, RecursionError):
        raise ValidationError(
            "The config holds NaN, an infinity, half a character or too deep a nesting."
        ) from None
    # Escaped backslashes go first: the six letters of an escape are no NUL when they are text.
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValidationError("The config holds a NUL character; remove it.")
    if size > CONFIG_MAX_BYTES:
        raise ValidationError(f"The config has {size} bytes; the most is {CONFIG_MAX_BYTES}.")


def in_percent(basis_points: int) -> str:
    return f"{basis_points / 100:g} %"
