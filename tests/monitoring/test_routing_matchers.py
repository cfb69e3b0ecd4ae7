import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.targeting import TEXT_MAX
from monitoring.routing.matchers import (
    InvalidMatcher,
    Matcher,
    Operator,
    as_text,
    from_api,
    matches_all,
    parse,
)
from monitoring.routing.patterns import InvalidPattern, whole_match

EQUAL, NOT_EQUAL, MATCH, NO_MATCH = Operator

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
plain = st.builds(Matcher, texts.filter(bool), st.sampled_from([EQUAL, NOT_EQUAL]), texts)
atoms = st.sampled_from(["a", "b", ".", "[ab]", r"\.", "(a|b)", "(?:b|ab)", "ab"])
pieces = st.builds("".join, st.tuples(atoms, st.sampled_from(["", "", "*", "+", "?", "*?", "{2}"])))
sequences = st.builds("".join, st.lists(pieces, max_size=3))
ends = st.sampled_from(["{}", "^{}$", ".*{}", "{}.*", ".*{}.*", "({})", "^({})$", "(?:{})", "^{}", "{}$"])
patterns = st.builds(
    lambda parts, end: end.format("|".join(parts)), st.lists(sequences, min_size=1, max_size=3), ends
)


@given(st.lists(plain, max_size=5))
def test_matchers_written_and_read_again_are_the_same(matchers: list[Matcher]) -> None:
    assert parse(as_text(matchers)) == matchers
    assert parse("{" + as_text(matchers) + "}") == matchers
    assert [from_api(one.as_api()) for one in matchers] == matchers


@settings(max_examples=500, deadline=None)
@given(patterns, st.text("ab.\n", max_size=6))
def test_pattern_matches_whole_values_as_python_does(pattern: str, value: str) -> None:
    try:
        found = whole_match(pattern)(value)
    except InvalidPattern:
        return
    assert found == (re.fullmatch(pattern.replace("$", r"\Z"), value, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('severity="critical", team=~"a|b"', [("severity", "=", "critical"), ("team", "=~", "a|b")]),
        ("{severity=critical}", [("severity", "=", "critical")]),
        ("{ foo = bar , baz != qux , }", [("foo", "=", "bar"), ("baz", "!=", "qux")]),
        ("a!~x.*", [("a", "!~", "x.*")]),
        ("a=b c", [("a", "=", "b c")]),
        ('a="b,c"', [("a", "=", "b,c")]),
        ('a="say \\"hi\\"\\n\\\\"', [("a", "=", 'say "hi"\n\\')]),
        (r'a=~"\d+\.x"', [("a", "=~", r"\d+\.x")]),
        ('"größe in µm"="x"', [("größe in µm", "=", "x")]),
        ("größe=x", [("größe", "=", "x")]),
        ("a=", [("a", "=", "")]),
        ('a=""', [("a", "=", "")]),
        ('a="}"', [("a", "=", "}")]),
        ("", []),
        ("{}", []),
    ],
)
def test_parse_reads_what_alertmanager_reads(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(one.name, one.op, one.value) for one in parse(text)] == expected


@pytest.mark.parametrize(
    ("text", "position", "fix"),
    [
        ("a", 2, "write one of ="),
        ("a~=b", 2, "write one of ="),
        ("=b", 1, "write it bare or in double quotes"),
        ("a=b,,c=d", 5, "write it bare or in double quotes"),
        ('a="x" b="y"', 7, "write one between two matchers"),
        ('a="b', 3, 'write " behind it'),
        ("a='b'", 3, "double quotes"),
        ('a=b"c', 4, "put the value in quotes"),
        ("{a=b", 5, "write } at the end"),
        ('x=y, a=~"(b"', 6, "no regular expression"),
        (r'a=~"(b)\1"', 1, "a reference"),
        ('a=~"(?=b)c"', 1, "a group that begins with (?"),
        ('a=~"(b+)+c"', 1, "without a repetition inside another"),
        ('a=~"' + "x" * 501 + '"', 1, "the most is 500"),
        ('a=~"' + "x" * 300 + '"', 1, "split it with |"),
        ('a=~".*b.*c.*d.*e"', 1, "fewer * and +"),
        ("a=\0", 1, "NUL"),
    ],
)
def test_parse_says_where_it_is_wrong_and_what_to_do(text: str, position: int, fix: str) -> None:
    with pytest.raises(InvalidMatcher) as caught:
        parse(text)
    assert str(caught.value).startswith(f"At character {position}: ")
    assert fix in str(caught.value)


def test_parse_with_many_matchers_is_refused() -> None:
    with pytest.raises(InvalidMatcher, match="more than 50 matchers"):
        parse(",".join(f"a{number}=b" for number in range(51)))


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ('a="x"', {"a": "x"}, True),
        ('a="x"', {}, False),
        ('a=""', {}, True),
        ('a!="x"', {}, True),
        ('a!=""', {}, False),
        ('a=~"x.*"', {"a": "xy"}, True),
        ('a=~"x"', {"a": "xy"}, False),
        ('a=~"x"', {"a": "x\n"}, False),
        ('a=~"^x$"', {"a": "x"}, True),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~".+"', {}, True),
        ('a!~"x|y"', {"a": "y"}, False),
        ('a=~"x|yz"', {"a": "xz"}, False),
        ('a=~"(?i)CRIT"', {"a": "crit"}, True),
        (r'a=~"\d"', {"a": "٣"}, False),
        ("a=x, b=y", {"a": "x", "b": "z"}, False),
        ("", {"a": "x"}, True),
    ],
)
def test_matchers_hold_as_in_alertmanager(text: str, labels: dict[str, str], expected: bool) -> None:
    assert matches_all(parse(text), labels) is expected


def test_pattern_of_many_words_is_taken() -> None:
    names = [f"service{number}" for number in range(40)]
    for text in ("|".join(names), f"({'|'.join(names)})", f"^(?:{'|'.join(names)})$"):
        matcher = Matcher("a", MATCH, text)
        assert matcher.matches({"a": "service39"})
        assert not matcher.matches({"a": "service39x"})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (".*foo.*bar.*", "foo" * 400),
        ("[a-z]*-[a-z]*-x", "a" * TEXT_MAX + "-" + "a" * TEXT_MAX),
        ("(a|a)b.*", "a" * TEXT_MAX),
    ],
)
def test_pattern_that_is_taken_is_quick_on_the_worst_value(pattern: str, value: str) -> None:
    matches = whole_match(pattern)
    began = time.process_time()
    matches(value)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ({"name": "a"}, "needs a name and a value"),
        ({"name": "a", "value": "b", "isRegex": "yes"}, "true or false"),
        ({"name": "a", "value": "b", "isregex": True}, "no field “isregex”"),
        ({"name": "", "value": "b"}, "needs the name"),
    ],
)
def test_matcher_of_the_api_that_is_wrong_is_refused(shape: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidMatcher, match=problem):
        from_api(shape)


def test_matcher_of_the_api_is_equal_when_nothing_is_said() -> None:
    assert from_api({"name": "a", "value": "b"}) == Matcher("a", EQUAL, "b")
    assert from_api({"name": "a", "value": "b", "isEqual": False, "isRegex": True}) == Matcher(
        "a", NO_MATCH, "b"
    )
