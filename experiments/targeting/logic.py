"""Tests, the functions that conditions are compiled to, and how several become one."""

from collections.abc import Callable, Sequence
from typing import Any

Test = Callable[[Any], bool]


def all_of(tests: Sequence[Test]) -> Test:
    match tests:
        case []:
            return always
        case [only]:
            return only
        case [first, second]:
            return lambda x: first(x) and second(x)
        case [first, second, third]:
            return lambda x: first(x) and second(x) and third(x)
    return lambda x: all(test(x) for test in tests)


def any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda x: any(test(x) for test in tests)


def inverse(test: Test) -> Test:
    return lambda x: not test(x)


def always(_: Any) -> bool:
    return True


def never(_: Any) -> bool:
    return False
