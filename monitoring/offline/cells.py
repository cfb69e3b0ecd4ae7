"""What the cells of a file mean: columns, times, numbers. ValueError for a cell that means nothing; the reader adds the line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from monitoring.offline.question import Question, Unusable

_TIME_NAMES = ("timestamp", "time", "at")
_MISSING = {"", "nan", "null", "none", "na", "n/a"}
# From 1973 to 2099: so that 20260131 is not taken for a day in August 1970.
_FIRST_SECOND, _LAST_SECOND = 1e8, 4.1e9
_LARGEST = 1e150
LARGEST_COUNT = 1e15
ONE = 1074
"""Every double is a whole number of 2^-1074."""


@dataclass(frozen=True, slots=True)
class Columns:
    at: int
    value: int | None = None
    n: int | None = None


def columns_of(first: Sequence[str], line: int) -> tuple[Columns, bool]:
    """Where things are, and whether this first row only says so."""
    names = [cell.lower() for cell in first]
    times = [name for name in names if name in _TIME_NAMES]
    known = [name for name in names if name in {*_TIME_NAMES, "value", "n"}]
    if not known:
        if len(first) > 3:
            raise Unusable(
                f"line {line}: {len(first)} columns without a header that names timestamp, value, n"
            )
        return Columns(0, *range(1, len(first))), False
    if len(times) != 1 or len(set(known)) < len(known):
        raise Unusable(f"line {line}: the header needs timestamp (or time, or at), value and n once each")
    value, n = (names.index(name) if name in names else None for name in ("value", "n"))
    return Columns(names.index(times[0]), value, n), True


def refuse_columns(columns: Columns, question: Question, line: int) -> None:
    where = f"line {line}: "
    if columns.value is None and (question.kind != "volume" or columns.n is not None):
        raise Unusable(f"{where}there is no column value")
    if question.kind == "volume" and columns.n is not None:
        raise Unusable(f"{where}a volume has no n: the value is how many there were")
    if question.are_shares and (columns.n is None) != (question.value_is is None):
        wrong = "say --value-is share or count" if columns.n is not None else "--value-is needs a column n"
        raise Unusable(f"{where}{wrong}")
    if question.value_is == "count" and columns.value is None:
        raise Unusable(f"{where}there is no column value")


@dataclass(frozen=True, slots=True)
class Clock:
    """How the file writes times; settled by its first row, so that one file has one meaning."""

    style: Literal["zoned", "naive", "seconds", "milliseconds"]
    zone: ZoneInfo

    @classmethod
    def of(cls, text: str, zone: ZoneInfo) -> Clock:
        number = _number(text)
        if number is not None:
            return cls("seconds" if abs(number) < 1e11 else "milliseconds", zone)
        return cls("naive" if _iso(text).tzinfo is None else "zoned", zone)

    def read(self, text: str) -> float:
        """Unix seconds; ValueError for anything that is not written like the first."""
        if self.style in ("naive", "zoned"):
            moment = _iso(text)
            if (moment.tzinfo is None) != (self.style == "naive"):
                has = "no zone" if self.style == "zoned" else "a zone"
                raise ValueError(f"{text!r} has {has}, unlike the times before it")
            at = (moment.replace(tzinfo=self.zone) if moment.tzinfo is None else moment).timestamp()
        else:
            number = _number(text)
            if number is None:
                raise ValueError(f"{text!r} is no unix time in {self.style}, as those before it")
            at = number / 1000 if self.style == "milliseconds" else number
        if not _FIRST_SECOND <= at <= _LAST_SECOND:
            raise ValueError(f"{text!r} is no time between 1973 and 2099")
        return at

    @property
    def words(self) -> str:
        return {
            "zoned": "ISO 8601, each with its zone",
            "naive": f"ISO 8601 without a zone, taken as {self.zone.key}",
            "seconds": "unix seconds",
            "milliseconds": "unix milliseconds",
        }[self.style]


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: neither ISO 8601 nor unix seconds or milliseconds") from error


def _number(text: str) -> float | None:
    """None for what is no number; NaN counts as none, infinity as one."""
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return None if math.isnan(found) else found


def value_of(text: str) -> float | None:
    """None when it is missing."""
    if text.lower() in _MISSING:
        return None
    found = _number(text)
    if found is None:
        raise ValueError(f"{text!r} is no number")
    if abs(found) > _LARGEST:
        raise ValueError(f"{text!r} is too large")
    return found


def whole(text: str, name: str) -> int:
    found = value_of(text)
    if found is None or found < 0 or found != int(found) or found > LARGEST_COUNT:
        raise ValueError(f"{name} {text!r} is no whole number from 0 to {LARGEST_COUNT:g}")
    return int(found)


def exact_of(value: float) -> int:
    """In units of 2^-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (ONE - denominator.bit_length() + 1)


def refuse_outside(value: float, bounds: tuple[float, float] | None) -> None:
    if bounds and not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{value:g} is outside the bounds {bounds[0]:g} and {bounds[1]:g}")


def successes_of(text: str, share: float, n: int) -> int:
    """Of a share that was rounded to the digits of its text."""
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share from 0 to 1")
    mantissa, _, power = text.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(power or 0)
    found = round(share * n)
    if abs(share * n - found) > 0.5 * n * 10.0 ** -max(0, digits) + 1e-9 * n:
        raise ValueError(f"a share of {text} among {n} is no whole number of successes")
    return found
