"""Equality with a value that a condition holds as it is, lists and objects included."""

import math
import re
from collections.abc import Mapping

from experiments.targeting.logic import Test
from experiments.targeting.problems import InvalidCondition, joined


def equals(value: object, path: str, *, is_folded: bool = False) -> Test:
    """Equality with the value, of the same type. is_folded: texts without regard to case; lists and objects with."""
    if isinstance(value, dict | list):
        _check_literal(value, path)
        return lambda x: _is_same(value, x)
    if value is None or isinstance(value, bool):
        return lambda x: x is value
    if isinstance(value, str):
        if is_folded:
            folded = value.lower()
            return lambda x: isinstance(x, str) and x.lower() == folded
        return lambda x: bool(x == value)
    return lambda x: x == value and not isinstance(x, bool)


def _check_literal(value: object, path: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.startswith("$"):
                raise InvalidCondition(
                    joined(path, name),
                    "stands in an object that is compared literally; write the attribute's path with dots, as in "
                    '{"user.country": {"$in": ["de"]}}, and operators without other names beside them',
                )
            _check_literal(inner, joined(path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _check_literal(inner, f"{path}[{at}]")


def _is_same(literal: object, value: object) -> bool:
    """Equal as texts of JSON.stringify are: names in the same order, 1.0 equals 1, NaN within is null."""
    if isinstance(literal, list):
        return (
            isinstance(value, list)
            and len(literal) == len(value)
            and all(_is_same_within(a, b) for a, b in zip(literal, value, strict=True))
        )
    if isinstance(literal, dict):
        return (
            isinstance(value, dict)
            and len(literal) == len(value)
            and _in_order(literal) == _in_order(value)
            and all(_is_same_within(inner, value[name]) for name, inner in literal.items())
        )
    return literal == value and isinstance(literal, bool) == isinstance(value, bool)


def _is_same_within(literal: object, value: object) -> bool:
    return _is_same(literal, None if isinstance(value, float) and not math.isfinite(value) else value)


def _in_order(value: Mapping[str, object]) -> list[str]:
    """Names as JavaScript lists them: places of an array by number, then the others as they came."""
    places = [x for x in value if re.fullmatch("0|[1-9][0-9]{0,9}", x) and int(x) < 2**32 - 1]
    return sorted(places, key=int) + [x for x in value if x not in places] if places else list(value)
