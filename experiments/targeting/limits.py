"""How large a condition may be, and which values of Python it may hold: those of JSON that every SDK reads alike."""

import json
import math
import re

from experiments.targeting.problems import InvalidCondition, joined
from experiments.targeting.shapes import SCALARS

DEPTH_MAX = 20
NODES_MAX = 500
BYTES_MAX = 20_000
PATTERN_MAX = 200
"""Longest pattern, in characters."""

TEXT_MAX = 1_000
"""How many characters of a value patterns and version numbers see."""

STEPS_MAX = 20_000_000
"""Steps that a condition's patterns together may take on the worst value of TEXT_MAX characters: a step
takes up to 12 ns, so 0.25 s at most, for each item of a list when they stand in $elemMatch, $all or $alli."""

REPEATS_MAX = 1_000
NESTED_REPEATS_MAX = 100

_INTEGER_MAX = 2**53


def check_size(condition: object) -> None:
    """Raises InvalidCondition for what is too deep, has too many values or bytes, or is no JSON."""
    rest: list[tuple[object, str, int]] = [(condition, "", 1)]
    count = 0
    while rest:
        value, path, depth = rest.pop()
        count += 1
        if depth > DEPTH_MAX and isinstance(value, dict | list):
            raise InvalidCondition(path, f"is nested more than {DEPTH_MAX} deep; join clauses in one object")
        if count > NODES_MAX:
            raise InvalidCondition(
                "", f"has more than {NODES_MAX} values; put long lists into a saved group, used by $inGroup"
            )
        if isinstance(value, dict):
            for key in value:
                _check_scalar(key, path)
                if not isinstance(key, str):
                    raise InvalidCondition(path, f"has the name {key!r}; names are text")
            rest.extend((inner, joined(path, key), depth + 1) for key, inner in value.items())
        elif isinstance(value, list):
            rest.extend((inner, f"{path}[{at}]", depth + 1) for at, inner in enumerate(value))
        else:
            _check_scalar(value, path)
    size = len(json.dumps(condition, ensure_ascii=False).encode())
    if size > BYTES_MAX:
        raise InvalidCondition(
            "", f"has {size} bytes; the most is {BYTES_MAX}. Use saved groups for long lists"
        )


def _check_scalar(value: object, path: str) -> None:
    if not isinstance(value, SCALARS):
        raise InvalidCondition(path, f"is a Python {type(value).__name__}, which JSON does not have")
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise InvalidCondition(path, "holds a NUL character or half a surrogate pair; remove it")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidCondition(path, f"is {value}, which JSON does not have")
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        raise InvalidCondition(path, "is a number beyond 2^53, which JavaScript rounds; compare it as text")
