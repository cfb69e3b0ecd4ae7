"""Regular expressions in matchers: they match a whole value, and none is run whose worst case would burn time."""

import re
from collections.abc import Callable
from functools import lru_cache

from experiments.targeting.limits import PATTERN_MAX as BRANCH_MAX
from experiments.targeting.limits import TEXT_MAX
from experiments.targeting.patterns import bounded_search
from experiments.targeting.problems import InvalidCondition

PATTERN_MAX = 500
"""Longest pattern, in characters."""

STEPS_MAX = 5_000_000
"""Steps on the worst value of TEXT_MAX characters, at up to 12 ns each."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?:[*+?]|\{\d+(?:,\d*)?\})[?+]?|.", re.DOTALL)
_FLAGS = re.compile(r"\A\(\?([is]+)\)")
_ANYTHING = re.compile(r"\A\*\??\Z")


class InvalidPattern(ValueError):
    """A sentence's end: what is wrong with a pattern, and how to mend it."""


@lru_cache(maxsize=2_048)
def whole_match(pattern: str) -> Callable[[str], bool]:
    """Whether a value matches as a whole, as RE2 would say.

    Two differences: a dot matches line feeds too, and a value is read up to its first TEXT_MAX characters. Python's engine
    tries again and again where RE2 does not, so a pattern with a costly worst case is refused, and so are references
    and looking around, which RE2 lacks as well. Raises InvalidPattern.
    """
    if len(pattern) > PATTERN_MAX:
        raise InvalidPattern(
            f"has {len(pattern)} characters; the most is {PATTERN_MAX}: split it into several routes"
        )
    found = _FLAGS.match(pattern)
    flags = re.DOTALL | (re.IGNORECASE if found and "i" in found[1] else 0)
    body = pattern[found.end() :] if found else pattern
    # Classes are those of ASCII in RE2. Without any, the flag would only keep letters beyond ASCII from being folded.
    flags |= re.ASCII if re.search(r"\\[bBdDsSwW]", body) else 0
    try:
        re.compile(body, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidPattern(f"is no regular expression: {error}") from None
    parts = [_search(branch, flags) for branch in _branches(_unwrapped(_tokens(body)))]
    if sum(steps for _, steps in parts) > STEPS_MAX:
        raise InvalidPattern("could take too long on some values; use fewer * and + in it, or split it")
    searches = tuple(search for search, _ in parts)
    return lambda value: any(search(value[:TEXT_MAX]) is not None for search in searches)


def _tokens(pattern: str) -> list[str]:
    return _TOKEN.findall(pattern)


def _unwrapped(pieces: list[str]) -> list[str]:
    """Without anchors at both ends, which change nothing, and without brackets around all of it."""
    while True:
        inner = pieces[1:-1]
        if pieces[:1] == ["^"] and pieces[-1:] == ["$"] and ("|" not in inner or _is_group(inner)):
            pieces = inner
        elif _is_group(pieces):
            pieces = inner[2:] if inner[:2] == ["?", ":"] else inner
        else:
            return pieces


def _is_group(pieces: list[str]) -> bool:
    """Whether the first bracket opens a plain group that the last piece closes."""
    if pieces[:1] != ["("] or (pieces[1:2] == ["?"] and pieces[2:3] != [":"]):
        return False
    return _closes(pieces)


def _closes(tokens: list[str]) -> bool:
    """Whether the first bracket is closed by the last token."""
    depth = 0
    for at, piece in enumerate(tokens):
        depth += (piece == "(") - (piece == ")")
        if depth == 0:
            return at == len(tokens) - 1
    return False


def _branches(tokens: list[str]) -> list[list[str]]:
    """The alternatives: each is bounded, and searched, on its own."""
    branches: list[list[str]] = [[]]
    depth = 0
    for piece in tokens:
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth == 0:
            branches.append([])
        else:
            branches[-1].append(piece)
    return branches


def _search(tokens: list[str], flags: int) -> tuple[Callable[[str], object], float]:
    """The search, and a bound of its steps. An end that takes anything is left open: nothing is tried twice for it."""
    head, tail = "^", "$"
    if len(tokens) > 1 and tokens[0] == "." and _ANYTHING.match(tokens[1]):
        head, tokens = "", tokens[2:]
    if len(tokens) > 1 and tokens[-2] == "." and _ANYTHING.match(tokens[-1]):
        tail, tokens = "", tokens[:-2]
    text = "".join(tokens)
    if len(text) + 2 > BRANCH_MAX:
        raise InvalidPattern(
            f"has an alternative of {len(text)} characters; the most is {BRANCH_MAX - 2}: split it with |"
        )
    try:
        _, steps = bounded_search(head + text + tail, flags, "")
    except InvalidCondition as error:
        raise InvalidPattern(error.problem) from None
    start, end = (r"\A" if head else "", r"\Z" if tail else "")
    return re.compile(f"{start}(?:{text}){end}", flags).search, steps
