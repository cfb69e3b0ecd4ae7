"""The reference is GrowthBook's Python SDK, `growthbook.core.evalCondition`: equal answers for every case here."""

import copy
import json
import math
import time
from random import Random
from typing import Any

import pytest
from growthbook.core import evalCondition
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import targeting
from experiments.targeting import InvalidCondition, compiled, described, matches, validate
from experiments.targeting.conditions import OPERATORS

GROUPS: dict[str, list[object]] = {
    "beta": ["u1", "u2", 5, True, None],
    "numbers": [0, 1, 2.5],
    "empty": [],
    "odd": [["u1"], {"a": 1}],
}

# Every value is put against every other, under every operator.
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    2,
    2.5,
    10,
    1e21,
    1.5e-7,
    "",
    "0",
    "1",
    "10",
    "9",
    "a",
    "A",
    "de",
    "DE",
    "true",
    "null",
    "é",
    "\ufb01",
    "😀",
    "1.2.3",
    "v1.2.3",
    "1.2.3-rc.1",
    "1.2.3-beta",
    "1.2.3+build.5",
    "1.2.10",
    "1.10",
    "1.2.3.4",
    "1.2.3.4-a",
    "1.9999.0",
    "1.10000.0",
    "1.123456.0",
    "u1",
    [],
    [None],
    [0],
    [False],
    [1, "a"],
    ["a"],
    ["A", "de"],
    [["a"]],
    [{"a": 1}],
    [True, 2],
    [1, 2, 3],
    {},
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": None},
    {"b": 2, "a": 1},
    {"a": 1, "b": 2},
    {"2": 0, "10": 0, "a": 0},
    {"a": 0, "10": 0, "2": 0},
    {"a": {"b": [1, "de"]}},
]
NUMBERS_AND_TEXTS = [x for x in VALUES if isinstance(x, int | float | str) and not isinstance(x, bool)]
LISTS = [x for x in VALUES if isinstance(x, list)]
TYPES = ["null", "boolean", "number", "string", "array", "object"]
PATTERNS = [
    "",
    "a",
    "^a$",
    "A",
    "^[a-z]+$",
    r"\d+",
    "^d.*e",
    ".*e",
    "(de|u)1?",
    r"^\d+\.\d+",
    ".{2,3}",
    "x",
    r"\be\b",
    "É",
]
OPERANDS: dict[str, list[Any]] = {
    "$eq": VALUES,
    "$ne": VALUES,
    **dict.fromkeys(["$lt", "$lte", "$gt", "$gte"], NUMBERS_AND_TEXTS),
    **dict.fromkeys(["$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte"], NUMBERS_AND_TEXTS),
    **dict.fromkeys(["$in", "$nin", "$ini", "$nini", "$all", "$alli"], LISTS),
    "$inGroup": [*GROUPS, "unknown"],
    "$notInGroup": [*GROUPS, "unknown"],
    "$exists": [True, False],
    "$type": TYPES,
    "$size": [0, 1, 2, 3, 1.0, -1, 2.5, {"$gt": 1}, {"$lte": 2, "$ne": 0}, {"$in": [0, 3]}, {}],
    "$elemMatch": [
        {"$eq": "a"},
        {"$gt": 1},
        {"$not": {"$gt": 1}},
        {"$not": "a"},
        {"$in": [["a"], 1]},
        {"$elemMatch": {"$eq": "a"}},
        {"$type": "object"},
        {"a": 1},
        {"a": {"$gte": 1}},
        {"a": None},
        {"length": 1},
        {"0": "a"},
        {"$or": [{"a": 1}, {"a": 2}]},
        {"$nor": [{"a": 1}]},
        {"$and": []},
        {"$not": {"b": 1}, "a": 1},
        {},
    ],
    **dict.fromkeys(["$regex", "$regexi", "$notRegex", "$notRegexi"], PATTERNS),
    "$not": [*VALUES, {"$gt": 1}, {"$in": ["a"]}, {"$not": {"$exists": True}}],
}
# Not part of the condition language of one value: they join conditions, see JOINED.
JOINED: list[dict[str, Any]] = [
    {},
    {"$or": []},
    {"$and": []},
    {"$nor": []},
    {"$not": {}},
    {"$or": [{}]},
    {"$or": [{"a": 1}, {"b": "x"}]},
    {"$and": [{"a": 1}, {"b": "x"}]},
    {"$nor": [{"a": 1}, {"b": "x"}]},
    {"$not": {"a": 1, "b": "x"}},
    {"$or": [{"a": 1}], "b": "x"},
    {"$or": [{"a": 1}], "$and": [{"b": {"$exists": True}}], "$nor": [{"c": 3}], "$not": {"d": 4}},
    {"a": 1, "b": "x", "c": None, "d": {"$exists": False}},
    {"$and": [{"$or": [{"a": 1}, {"a": 2}]}, {"$not": {"$nor": [{"b": "x"}]}}]},
    {"a.b": 1},
    {"a.b": {"$exists": False}},
    {"a.b.c": {"$in": [1, None]}},
    {"a.length": 2},
    {"a.0": 1},
    {"a.1.b": 5},
    {"a.00": None},
    {"a.-1": None},
    {"a.9999999999": None},
    {"a.99999999999": None},
    {"a.²": None},
    {"length": None},
    {"a.b.length": 1},
]
HOLDERS: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": 1, "b": "x"},
    {"a": 2, "b": "x", "c": 3},
    {"a": 1, "b": None, "c": None},
    {"b": "x", "d": 4},
    {"a": {"b": 1}},
    {"a": {"b": {"c": 1}}},
    {"a": {"b": [1]}},
    {"a": {"b": None}},
    {"a": [1, {"b": 5}]},
    {"a": [1, 2]},
    {"a": [[1], [2]]},
    {"a": {"length": 2, "0": 1}},
    {"a": "text"},
    {"a.b": 1},
    {"length": 3},
]


def wrapped(condition: dict[str, Any], attributes: dict[str, Any]) -> tuple[bool, bool]:
    """Ours and the SDK's."""
    return compiled(condition, GROUPS)(attributes), evalCondition(attributes, condition, GROUPS)


def test_every_operator_is_in_the_table() -> None:
    assert set(OPERANDS) == set(OPERATORS)


@pytest.mark.parametrize("name", OPERANDS)
def test_operator_on_every_pair_of_values_equals_sdk(name: str) -> None:
    answers = set()
    for operand in OPERANDS[name]:
        test = compiled({"x": {name: operand}}, GROUPS)
        negated = compiled({"x": {"$not": {name: operand}}}, GROUPS)
        for attributes in [{}, *({"x": value} for value in [*VALUES, math.nan, math.inf, [math.nan]])]:
            expected = evalCondition(attributes, {"x": {name: operand}}, GROUPS)
            assert test(attributes) is expected, (operand, attributes)
            assert negated(attributes) is not expected, (operand, attributes)
            answers.add(expected)
    assert answers == {True, False}


@pytest.mark.parametrize("value", VALUES, ids=json.dumps)
def test_literal_against_every_value_equals_sdk(value: object) -> None:
    for attributes in [{}, *({"x": other} for other in [*VALUES, math.nan, [math.nan], {"a": math.inf}])]:
        for condition in ({"x": value}, {"x": {"$all": [value]}}, {"x": {"$alli": [value, "a"]}}):
            ours, sdk = wrapped(condition, attributes)
            assert ours is sdk, (condition, attributes)


@pytest.mark.parametrize("condition", JOINED, ids=json.dumps)
def test_joined_conditions_equal_sdk(condition: dict[str, Any]) -> None:
    for attributes in HOLDERS:
        ours, sdk = wrapped(condition, attributes)
        assert ours is sdk, attributes


# Answers from the published semantics, written by hand: a reference that does not depend on the installed SDK.
@pytest.mark.parametrize(
    ("condition", "attributes", "expected"),
    [
        ({"country": "de"}, {"country": "de"}, True),
        ({"country": "de"}, {"country": "DE"}, False),
        ({"country": None}, {}, True),
        ({"country": {"$ne": "de"}}, {}, True),
        ({"country": {"$nin": ["de"]}}, {}, True),
        ({"age": {"$gt": 17}}, {"age": "20"}, False),
        ({"age": 20}, {"age": "20"}, False),
        ({"age": {"$lt": 18}}, {}, False),
        ({"tags": {"$in": ["a", "b"]}}, {"tags": ["x", "b"]}, True),
        ({"tags": {"$all": ["a", "b"]}}, {"tags": ["b", "a", "c"]}, True),
        ({"tags": {"$alli": ["A"]}}, {"tags": ["a"]}, True),
        ({"tags": {"$ini": ["A"]}}, {"tags": ["a"]}, True),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, False),
        ({"flag": True}, {"flag": 1}, False),
        ({"flag": {"$in": [1]}}, {"flag": True}, False),
        ({"v": {"$vgt": "1.9.0"}}, {"v": "1.10.0"}, True),
        ({"v": {"$vlt": "1.0.0"}}, {"v": "1.0.0-rc.1"}, True),
        ({"v": {"$veq": "v1.2.3+7"}}, {"v": "1.2.3"}, True),
        ({"v": {"$vne": "1.2.3"}}, {}, True),
        ({"u": {"$inGroup": "beta"}}, {"u": "u1"}, True),
        ({"u": {"$notInGroup": "unknown"}}, {"u": "u1"}, True),
        ({"user.address.city": "Bonn"}, {"user": {"address": {"city": "Bonn"}}}, True),
        (
            {"r": {"$elemMatch": {"id": 2, "on": True}}},
            {"r": [{"id": 2, "on": False}, {"id": 2, "on": True}]},
            True,
        ),
        ({"email": {"$regexi": "@EXAMPLE\\.com$"}}, {"email": "a@example.com"}, True),
        ({"email": {"$notRegex": "@example\\.com$"}}, {}, True),
        ({"$not": {"country": {"$exists": True}}}, {"country": None}, True),
    ],
    ids=str,
)
def test_condition_means_what_is_published(condition: Any, attributes: Any, expected: bool) -> None:
    assert compiled(condition, GROUPS)(attributes) is expected
    assert evalCondition(attributes, condition, GROUPS) is expected


# Any condition, any attributes

NAMES = st.sampled_from(["a", "b", "c", "a.b", "a.0", "b.length", "c.a.b", "0", "length"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.5, 1.0, -0.0, 1e21, 123456789012.5, 1e-7]),
    st.sampled_from(
        [
            "",
            "a",
            "A",
            "b",
            "ab",
            "é",
            "É",
            "\uffff",
            "😀",
            "1",
            "2",
            "10",
            "1.0.0",
            "1.0.0-b",
            "v1.0.1",
            "1.0",
        ]
    ),
    st.text("aA1.-+v", max_size=6),
)
LITERALS = (
    st.sampled_from(VALUES)
    | SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "0", "10", "2"]), SCALARS, max_size=3)
)
NUMBER_OR_TEXT = SCALARS.filter(lambda x: x is not None and not isinstance(x, bool))
SAFE_PATTERNS = st.sampled_from(PATTERNS) | st.text("ab1.^$", max_size=4).filter(lambda x: "^$" not in x)


def operand(name: str, depth: int) -> st.SearchStrategy[Any]:
    if name in {"$eq", "$ne"}:
        return LITERALS
    if name in {"$lt", "$lte", "$gt", "$gte"} or name.startswith("$v"):
        return NUMBER_OR_TEXT
    if name in {"$in", "$nin", "$ini", "$nini"}:
        return st.lists(LITERALS, max_size=4)
    if "egex" in name:
        return SAFE_PATTERNS
    if name in {"$inGroup", "$notInGroup"}:
        return st.sampled_from([*GROUPS, "unknown"])
    if name in {"$all", "$alli"}:
        return st.lists(values(depth), max_size=3)
    if name == "$not":
        return values(depth)
    if name == "$elemMatch":
        return operators(depth - 1) | conditions(depth - 1)
    if name == "$size":
        return st.integers(0, 3) | st.fixed_dictionaries({"$gt": st.integers(0, 3)})
    return st.booleans() if name == "$exists" else st.sampled_from(TYPES)


@st.composite
def operators(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    names = [name for name in OPERANDS if depth > 0 or name not in {"$not", "$elemMatch", "$all", "$alli"}]
    chosen = draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
    return {name: draw(operand(name, depth)) for name in chosen}


@st.composite
def values(draw: st.DrawFn, depth: int) -> Any:
    return draw(LITERALS) if draw(st.integers(0, 5)) == 1 else draw(operators(depth - 1))


@st.composite
def conditions(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """Attributes, and down to the depth also up to two junctions."""
    condition = {
        name: draw(values(depth)) for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    }
    junctions = st.sampled_from(["$or", "$and", "$nor", "$not"])
    for name in draw(st.lists(junctions, max_size=2, unique=True)) if depth > 0 else []:
        inner = conditions(depth - 1)
        condition[name] = draw(inner if name == "$not" else st.lists(inner, max_size=3))
    return condition


ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "c", "0", "length"]), LITERALS, max_size=5)


@settings(max_examples=100, deadline=None)
@given(conditions(2), st.lists(ATTRIBUTES, min_size=2, max_size=2))
def test_any_condition_on_any_attributes_equals_sdk(condition: Any, units: list[Any]) -> None:
    kept = copy.deepcopy((condition, units))
    test = compiled(condition, GROUPS)
    for attributes in [*units, *HOLDERS]:
        expected = evalCondition(attributes, condition, GROUPS)
        assert test(attributes) is expected
    assert described(condition)
    assert (condition, units) == kept


def test_many_random_clauses_equal_sdk() -> None:
    """Pairs that often match, which random search seldom finds: operands and values come from one small table."""
    random = Random(20)
    names = list(OPERANDS)
    count = {True: 0, False: 0}
    for _ in range(5_000):
        clauses: dict[str, Any] = {}
        for attribute in random.sample("abc", random.randint(1, 3)):
            chosen = random.sample(names, random.randint(1, 2))
            clauses[attribute] = {name: random.choice(OPERANDS[name]) for name in chosen}
        condition = {
            random.choice(["$or", "$and", "$nor"]): [{name: value} for name, value in clauses.items()]
        }
        attributes = {name: random.choice(VALUES) for name in random.sample("abc", random.randint(0, 3))}
        ours, sdk = wrapped(condition, attributes)
        assert ours is sdk, (condition, attributes)
        count[ours] += 1
    assert min(count.values()) > 1_000


@given(
    st.floats()
    | st.integers(-(10**330), 10**330).map(lambda x: x // 10**300)
    | st.sampled_from([10**400, -(10**400)])
)
def test_number_as_version_is_written_as_sdk_writes_it(number: float) -> None:
    for expected in (0, 1.5, 100, 1e21, 1e-7, 12345.678):
        for name in ("$veq", "$vlt", "$vgte"):
            ours, sdk = wrapped({"v": {name: expected}}, {"v": number})
            assert ours is sdk


# Documented differences from the SDK


def test_version_with_digits_of_other_scripts_is_text_as_in_javascript() -> None:
    condition = {"v": {"$vgt": "1.10.0"}}
    assert (
        matches(condition, {"v": "1.٩.0"}) is True
    )  # Text sorts after padded numbers; 9 as a number would not.
    assert evalCondition({"v": "1.٩.0"}, condition) is False


@pytest.mark.parametrize("name", ["$regex", "$veq"])
def test_value_beyond_the_limit_is_read_up_to_it(name: str) -> None:
    inside = "a" * (targeting.TEXT_MAX - 1) + "b"
    condition = {"x": {name: "b$" if name == "$regex" else inside}}
    assert matches(condition, {"x": inside}) is True
    assert matches(condition, {"x": inside + "cc"}) is True
    assert matches(condition, {"x": "a" + inside}) is False


# Groups


def test_group_changed_after_compilation_changes_nothing() -> None:
    groups = {"beta": ["u1"]}
    test = compiled({"u": {"$inGroup": "beta"}}, groups)
    groups["beta"].append("u2")
    assert test({"u": "u1"}) is True
    assert test({"u": "u2"}) is False


def test_attributes_of_another_mapping_are_read() -> None:
    class Lazy(dict[str, object]):
        pass

    assert matches({"a": 1, "b.c": 2}, Lazy(a=1, b=Lazy(c=2))) is True


# Validation


def nested(depth: int) -> Any:
    condition: Any = {"a": 1}
    for _ in range(depth - 1):
        condition = {"$not": condition}
    return condition


@pytest.mark.parametrize(
    ("condition", "path", "words"),
    [
        ([], "", "must be an object"),
        (None, "", "must be an object"),
        ("de", "", "must be an object"),
        ({"$or": {"a": 1}}, "$or", "must be a list"),
        ({"$and": [1]}, "$and[0]", "must be an object"),
        ({"$nor": [{}, []]}, "$nor[1]", "must be an object"),
        ({"$not": "de"}, "$not", "must be an object"),
        ({"$eq": 1}, "$eq", "belongs behind an attribute"),
        ({"$xor": []}, "$xor", "is no operator"),
        ({"$savedGroup": {"id": "x"}}, "$savedGroup", "is no operator"),
        ({"a": {"$inn": []}}, "a.$inn", "is no operator"),
        ({"a": {"$or": []}}, "a.$or", "stands only before attributes"),
        ({"a": {"$gt": 1, "b": 2}}, "a.$gt", "compared literally"),
        ({"a": {"b": {"$gt": 1}}}, "a.b.$gt", "with dots"),
        ({"a": [{"$gt": 1}]}, "a[0].$gt", "compared literally"),
        ({"": 1}, "", "without a name"),
        ({"a..b": 1}, "a..b", "without a name"),
        ({"$or": [{}, {"country": {"$in": "de"}}]}, "$or[1].country.$in", "must be a list"),
        ({"a": {"$nini": {}}}, "a.$nini", "must be a list"),
        ({"a": {"$all": "x"}}, "a.$all", "must be a list"),
        ({"a": {"$all": [{"$gt": None}]}}, "a.$all[0].$gt", "number or a text"),
        ({"a": {"$lt": True}}, "a.$lt", "number or a text"),
        ({"a": {"$gte": [1]}}, "a.$gte", "number or a text"),
        ({"a": {"$vgt": None}}, "a.$vgt", "version"),
        ({"a": {"$veq": True}}, "a.$veq", "version"),
        ({"a": {"$exists": 1}}, "a.$exists", "true or false"),
        ({"a": {"$type": "text"}}, "a.$type", "one of array"),
        ({"a": {"$type": ["null"]}}, "a.$type", "one of array"),
        ({"a": {"$size": "1"}}, "a.$size", "number or operators"),
        ({"a": {"$size": True}}, "a.$size", "number or operators"),
        ({"a": {"$elemMatch": 1}}, "a.$elemMatch", "must be an object"),
        ({"a": {"$elemMatch": {"b": {"$regex": 1}}}}, "a.$elemMatch.b.$regex", "regular expression"),
        ({"a": {"$inGroup": ["x"]}}, "a.$inGroup", "by its id"),
        ({"a": {"$notInGroup": 1}}, "a.$notInGroup", "by its id"),
        ({"a": math.nan}, "a", "JSON does not have"),
        ({"a": {"$in": [math.inf]}}, "a.$in[0]", "JSON does not have"),
        ({"a": {1, 2}}, "a", "JSON does not have"),
        ({"a": (1, 2)}, "a", "JSON does not have"),
        ({1: "a"}, "", "names are text"),
        ({"a": 2**53 + 1}, "a", "compare it as text"),
        ({"a": "\0"}, "a", "NUL"),
        ({"a": "\ud800"}, "a", "half a surrogate"),
        ({"\ud800": 1}, "", "half a surrogate"),
        (nested(21), ".".join(["$not"] * 20), "20 deep"),
        ({"a": {"$in": list(range(500))}}, "", "more than 500"),
        ({"a": "é" * 10_000}, "", "bytes"),
    ],
    ids=lambda x: repr(x)[:40],
)
def test_wrong_condition_is_refused_where_it_is_wrong(condition: Any, path: str, words: str) -> None:
    with pytest.raises(InvalidCondition) as caught:
        validate(condition)
    assert caught.value.path == path
    assert words in caught.value.problem
    assert str(caught.value).startswith(path)
    with pytest.raises(InvalidCondition):
        described(condition)
    with pytest.raises(InvalidCondition):
        matches(condition, {})


def test_condition_at_the_limits_is_accepted() -> None:
    validate(nested(20))
    validate({"a": {"$in": list(range(497))}})
    validate({"a": "é" * 9_990})
    validate({"a": [2**53, -(2**53)]})


def test_condition_that_holds_itself_is_refused() -> None:
    condition: dict[str, Any] = {}
    condition["$not"] = condition
    with pytest.raises(InvalidCondition, match="deep"):
        validate(condition)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=6), x, max_size=3),
    )
)
def test_any_json_is_accepted_or_refused(value: Any) -> None:
    try:
        test = compiled(value)
    except InvalidCondition:
        return
    assert test({}) is evalCondition({}, value, None)


# Patterns

ACCEPTED = [
    "^https?://[^/]+/checkout",
    r".*@example\.com$",
    r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"^(?:foo|bar)+$",
    "(iPhone|iPad).*OS 1[0-9]",
    "^.*foo.*bar",
    ".+axb",
    r"\bfoo\b.*\bbar\b",
    "a.*?b",
    "[]a]+",
    r"[\]\\-]+x",
    "a{2}b{1,}c{0,3}",
    "^$|^a+$",
    "x{a}",
    "",
    "(|a)",
]


@pytest.mark.parametrize("pattern", ACCEPTED)
def test_useful_pattern_is_accepted_and_equals_sdk(pattern: str) -> None:
    texts = [
        "",
        "a",
        "axb",
        "http://x.y/checkout",
        "me@example.com",
        "1.22.333.4",
        "foobar",
        "a foo, a bar",
        "]\\x",
        "aabbb",
    ]
    texts += ["iPhone with OS 12", "x{a}", "foo\nbar"]
    for name in ("$regex", "$regexi", "$notRegex", "$notRegexi"):
        for text in texts:
            ours, sdk = wrapped({"x": {name: pattern}}, {"x": text})
            assert ours is sdk, (name, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a*)*b",
        "(a|a)*b",
        "(a|ab)*c",
        "(x+x+)+y",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(.*a){20}",
        "(?:.*)*x",
        "((a{10}){10}){10}",
        "(?:(?:){1000}a?)+x",
        "(a?){30}a{30}",
        "a?" * 30 + "a" * 30,
        "a*a*a*b",
        "a.*.*=b",
        "é+é+é+x",
        "a.*b.*c",
        r"\w*\d*\w*x",
        "(?:a{0,9}){9}x",
        "a{1001}",
        "a{99999999999999999999}",
        "(?=a)b",
        "(?!a)b",
        "(?<=a)b",
        "(?<!a)b",
        "(?>a)b",
        "(?i)a",
        "(?i:a)",
        "(?P<n>a)(?P=n)",
        "(a)?(?(1)b|c)",
        "(?#x)a",
        r"(a)\1",
        r"[\1]",
        r"\Aa\Z",
        "a++",
        "a{2}+",
        "a{,3}",
        "[[a]]",
        "[a--b]",
        "[a||b]",
        "(",
        ")",
        "[",
        "*",
        "a**",
        "a{3,2}",
        "\\",
        r"\q",
        "(" * 101,
        "a" * 201,
    ],
    ids=lambda x: x[:30],
)
def test_hostile_or_bad_pattern_is_refused_quickly(pattern: str) -> None:
    started_at = time.perf_counter()
    with pytest.raises(InvalidCondition) as caught:
        validate({"x": {"$not": {"$regexi": pattern}}})
    assert caught.value.path == "x.$not.$regexi"
    assert time.perf_counter() - started_at < 0.5


def test_many_patterns_that_each_pass_are_refused_together() -> None:
    clause = {"x": {"$regex": "a.*b"}}
    validate({"$or": [clause] * 5})
    with pytest.raises(InvalidCondition, match="too long") as caught:
        validate({"$or": [clause] * 20})
    assert caught.value.path.startswith("$or[")


def test_accepted_pattern_made_at_random_never_takes_long() -> None:
    random = Random(7)
    pieces = [
        "a",
        "b",
        "a*",
        "a+",
        "a?",
        ".*",
        "(?:a|b)",
        "(?:ab)*",
        "(a|ab)",
        "(?:a?b)?",
        "[ab]*",
        "[^b]*",
        "a{0,50}",
    ]
    pieces += [
        "(?:a{1,3}b?){3}",
        r"\w*",
        r"\b",
        "(a)*",
        "(?:.?)",
        "(?:a|aa){2}",
        "(?:){9}",
        "a*?",
        "$",
        "^",
        "|",
        "(a+)+",
    ]
    texts = ["a" * 1_000, "ab" * 500, "aab" * 400]
    accepted = 0
    while accepted < 120:
        pattern = "".join(random.choices(pieces, k=random.randint(2, 7))) + random.choice(["", "x", "$", "c"])
        try:
            test = compiled({"x": {"$regex": pattern}})
        except InvalidCondition:
            continue
        accepted += 1
        for text in texts:
            started_at = time.process_time()
            ours = test({"x": text})
            assert time.process_time() - started_at < 1, pattern
            if len(text) <= targeting.TEXT_MAX and accepted <= 60:
                assert ours is evalCondition({"x": text}, {"x": {"$regex": pattern}})


@settings(max_examples=250)
@given(st.text("ab.*+?|()[]{}^$\\dw-,1", max_size=10), st.text("ab1-", max_size=8))
def test_any_pattern_is_refused_or_equals_sdk(pattern: str, text: str) -> None:
    try:
        test = compiled({"x": {"$regex": pattern}})
    except InvalidCondition:
        return
    assert test({"x": text}) is evalCondition({"x": text}, {"x": {"$regex": pattern}})


# Words


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (
            {"country": {"$in": ["de", "fr"]}, "version": {"$vgte": "2.1.0"}},
            "country is one of de, fr and version is at least 2.1.0",
        ),
        ({}, "anything"),
        ({"$or": []}, "anything"),
        ({"$not": {}}, "not (anything)"),
        ({"country": "de"}, "country is de"),
        ({"country": None}, "country has no value"),
        ({"country": {"$ne": None}}, "country has a value"),
        ({"age": "18"}, 'age is "18"'),
        ({"age": {"$gt": 17, "$lte": 65}}, "age is more than 17 and age is at most 65"),
        ({"paid": True}, "paid is true"),
        ({"paid": "true"}, 'paid is "true"'),
        ({"name": "Ann, Bo"}, 'name is "Ann, Bo"'),
        ({"tags": ["a", 1]}, 'tags is ["a", 1]'),
        (
            {"$or": [{"a": 1, "b": 2}, {"c": {"$exists": False}}], "d": 4},
            "((a is 1 and b is 2) or c has no value) and d is 4",
        ),
        ({"$and": [{"a": 1}, {"$and": [{"b": 2}, {"c": 3}]}]}, "a is 1 and b is 2 and c is 3"),
        ({"$nor": [{"a": 1}, {"b": 2}]}, "not (a is 1 or b is 2)"),
        ({"a": {"$not": {"$regex": "^x{2}"}}}, "not (a matches /^x{2}/)"),
        ({"a": {"$notRegexi": "x"}}, "a does not match /x/ (in any case)"),
        ({"a": {"$nini": ["DE"]}}, "a is none of DE (in any case)"),
        ({"a": {"$in": []}}, "a is one of nothing"),
        ({"a": {"$notInGroup": "beta testers"}}, 'a is not in the group "beta testers"'),
        ({"a": {"$type": "array"}}, "a is of type array"),
        ({"a": {"$size": 1}}, "a has 1 item"),
        ({"a": {"$size": {"$gte": 2}}}, "the number of items of a is at least 2"),
        ({"a": {"$all": ["x", {"$gt": 3}]}}, "a has items such that (one is x and one is more than 3)"),
        ({"a": {"$alli": ["x"]}}, "a has items such that (one is x (in any case))"),
        ({"a": {"$elemMatch": {"$lt": 3}}}, "a has an item such that (it is less than 3)"),
        ({"a": {"$elemMatch": {"b.c": 1}}}, "a has an item such that (b.c is 1)"),
        ({"v": {"$vne": "1.0"}}, "v is not version 1.0"),
    ],
    ids=str,
)
def test_description_of_condition_reads_as_english(condition: Any, text: str) -> None:
    assert described(condition) == text


@pytest.mark.parametrize("name", OPERANDS)
def test_description_names_the_attribute_for_every_operand(name: str) -> None:
    for operand in OPERANDS[name]:
        text = described({"country": {name: operand}})
        assert "country" in text or (operand in ({}, []) and text in {"anything", "not (anything)"})
        assert "$" not in text or name in {"$regex", "$regexi", "$notRegex", "$notRegexi"}
