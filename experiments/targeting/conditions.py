"""From a condition to a function: the walk through junctions, attributes, operators and what operators hold in turn."""

import operator
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from experiments.targeting.attributes import of_attribute
from experiments.targeting.limits import check_size
from experiments.targeting.literals import equals
from experiments.targeting.logic import Test, all_of, always, any_of, inverse
from experiments.targeting.operators import (
    Builder,
    Groups,
    Scope,
    checked_list,
    equal,
    existing,
    grouped,
    matching,
    negated,
    one_of,
    one_of_folded,
    ordered,
    typed,
    version,
)
from experiments.targeting.problems import InvalidCondition, joined
from experiments.targeting.shapes import JUNCTIONS, has_operators, is_about_items, is_number

_NO_GROUPS: Groups = MappingProxyType({})


def validate(condition: object) -> None:
    """Raises InvalidCondition for anything but a condition that can be evaluated in little time."""
    compiled(condition)


def compiled(condition: object, groups: Groups = _NO_GROUPS) -> Callable[[Mapping[str, object]], bool]:
    """The condition as a function of a unit's attributes, which never raises for values of JSON.

    groups: values of the saved groups, read now and not again; an absent group is empty. Raises InvalidCondition.
    """
    check_size(condition)
    return _condition(condition, "", Scope(groups))


def matches(condition: object, attributes: Mapping[str, object], groups: Groups = _NO_GROUPS) -> bool:
    """compiled, used once; the condition is checked and compiled each time."""
    return compiled(condition, groups)(attributes)


def _condition(condition: object, path: str, scope: Scope) -> Test:
    """A test of attributes, or of one item of a list."""
    if not isinstance(condition, dict):
        raise InvalidCondition(path, 'must be an object, such as {"country": "de"}')
    return all_of([_clause(name, value, joined(path, name), scope) for name, value in condition.items()])


def _clause(name: str, value: object, path: str, scope: Scope) -> Test:
    if name in JUNCTIONS:
        tests = [_condition(x, f"{path}[{at}]", scope) for at, x in enumerate(checked_list(value, path))]
        if name == "$and":
            return all_of(tests)
        either = any_of(tests) if tests else always
        return either if name == "$or" else inverse(either)
    if name == "$not":
        return inverse(_condition(value, path, scope))
    if name.startswith("$"):
        known = ", ".join((*JUNCTIONS, "$not"))
        hint = "belongs behind an attribute" if name in OPERATORS else "is no operator"
        raise InvalidCondition(path, f'{hint}; here stand {known} or an attribute, as in {{"country": "de"}}')
    if not all(name.split(".")):
        raise InvalidCondition(path, "has an attribute without a name")
    return of_attribute(name, _value(value, path, scope))


def _value(value: object, path: str, scope: Scope, *, is_folded: bool = False) -> Test:
    """A test of one value: operators that all hold, or equality with a literal. is_folded: without regard to case."""
    if not has_operators(value):
        return equals(value, path, is_folded=is_folded)
    assert isinstance(value, dict)
    tests = []
    for name, operand in value.items():
        builder = OPERATORS.get(name)
        if builder is None:
            hint = "stands only before attributes" if name in JUNCTIONS else "is no operator"
            raise InvalidCondition(joined(path, name), f"{hint}; known are {', '.join(OPERATORS)}")
        tests.append(builder(operand, joined(path, name), scope))
    return all_of(tests)


def _contains(operand: object, path: str, scope: Scope, *, is_folded: bool = False) -> Test:
    tests = [
        _value(value, f"{path}[{at}]", scope, is_folded=is_folded)
        for at, value in enumerate(checked_list(operand, path))
    ]
    return lambda x: isinstance(x, list) and all(any(test(item) for item in x) for test in tests)


def _element(operand: object, path: str, scope: Scope) -> Test:
    """A test of items themselves, or of their fields when a junction or a name is in the operand; null never passes."""
    test = _value(operand, path, scope) if is_about_items(operand) else _condition(operand, path, scope)
    return lambda x: isinstance(x, list) and any(item is not None and test(item) for item in x)


def _sized(operand: object, path: str, scope: Scope) -> Test:
    if not is_number(operand) and not has_operators(operand):
        raise InvalidCondition(path, 'must be a number or operators, such as {"$gt": 2}')
    test = _value(operand, path, scope)
    return lambda x: isinstance(x, list) and test(len(x))


_FOLDED_PATTERN: Builder = partial(matching, flags=re.IGNORECASE)

OPERATORS: dict[str, Builder] = {
    "$eq": equal,
    "$ne": negated(equal),
    "$lt": partial(ordered, operator.lt),
    "$lte": partial(ordered, operator.le),
    "$gt": partial(ordered, operator.gt),
    "$gte": partial(ordered, operator.ge),
    "$in": one_of,
    "$nin": negated(one_of),
    "$ini": one_of_folded,
    "$nini": negated(one_of_folded),
    "$inGroup": grouped,
    "$notInGroup": negated(grouped),
    "$all": _contains,
    "$alli": partial(_contains, is_folded=True),
    "$elemMatch": _element,
    "$size": _sized,
    "$exists": existing,
    "$type": typed,
    "$regex": matching,
    "$notRegex": negated(matching),
    "$regexi": _FOLDED_PATTERN,
    "$notRegexi": negated(_FOLDED_PATTERN),
    "$veq": partial(version, operator.eq),
    "$vne": partial(version, operator.ne),
    "$vlt": partial(version, operator.lt),
    "$vlte": partial(version, operator.le),
    "$vgt": partial(version, operator.gt),
    "$vgte": partial(version, operator.ge),
    "$not": lambda operand, path, scope: inverse(_value(operand, path, scope)),
}
