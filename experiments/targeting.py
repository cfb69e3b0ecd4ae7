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
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

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

Test = Callable[[Any], bool]
Groups = Mapping[str, Sequence[object]]

_NO_GROUPS: Groups = MappingProxyType({})
_INTEGER_MAX = 2**53
_TYPES = ("array", "boolean", "null", "number", "object", "string")
_SCALARS = (str, int, float, type(None))
_JUNCTIONS = ("$and", "$or", "$nor")


class InvalidCondition(ValueError):
    """path: where, such as `$or[1].country.$in`, empty for the condition itself. problem: what, and how to mend it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def validate(condition: object) -> None:
    """Raises InvalidCondition for anything but a condition that can be evaluated in little time."""
    compiled(condition)


def compiled(condition: object, groups: Groups = _NO_GROUPS) -> Callable[[Mapping[str, object]], bool]:
    """The condition as a function of a unit's attributes, which never raises for values of JSON.

    groups: values of the saved groups, read now and not again; an absent group is empty. Raises InvalidCondition.
    """
    _check_size(condition)
    return _condition(condition, "", _Scope(groups))


def matches(condition: object, attributes: Mapping[str, object], groups: Groups = _NO_GROUPS) -> bool:
    """compiled, used once; the condition is checked and compiled each time."""
    return compiled(condition, groups)(attributes)


def described(condition: object) -> str:
    """The condition in English: "country is one of de, fr and version is at least 2.1.0". Raises InvalidCondition."""
    validate(condition)
    return _words(condition).text


# Size and JSON


def _check_size(condition: object) -> None:
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
            rest.extend((inner, _joined(path, key), depth + 1) for key, inner in value.items())
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
    if not isinstance(value, _SCALARS):
        raise InvalidCondition(path, f"is a Python {type(value).__name__}, which JSON does not have")
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise InvalidCondition(path, "holds a NUL character or half a surrogate pair; remove it")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidCondition(path, f"is {value}, which JSON does not have")
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        raise InvalidCondition(path, "is a number beyond 2^53, which JavaScript rounds; compare it as text")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# Conditions


@dataclass(slots=True)
class _Scope:
    """What one compilation shares. steps: of the patterns so far."""

    groups: Groups
    steps: float = 0


def _condition(condition: object, path: str, scope: _Scope) -> Test:
    """A test of attributes, or of one item of a list."""
    if not isinstance(condition, dict):
        raise InvalidCondition(path, 'must be an object, such as {"country": "de"}')
    return _all([_clause(name, value, _joined(path, name), scope) for name, value in condition.items()])


def _clause(name: str, value: object, path: str, scope: _Scope) -> Test:
    if name in _JUNCTIONS:
        tests = [_condition(x, f"{path}[{at}]", scope) for at, x in enumerate(_checked_list(value, path))]
        if name == "$and":
            return _all(tests)
        either = _any(tests) if tests else _always
        return either if name == "$or" else _inverse(either)
    if name == "$not":
        return _inverse(_condition(value, path, scope))
    if name.startswith("$"):
        known = ", ".join((*_JUNCTIONS, "$not"))
        hint = "belongs behind an attribute" if name in _OPERATORS else "is no operator"
        raise InvalidCondition(path, f'{hint}; here stand {known} or an attribute, as in {{"country": "de"}}')
    if not all(name.split(".")):
        raise InvalidCondition(path, "has an attribute without a name")
    return _attribute(name, _value(value, path, scope))


def _attribute(name: str, test: Test) -> Test:
    if "." in name:
        readers = tuple(_reader(segment) for segment in name.split("."))

        def of_nested(holder: Any) -> bool:
            for read in readers:
                holder = read(holder)
            return test(holder)

        return of_nested
    read = _reader(name)
    return lambda holder: test(holder.get(name) if type(holder) is dict else read(holder))


def _reader(segment: str) -> Callable[[Any], Any]:
    """One step of a path. Lists have a length and places, written as JavaScript does; what is absent is None."""
    place = int(segment) if re.fullmatch("0|[1-9][0-9]{0,9}", segment) else None

    def read(holder: Any) -> Any:
        if isinstance(holder, (dict, Mapping)):
            return holder.get(segment)
        if not isinstance(holder, list):
            return None
        if segment == "length":
            return len(holder)
        return holder[place] if place is not None and place < len(holder) else None

    return read


def _all(tests: Sequence[Test]) -> Test:
    match tests:
        case []:
            return _always
        case [only]:
            return only
        case [first, second]:
            return lambda x: first(x) and second(x)
        case [first, second, third]:
            return lambda x: first(x) and second(x) and third(x)
    return lambda x: all(test(x) for test in tests)


def _any(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda x: any(test(x) for test in tests)


def _inverse(test: Test) -> Test:
    return lambda x: not test(x)


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


# Values


def _value(value: object, path: str, scope: _Scope, *, is_folded: bool = False) -> Test:
    """A test of one value: operators that all hold, or equality with a literal. is_folded: without regard to case."""
    if not _has_operators(value):
        return _literal(value, path, is_folded=is_folded)
    assert isinstance(value, dict)
    tests = []
    for name, operand in value.items():
        builder = _OPERATORS.get(name)
        if builder is None:
            hint = "stands only before attributes" if name in _JUNCTIONS else "is no operator"
            raise InvalidCondition(_joined(path, name), f"{hint}; known are {', '.join(_OPERATORS)}")
        tests.append(builder(operand, _joined(path, name), scope))
    return _all(tests)


def _has_operators(value: object) -> bool:
    return isinstance(value, dict) and all(name.startswith("$") for name in value)


def _literal(value: object, path: str, *, is_folded: bool = False) -> Test:
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
                    _joined(path, name),
                    "stands in an object that is compared literally; write the attribute's path with dots, as in "
                    '{"user.country": {"$in": ["de"]}}, and operators without other names beside them',
                )
            _check_literal(inner, _joined(path, name))
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Operators: each makes a test from its operand

Builder = Callable[[object, str, _Scope], Test]


def _negated(builder: Builder) -> Builder:
    return lambda operand, path, scope: _inverse(builder(operand, path, scope))


def _equal(operand: object, path: str, _: _Scope) -> Test:
    """As JavaScript's ===, to which no list or object equals another."""
    return _never if isinstance(operand, dict | list) else _literal(operand, path)


def _ordered(compare: Callable[[Any, Any], bool], operand: object, path: str, _: _Scope) -> Test:
    if isinstance(operand, str):
        return _ordered_text(compare, operand)
    if not _is_number(operand):
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


def _version(compare: Callable[[Any, Any], bool], operand: object, path: str, _: _Scope) -> Test:
    """Values of another type than the operand's are unlike it, and neither before nor after it."""
    without = compare is operator.ne
    if isinstance(operand, str):
        expected = _padded(operand[:TEXT_MAX])
        return lambda x: compare(_padded(x[:TEXT_MAX]), expected) if isinstance(x, str) else without
    if not isinstance(operand, int | float) or isinstance(operand, bool):
        raise InvalidCondition(path, 'compares with a version only, such as "2.1.0"')
    expected = _padded(_number_text(operand))
    return lambda x: compare(_padded(_number_text(x)), expected) if _is_number(x) else without


@lru_cache(maxsize=1_024)
def _padded(version: str) -> str:
    """A text that sorts as the version does: numbers padded to five places, 1.0.0 after 1.0.0-beta, without build."""
    parts = re.split("[-.]", re.sub(r"^v|\+.*$", "", version or "0"))
    if len(parts) == 3:
        parts.append("~")
    return "-".join(part.rjust(5) if part.isascii() and part.isdigit() else part for part in parts)


def _number_text(value: float) -> str:
    """As JavaScript's String(number); integers become doubles first. Source: ECMAScript, Number::toString."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, places, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    n = len(places) + exponent  # The value is 0.digits × 10^n.
    digits = "".join(map(str, places)).rstrip("0")
    if -6 < n <= 0:
        text = "0." + "0" * -n + digits
    elif 0 < n <= 21:
        whole, fraction = digits[:n].ljust(n, "0"), digits[n:]
        text = f"{whole}.{fraction}" if fraction else whole
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{n - 1:+d}"
    return "-" + text if sign else text


def _one_of(operand: object, path: str, _: _Scope) -> Test:
    return _within(_checked_list(operand, path), is_folded=False)


def _one_of_folded(operand: object, path: str, _: _Scope) -> Test:
    return _within(_checked_list(operand, path), is_folded=True)


def _within(values: Sequence[object], *, is_folded: bool) -> Test:
    """Equality with one of the values; a list has one in common. Lists and objects within equal nothing."""
    scalars = [
        x.lower() if is_folded and isinstance(x, str) else x for x in values if isinstance(x, _SCALARS)
    ]
    plain = frozenset(x for x in scalars if not isinstance(x, bool))
    booleans = frozenset(x for x in scalars if isinstance(x, bool))

    def has(value: Any) -> bool:
        if isinstance(value, str):
            return (value.lower() if is_folded else value) in plain
        if isinstance(value, bool):
            return value in booleans
        return isinstance(value, _SCALARS) and value in plain

    return lambda x: any(has(item) for item in x) if isinstance(x, list) else has(x)


def _grouped(operand: object, path: str, scope: _Scope) -> Test:
    if not isinstance(operand, str):
        raise InvalidCondition(path, "names a saved group by its id, a text")
    return _within(scope.groups.get(operand, ()), is_folded=False)


def _contains(operand: object, path: str, scope: _Scope, *, is_folded: bool = False) -> Test:
    tests = [
        _value(value, f"{path}[{at}]", scope, is_folded=is_folded)
        for at, value in enumerate(_checked_list(operand, path))
    ]
    return lambda x: isinstance(x, list) and all(any(test(item) for item in x) for test in tests)


def _element(operand: object, path: str, scope: _Scope) -> Test:
    """A test of items themselves, or of their fields when a junction or a name is in the operand; null never passes."""
    test = _value(operand, path, scope) if _is_about_items(operand) else _condition(operand, path, scope)
    return lambda x: isinstance(x, list) and any(item is not None and test(item) for item in x)


def _is_about_items(operand: object) -> bool:
    return isinstance(operand, dict) and _has_operators(operand) and operand.keys().isdisjoint(_JUNCTIONS)


def _sized(operand: object, path: str, scope: _Scope) -> Test:
    if not _is_number(operand) and not _has_operators(operand):
        raise InvalidCondition(path, 'must be a number or operators, such as {"$gt": 2}')
    test = _value(operand, path, scope)
    return lambda x: isinstance(x, list) and test(len(x))


def _existing(operand: object, path: str, _: _Scope) -> Test:
    if not isinstance(operand, bool):
        raise InvalidCondition(path, "must be true or false")
    return lambda x: (x is not None) is operand


def _typed(operand: object, path: str, _: _Scope) -> Test:
    if operand not in _TYPES:
        raise InvalidCondition(path, f"must be one of {', '.join(_TYPES)}")
    return lambda x: _type(x) == operand


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _matching(operand: object, path: str, scope: _Scope, *, flags: int = 0) -> Test:
    if not isinstance(operand, str):
        raise InvalidCondition(path, "must be a regular expression, a text")
    search, steps = _pattern(operand, flags, path)
    scope.steps += steps
    if scope.steps > STEPS_MAX:
        raise InvalidCondition(
            path,
            "can take too long on some values. Begin the pattern with ^, use fewer of * and +, let a character follow "
            "each that it cannot match (as in [^/]+/), or test the parts in several clauses",
        )
    return lambda x: isinstance(x, str) and search(x[:TEXT_MAX]) is not None


def _checked_list(operand: object, path: str) -> list[object]:
    if not isinstance(operand, list):
        raise InvalidCondition(path, "must be a list")
    return operand


_FOLDED_PATTERN: Builder = partial(_matching, flags=re.IGNORECASE)

_OPERATORS: dict[str, Builder] = {
    "$eq": _equal,
    "$ne": _negated(_equal),
    "$lt": partial(_ordered, operator.lt),
    "$lte": partial(_ordered, operator.le),
    "$gt": partial(_ordered, operator.gt),
    "$gte": partial(_ordered, operator.ge),
    "$in": _one_of,
    "$nin": _negated(_one_of),
    "$ini": _one_of_folded,
    "$nini": _negated(_one_of_folded),
    "$inGroup": _grouped,
    "$notInGroup": _negated(_grouped),
    "$all": _contains,
    "$alli": partial(_contains, is_folded=True),
    "$elemMatch": _element,
    "$size": _sized,
    "$exists": _existing,
    "$type": _typed,
    "$regex": _matching,
    "$notRegex": _negated(_matching),
    "$regexi": _FOLDED_PATTERN,
    "$notRegexi": _negated(_FOLDED_PATTERN),
    "$veq": partial(_version, operator.eq),
    "$vne": partial(_version, operator.ne),
    "$vlt": partial(_version, operator.lt),
    "$vlte": partial(_version, operator.le),
    "$vgt": partial(_version, operator.gt),
    "$vgte": partial(_version, operator.ge),
    "$not": lambda operand, path, scope: _inverse(_value(operand, path, scope)),
}


# Patterns: users type them, so a bound of what the worst text costs is computed before one is ever run

_TOKEN = re.compile(
    r"""
    (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]) | (?P<escape>\\(?:x..|u....|.)) | (?P<open>\((?:\?:)?) | (?P<close>\))
    | (?P<bar>\|) | (?P<times>(?:[*+?]|\{\d+(?:,\d*)?\})[?+]?) | (?P<anchor>[\^$]) | (?P<any>\.) | (?P<char>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PROBES = "".join(map(chr, range(128))) + "ıſİK"
"""ASCII, and all other characters that equal one of it when case is ignored."""

_ESCAPES = frozenset("bBdDfnrsStuvwWx")
"""Letters that mean the same behind a backslash in Python and JavaScript."""

Token = tuple[str, str]


@dataclass(slots=True)
class _Part:
    """A piece of a pattern. text: of a piece that matches one character, else empty. ways: how many ways to match it once
    a search may try; work: in how many steps. repeats: product of the nested upper bounds, infinity counted as TEXT_MAX.
    """

    kind: str
    text: str = ""
    ways: float = 1
    work: float = 1
    repeats: int = 1
    low: int = 1
    high: int = 1


@lru_cache(maxsize=256)
def _pattern(pattern: str, flags: int, path: str) -> tuple[Callable[[str], object], float]:
    """The search, and a bound of the steps it takes on TEXT_MAX characters up to a constant factor."""
    if len(pattern) > PATTERN_MAX:
        raise InvalidCondition(path, f"has {len(pattern)} characters; the most is {PATTERN_MAX}")
    _check_tokens(pattern, path)
    try:
        re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidCondition(path, f"is no regular expression: {error}") from None
    # Finding .*x is finding x. Without the open beginning a search need not try every place twice.
    pattern = re.sub(r"\A(?:\.\*\??)+", "", pattern)
    branches = _parse(iter(_tokens(pattern)), path)
    starts = 1 if all(branch and branch[0].text == "^" for branch in branches) else TEXT_MAX
    return re.compile(pattern, flags).search, starts * _cost(branches, is_last=True)[1]


def _tokens(pattern: str) -> list[Token]:
    return [(found.lastgroup or "", found.group()) for found in _TOKEN.finditer(pattern)]


def _check_tokens(pattern: str, path: str) -> None:
    before = ""
    for kind, text in _tokens(pattern):
        if before == "(" and text.startswith("?"):
            problem = "a group that begins with (?, other than (?:"
        elif kind in {"set", "escape"} and (odd := _odd_escape(text)):
            problem = f"{odd}, a reference or an escape that is not the same in JavaScript"
        elif kind == "times" and len(text) > 1 and text.endswith("+"):
            problem = f"{text}, a quantifier that JavaScript lacks"
        elif kind == "times" and any(int(number) > REPEATS_MAX for number in re.findall("[0-9]+", text)):
            problem = f"{text}, more than {REPEATS_MAX} repetitions"
        elif before == "{" and text == ",":
            problem = "{, without a number before the comma"
        elif kind == "char" and text == "[":
            problem = "[ without its ]"
        elif kind == "set" and re.search(r"\A\[\^?\[|--|&&|~~|\|\|", text):
            problem = f"{text}, a set that is ambiguous; escape [ - & ~ | in it with a backslash"
        else:
            before = text
            continue
        raise InvalidCondition(path, f"holds {problem}")


def _odd_escape(text: str) -> str | None:
    letters = re.findall(r"\\(.)", text, re.DOTALL)
    return next((f"\\{x}" for x in letters if x.isalnum() and x not in _ESCAPES), None)


def _parse(tokens: Iterator[Token], path: str) -> list[list[_Part]]:
    """The alternatives of a pattern, or of a group up to its end; the pattern is known to be well-formed."""
    branches: list[list[_Part]] = [[]]
    for kind, text in tokens:
        if kind == "close":
            break
        if kind == "bar":
            branches.append([])
        elif kind == "open":
            inner = _parse(tokens, path)
            repeats = max((part.repeats for branch in inner for part in branch), default=1)
            ways, work = _cost(inner)
            branches[-1].append(_Part("group", ways=ways, work=work, repeats=repeats))
        elif kind == "times":
            _repeat(branches[-1][-1], text, path)
        else:
            is_place = kind == "escape" and text in {r"\b", r"\B"}
            branches[-1].append(_Part("anchor" if is_place else kind, text))
    return branches


def _repeat(part: _Part, times: str, path: str) -> None:
    part.low, part.high = _bounds(times)
    if part.high > 1 and part.repeats > 1 and part.high * part.repeats > NESTED_REPEATS_MAX:
        raise InvalidCondition(
            path,
            f"repeats with {times} what holds a repetition, more than {NESTED_REPEATS_MAX} times in all; "
            "write it without a repetition inside another",
        )
    part.repeats *= max(part.high, 1)


def _bounds(times: str) -> tuple[int, int]:
    if times[0] in "*+?":
        return int(times[0] == "+"), 1 if times[0] == "?" else TEXT_MAX
    low, comma, high = times[1 : times.index("}")].partition(",")
    return int(low), int(high or TEXT_MAX) if comma else int(low)


def _cost(branches: Sequence[Sequence[_Part]], *, is_last: bool = False) -> tuple[float, float]:
    """Ways and work of alternatives: those that begin with different characters exclude each other, others add up."""
    free = work = 0.0
    by_first: dict[str, float] = {}
    for branch in branches:
        ways, steps = _cost_of_sequence(branch, is_last=is_last)
        work += steps
        first = branch[0] if branch else _Part("anchor")
        if first.kind == "char" and first.low > 0:
            by_first[first.text.lower()] = by_first.get(first.text.lower(), 0) + ways
        else:
            free += ways
    return free + max(by_first.values(), default=0), work


def _cost_of_sequence(parts: Sequence[_Part], *, is_last: bool) -> tuple[float, float]:
    """Each part's work is done once for each way to match the parts before it. is_last: success ends the search."""
    ways, work = 1.0, 1.0
    for part, following in zip(parts, [*parts, None][1:], strict=True):
        is_simple = part.ways == 1
        if following is None and is_last and is_simple:
            work += ways * part.work
            continue
        repetitions = _ways_of_repetition(part)
        work += ways * part.work * (part.high if is_simple else repetitions)
        ways *= 1 if is_simple and following is not None and _excludes(part, following) else repetitions
    return ways, work


def _ways_of_repetition(part: _Part) -> float:
    if part.ways == 1:
        return part.high - part.low + 1
    if part.high > 20:
        return math.inf
    return sum(part.ways**count for count in range(part.low, part.high + 1))


def _excludes(part: _Part, following: _Part) -> bool:
    """Whether a repetition can end in one place only, as what follows cannot match what is repeated."""
    if following.low == 0 or not part.text:
        return False
    if following.text == "$":
        return True
    if following.kind in {"anchor", "group"}:
        return False
    characters, is_open = _characters(part.text)
    others, is_other_open = _characters(following.text)
    return characters.isdisjoint(others) and not (is_open and is_other_open)


@lru_cache(maxsize=1_024)
def _characters(text: str) -> tuple[frozenset[str], bool]:
    """Which of the probes a set, an escape or a character matches, and whether it may match others too."""
    is_open = text == "." or text.startswith("[^") or not text.isascii() or re.search(r"\\[dDsSwWux]", text)
    return frozenset(re.findall(text, _PROBES, re.IGNORECASE)), bool(is_open)


# Words


@dataclass(frozen=True, slots=True)
class _Words:
    """junction: "and" or "or" when it joins the text's outermost parts, else empty."""

    text: str
    junction: str = ""


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
    if name in _JUNCTIONS:
        together = _together([_words(inner) for inner in value], "and" if name == "$and" else "or")
        return _not(together) if name == "$nor" else together
    return _value_words(name, value)


def _value_words(subject: str, value: Any, ending: str = "") -> _Words:
    if _has_operators(value):
        return _together([_operator_words(subject, name, operand) for name, operand in value.items()], "and")
    if value is None:
        return _Words(f"{subject} has no value")
    return _Words(f"{subject} is {_shown(value)}{ending if isinstance(value, str) else ''}")


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


def _operator_words(subject: str, name: str, operand: Any) -> _Words:
    match name:
        case "$exists":
            return _Words(f"{subject} has {'a' if operand else 'no'} value")
        case "$not":
            return _not(_value_words(subject, operand))
        case "$size" if _is_number(operand):
            return _Words(f"{subject} has {operand} {'item' if operand == 1 else 'items'}")
        case "$size":
            return _value_words(f"the number of items of {subject}", operand)
        case "$elemMatch":
            inner = _value_words("it", operand) if _is_about_items(operand) else _words(operand)
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
