"""Matchers: what labels must say, read from and written in Alertmanager's syntax and the shape of its API."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from monitoring.routing.patterns import InvalidPattern, whole_match

MATCHERS_MAX = 50
VALUE_MAX = 2_000
NAME_MAX = 200

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*\Z")
_NAME = re.compile(r"""[^\s{}!=~,\\"'`]+""")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_BARE = re.compile(r"(?:\\.|[^,\"\\])*", re.DOTALL)
_SPACE = re.compile(r"\s*")
_ESCAPED = re.compile(r'\\(["\\n])')


class InvalidMatcher(ValueError):
    """Where a matcher is wrong, and how to mend it."""


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    MATCH = "=~"
    NO_MATCH = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label. A label that is missing counts as empty."""

    name: str
    op: Operator
    value: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "op", Operator(self.op))
        _check_text(self.name, "name", NAME_MAX)
        _check_text(self.value, "value", VALUE_MAX)
        if not self.name:
            raise InvalidMatcher("A matcher needs the name of a label, such as severity=critical.")
        if self.is_regex:
            try:
                whole_match(self.value)
            except InvalidPattern as error:
                raise InvalidMatcher(f"The pattern of “{self.name}” {error}.") from None

    @property
    def is_regex(self) -> bool:
        return self.op in {Operator.MATCH, Operator.NO_MATCH}

    @property
    def is_equal(self) -> bool:
        return self.op in {Operator.EQUAL, Operator.MATCH}

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.name, "")
        found = whole_match(self.value)(value) if self.is_regex else value == self.value
        return found == self.is_equal

    def __str__(self) -> str:
        name = self.name if _PLAIN_NAME.match(self.name) else _quoted(self.name)
        return f"{name}{self.op}{_quoted(self.value)}"

    def as_api(self) -> dict[str, str | bool]:
        """The shape of Alertmanager's API v2."""
        return {
            "name": self.name,
            "value": self.value,
            "isRegex": self.is_regex,
            "isEqual": self.is_equal,
        }


def from_api(shape: Mapping[str, Any]) -> Matcher:
    """Raises InvalidMatcher; isEqual is true when it is not said, as in Alertmanager's API v2."""
    unknown = set(shape) - {"name", "value", "isRegex", "isEqual"}
    if unknown:
        raise InvalidMatcher(f"A matcher has no field “{min(unknown)}”; remove it.")
    name, value = shape.get("name"), shape.get("value")
    is_regex, is_equal = shape.get("isRegex", False), shape.get("isEqual", True)
    if not isinstance(name, str) or not isinstance(value, str):
        raise InvalidMatcher("A matcher needs a name and a value, both text.")
    if not isinstance(is_regex, bool) or not isinstance(is_equal, bool):
        raise InvalidMatcher("isRegex and isEqual are true or false.")
    operators = {
        (False, True): Operator.EQUAL,
        (False, False): Operator.NOT_EQUAL,
        (True, True): Operator.MATCH,
        (True, False): Operator.NO_MATCH,
    }
    return Matcher(name, operators[is_regex, is_equal], value)


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)


def as_text(matchers: Iterable[Matcher]) -> str:
    return ", ".join(map(str, matchers))


def parse(text: str) -> list[Matcher]:
    """Reads `severity="critical", team=~"a|b"`, with or without braces and quotes.

    In and out of quotes `\\"`, `\\\\` and `\\n` are escapes and any other backslash stands for itself, so that patterns
    need no second one: as Alertmanager reads them. Raises InvalidMatcher.
    """
    end, at = len(text.rstrip()), _SPACE.match(text).end()  # type: ignore[union-attr]  # matches always
    if text[at:end].startswith("{"):
        if text[end - 1] != "}" or end - at < 2:
            raise _invalid(text, end, "the opening brace has no closing one; write } at the end")
        at, end = at + 1, end - 1
    found: list[Matcher] = []
    while at < end and text[at:end].strip():
        if len(found) == MATCHERS_MAX:
            raise _invalid(text, at, f"there are more than {MATCHERS_MAX} matchers; use a pattern instead")
        matcher, at = _one(text, at, end)
        found.append(matcher)
        at = _after_space(text, at)
        if at < end and text[at] != ",":
            raise _invalid(text, at, "a comma is missing; write one between two matchers")
        at += 1
    return found


def _one(text: str, at: int, end: int) -> tuple[Matcher, int]:
    start = at = _after_space(text, at)
    name, at = _name(text, at, end)
    at = _after_space(text, at)
    operator = _OPERATOR.match(text, at, end)
    if not operator:
        raise _invalid(text, at, "an operator is missing; write one of =, !=, =~ and !~ behind the name")
    value, at = _value(text, _after_space(text, operator.end()), end)
    try:
        return Matcher(name, Operator(operator.group()), value), at
    except InvalidMatcher as error:
        raise _invalid(text, start, str(error).rstrip(".")) from None


def _name(text: str, at: int, end: int) -> tuple[str, int]:
    if found := _QUOTED.match(text, at, end):
        return _unescaped(found[1]), found.end()
    if found := _NAME.match(text, at, end):
        return found.group(), found.end()
    raise _invalid(text, at, "the name of a label is missing; write it bare or in double quotes")


def _value(text: str, at: int, end: int) -> tuple[str, int]:
    if found := _QUOTED.match(text, at, end):
        return _unescaped(found[1]), found.end()
    if text[at:end].startswith('"'):
        raise _invalid(text, at, 'the value has no closing quote; write " behind it')
    if text[at:end].startswith(("'", "`")):
        raise _invalid(text, at, "values stand bare or in double quotes, not in other ones")
    if text[at:end].startswith("~"):
        raise _invalid(text, at, "this operator is not known; write one of =, !=, =~ and !~")
    found = _BARE.match(text, at, end)
    value = found.group() if found else ""
    stop = at + len(value)
    if stop < end and text[stop] != ",":
        raise _invalid(text, stop, "a quote or backslash stands inside a bare value; put the value in quotes")
    return _unescaped(value.rstrip()), stop


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _check_text(text: str, what: str, most: int) -> None:
    if len(text) > most:
        raise InvalidMatcher(f"A matcher's {what} has {len(text)} characters; the most is {most}.")
    if re.search("[\0\ud800-\udfff]", text):
        raise InvalidMatcher(f"A matcher's {what} holds a NUL character or half a surrogate pair; remove it.")


def _invalid(text: str, at: int, reason: str) -> InvalidMatcher:
    return InvalidMatcher(f"At character {min(at, len(text)) + 1}: {reason}.")
