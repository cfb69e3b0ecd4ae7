"""Parts of a configuration as the types they should have; what is not that is written down and left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from monitoring.routing.matchers import InvalidMatcher, Matcher, Operator, parse
from monitoring.routing.plan import Unmapped

_UNITS = {"y": 31_536_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(r"((?P<number>\d+)(?P<unit>ms|[ywdhms]))")
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})


def duration_in(text: str) -> timedelta | None:
    """Reads 30s, 5m or 1h30m, as Prometheus writes them; None for what is none, or longer than a year."""
    parts = list(_DURATION.finditer(text))
    if text != "0" and (not parts or "".join(part.group() for part in parts) != text or len(text) > 40):
        return None
    seconds = sum(float(part["number"]) * _UNITS[part["unit"]] for part in parts)
    return None if seconds > 366 * 86_400 else timedelta(seconds=seconds)


def duration_text(seconds: float) -> str:
    """1h30m; 0s for nothing."""
    left, text = round(seconds), ""
    for unit in ("d", "h", "m", "s"):
        number, left = divmod(left, int(_UNITS[unit]))
        text += f"{number}{unit}" if number else ""
    return text or "0s"


@dataclass(slots=True)
class Notes:
    """Collects what could not be taken over."""

    found: list[Unmapped] = field(default_factory=list)

    def add(self, place: str, what: str, why: str) -> None:
        self.found.append(Unmapped(place, what, why))

    def mapping(self, value: object, place: str) -> Mapping[str, object]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.add(place, "This is no mapping", "Names and values are expected here.")
            return {}
        return {str(name): inner for name, inner in value.items()}

    def items(self, value: object, place: str) -> list[tuple[str, object]]:
        """The list's values with their places."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.add(place, "This is no list", "A list is expected here.")
            return []
        return [(f"{place}[{at}]", inner) for at, inner in enumerate(value)]

    def text(self, value: object, place: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            self.add(place, "This is no text", "A single value is expected here.")
            return ""
        return value

    def texts(self, value: object, place: str) -> tuple[str, ...]:
        listed = value if isinstance(value, list) or value is None else [value]
        return tuple(self.text(inner, at) for at, inner in self.items(listed, place))

    def is_true(self, value: object, place: str) -> bool:
        return self.text(value, place) in _TRUE

    def duration(self, value: object, place: str) -> timedelta | None:
        """Prometheus' way to write it, such as 1d12h; None where nothing is said."""
        text = self.text(value, place)
        if not text:
            return None
        found = duration_in(text)
        if found is None:
            self.add(
                place,
                f"“{text}” is no duration of at most a year",
                "Write it as 30s, 5m or 1h30m; what is inherited holds.",
            )
        return found


def matchers_of(
    part: Mapping[str, object], place: str, notes: Notes, *, prefix: str = ""
) -> tuple[Matcher, ...] | None:
    """From matchers, match and match_re; None when one cannot be read, which is then written down."""
    found: list[Matcher] = []
    try:
        for name, op in (("match", Operator.EQUAL), ("match_re", Operator.MATCH)):
            at = f"{place}.{prefix}{name}"
            for label, value in notes.mapping(part.get(prefix + name), at).items():
                place_of_label = f"{at}.{label}"
                found.append(Matcher(label, op, notes.text(value, place_of_label)))
        at = f"{place}.{prefix}matchers"
        for text in notes.texts(part.get(prefix + "matchers"), at):
            found += parse(text)
    except InvalidMatcher as error:
        notes.add(at, "A matcher cannot be read", str(error))
        return None
    return tuple(found)
