"""Which units an experiment is for: GrowthBook's condition language, checked, compiled and put into words.

Pure: a function of its arguments alone. Source: GrowthBook's SDK specification, "evalCondition", as the Python SDK 4.0
evaluates it: values of different types are neither equal nor ordered, a missing attribute is null, empty `$or` holds.

What cannot mean the same to every SDK, or to a person, is refused instead of evaluated: unknown operators, operands of a
wrong type, `$` names inside objects that are compared literally, numbers and texts beyond JSON or beyond 2^53, typed
saved groups (`$savedGroup`; use `$inGroup`), patterns that JavaScript reads otherwise.

Two differences remain. Patterns and version numbers see the first 1 000 characters of a value, so that no value costs
much time. Only the digits 0 to 9 count as a number within a version, as in JavaScript; the Python SDK takes those of every
script. As in that SDK a pattern is Python's: for `\\d` and `\\w` beyond ASCII and `$` before a last line feed, a browser
differs.

Begin with conditions.py, which walks through a condition; the other files are its parts.
"""

from experiments.targeting.conditions import compiled, matches, validate
from experiments.targeting.limits import (
    BYTES_MAX,
    DEPTH_MAX,
    NESTED_REPEATS_MAX,
    NODES_MAX,
    PATTERN_MAX,
    REPEATS_MAX,
    STEPS_MAX,
    TEXT_MAX,
)
from experiments.targeting.logic import Test
from experiments.targeting.operators import Groups
from experiments.targeting.problems import InvalidCondition
from experiments.targeting.words import described

__all__ = [
    "BYTES_MAX",
    "DEPTH_MAX",
    "NESTED_REPEATS_MAX",
    "NODES_MAX",
    "PATTERN_MAX",
    "REPEATS_MAX",
    "STEPS_MAX",
    "TEXT_MAX",
    "Groups",
    "InvalidCondition",
    "Test",
    "compiled",
    "described",
    "matches",
    "validate",
]
