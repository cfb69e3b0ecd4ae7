"""Operators whose operands hold no further operators: each makes a test from its operand."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.targeting.limits import STEPS_MAX, TEXT_MAX
from experiments.targeting.literals import equals
from experiments.targeting.logic import Test, inverse, never
from experiments.targeting.patterns import bounded_search
from experiments.targeting.problems import InvalidCondition
from experiments.targeting.shapes import SCALARS, TYPES, is_number, type_of
from experiments.targeting.versions import number_text, padded

Groups = Mapping[str, Sequence[object]]


@dataclass(slots=True)
class Scope:
    """What one compilation shares. steps: of the patterns so far."""

    groups: Groups
    steps: float = 0


Builder = Callable[[object, str, Scope], Test]


def negated(builder: Builder) -> Builder:
    return lambda operand, path, scope: inverse(builder(operand, path, scope))


def equal(operand: object, path: str, _: Scope) -> Test:
    """As JavaScript's ===, to which no list or object equals another."""
    return never if isinstance(operand, dict | list) else equals(operand, path)


def ordered(compare: Callable[[Any, Any], bool], operand: object, path: str, _: Scope) -> Test:
    if isinstance(operand, str):
        return _ordered_text(compare, operand)
    if not is_number(operand):
        raise InvalidCondition(path, "compares with a number or a text only")
    return lambda x: isinstance(x, int | float) and not isinstance(x, bool) and compare(x, operand)


def _ordered_text(compare: Callable[[Any, Any], bool], operand: str) -> Test:
    """By UTF-16 code units, as in JavaScript: characters beyond U+FFFF come before U+E000."""
    units = operand.encode("utf-16-be")
    is_ascii = operand.isascii()

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if is_ascii and value.isascii():
            return compare(value, operand)
        return compare(value.encode("utf-16-be", "surrogatepass"), units)

    return test


def version(compare: Callable[[Any, Any], bool], operand: object, path: str, _: Scope) -> Test:
    """Values of another type than the operand's are unlike it, and neither before nor after it."""
    without = compare is operator.ne
    if isinstance(operand, str):
        expected = padded(operand[:TEXT_MAX])
        return lambda x: compare(padded(x[:TEXT_MAX]), expected) if isinstance(x, str) else without
    if not isinstance(operand, int | float) or isinstance(operand, bool):
        raise InvalidCondition(path, 'compares with a version only, such as "2.1.0"')
    expected = padded(number_text(operand))
    return lambda x: compare(padded(number_text(x)), expected) if is_number(x) else without


def one_of(operand: object, path: str, _: Scope) -> Test:
    return _within(checked_list(operand, path), is_folded=False)


def one_of_folded(operand: object, path: str, _: Scope) -> Test:
    return _within(checked_list(operand, path), is_folded=True)


def _within(values: Sequence[object], *, is_folded: bool) -> Test:
    """Equality with one of the values; a list has one in common. Lists and objects within equal nothing."""
    scalars = [x.lower() if is_folded and isinstance(x, str) else x for x in values if isinstance(x, SCALARS)]
    plain = frozenset(x for x in scalars if not isinstance(x, bool))
    booleans = frozenset(x for x in scalars if isinstance(x, bool))

    def has(value: Any) -> bool:
        if isinstance(value, str):
            return (value.lower() if is_folded else value) in plain
        if isinstance(value, bool):
            return value in booleans
        return isinstance(value, SCALARS) and value in plain

    return lambda x: any(has(item) for item in x) if isinstance(x, list) else has(x)


def grouped(operand: object, path: str, scope: Scope) -> Test:
    if not isinstance(operand, str):
        raise InvalidCondition(path, "names a saved group by its id, a text")
    return _within(scope.groups.get(operand, ()), is_folded=False)


def existing(operand: object, path: str, _: Scope) -> Test:
    if not isinstance(operand, bool):
        raise InvalidCondition(path, "must be true or false")
    return lambda x: (x is not None) is operand


def typed(operand: object, path: str, _: Scope) -> Test:
    if operand not in TYPES:
        raise InvalidCondition(path, f"must be one of {', '.join(TYPES)}")
    return lambda x: type_of(x) == operand


def matching(operand: object, path: str, scope: Scope, *, flags: int = 0) -> Test:
    if not isinstance(operand, str):
        raise InvalidCondition(path, "must be a regular expression, a text")
    search, steps = bounded_search(operand, flags, path)
    scope.steps += steps
    if scope.steps > STEPS_MAX:
        raise InvalidCondition(
            path,
            "can take too long on some values. Begin the pattern with ^, use fewer of * and +, let a character follow "
            "each that it cannot match (as in [^/]+/), or test the parts in several clauses",
        )
    return lambda x: isinstance(x, str) and search(x[:TEXT_MAX]) is not None


def checked_list(operand: object, path: str) -> list[object]:
    if not isinstance(operand, list):
        raise InvalidCondition(path, "must be a list")
    return operand
