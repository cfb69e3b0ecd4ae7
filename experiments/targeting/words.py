"""A condition in English."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.targeting.conditions import validate
from experiments.targeting.shapes import JUNCTIONS, has_operators, is_about_items, is_number

_ANY_CASE = " (in any case)"
_PHRASES = {
    "$eq": "is {}",
    "$ne": "is not {}",
    "$lt": "is less than {}",
    "$lte": "is at most {}",
    "$gt": "is more than {}",
    "$gte": "is at least {}",
    "$in": "is one of {}",
    "$nin": "is none of {}",
    "$ini": "is one of {}" + _ANY_CASE,
    "$nini": "is none of {}" + _ANY_CASE,
    "$inGroup": "is in the group {}",
    "$notInGroup": "is not in the group {}",
    "$type": "is of type {}",
    "$regex": "matches /{}/",
    "$notRegex": "does not match /{}/",
    "$regexi": "matches /{}/" + _ANY_CASE,
    "$notRegexi": "does not match /{}/" + _ANY_CASE,
    "$veq": "is version {}",
    "$vne": "is not version {}",
    "$vlt": "is below {}",
    "$vlte": "is at most {}",
    "$vgt": "is above {}",
    "$vgte": "is at least {}",
}


@dataclass(frozen=True, slots=True)
class _Words:
    """junction: "and" or "or" when it joins the text's outermost parts, else empty."""

    text: str
    junction: str = ""


def described(condition: object) -> str:
    """The condition in English: "country is one of de, fr and version is at least 2.1.0". Raises InvalidCondition."""
    validate(condition)
    return _words(condition).text


def _words(condition: object) -> _Words:
    assert isinstance(condition, dict)
    return _together([_clause_words(name, value) for name, value in condition.items()], "and")


def _together(parts: Sequence[_Words], junction: str) -> _Words:
    """Parts joined; parts joined otherwise stand in parentheses. No parts: everything passes, for $or as well."""
    if not parts:
        return _Words("anything")
    if len(parts) == 1:
        return parts[0]
    texts = (part.text if part.junction in {"", junction} else f"({part.text})" for part in parts)
    return _Words(f" {junction} ".join(texts), junction)


def _not(words: _Words) -> _Words:
    return _Words(f"not ({words.text})")


def _clause_words(name: str, value: Any) -> _Words:
    if name == "$not":
        return _not(_words(value))
    if name in JUNCTIONS:
        together = _together([_words(inner) for inner in value], "and" if name == "$and" else "or")
        return _not(together) if name == "$nor" else together
    return _value_words(name, value)


def _value_words(subject: str, value: Any, ending: str = "") -> _Words:
    if has_operators(value):
        return _together([_operator_words(subject, name, operand) for name, operand in value.items()], "and")
    if value is None:
        return _Words(f"{subject} has no value")
    return _Words(f"{subject} is {_shown(value)}{ending if isinstance(value, str) else ''}")


def _operator_words(subject: str, name: str, operand: Any) -> _Words:
    match name:
        case "$exists":
            return _Words(f"{subject} has {'a' if operand else 'no'} value")
        case "$not":
            return _not(_value_words(subject, operand))
        case "$size" if is_number(operand):
            return _Words(f"{subject} has {operand} {'item' if operand == 1 else 'items'}")
        case "$size":
            return _value_words(f"the number of items of {subject}", operand)
        case "$elemMatch":
            inner = _value_words("it", operand) if is_about_items(operand) else _words(operand)
            return _Words(f"{subject} has an item such that ({inner.text})")
        case "$all" | "$alli":
            ending = _ANY_CASE if name == "$alli" else ""
            inner = _together([_value_words("one", value, ending) for value in operand], "and")
            return _Words(f"{subject} has items such that ({inner.text})")
    if operand is None:
        return _Words(f"{subject} has {'no' if name == '$eq' else 'a'} value")
    is_raw = name.startswith(("$v", "$regex", "$notRegex"))
    return _Words(f"{subject} {_PHRASES[name].format(operand if is_raw else _listed(operand))}")


def _listed(operand: object) -> str:
    if not isinstance(operand, list):
        return _shown(operand)
    return ", ".join(map(_shown, operand)) or "nothing"


def _shown(value: object) -> str:
    """Words as they are; in quotes what could be taken for a number, for true or for several words."""
    if (
        isinstance(value, str)
        and re.fullmatch(r"[^\W\d_][\w@/.:+-]*", value)
        and value not in {"true", "false", "null"}
    ):
        return value
    return json.dumps(value, ensure_ascii=False)
