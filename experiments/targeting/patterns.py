"""Regular expressions: users type them, so a bound of what the worst text costs is computed before one is ever run."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from experiments.targeting.limits import NESTED_REPEATS_MAX, PATTERN_MAX, REPEATS_MAX, TEXT_MAX
from experiments.targeting.problems import InvalidCondition

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
def bounded_search(pattern: str, flags: int, path: str) -> tuple[Callable[[str], object], float]:
    """The search, and a bound of the steps it takes on TEXT_MAX characters up to a constant factor.

    Raises InvalidCondition, also for a pattern that JavaScript reads otherwise. The bound may be infinite.
    """
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
