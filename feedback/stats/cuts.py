"""Which rollups a question needs: a window of time and a cut through the slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from feedback.cells import GRAINS, HOUR

DIMENSIONS = ("endpoint", "model", "provider", "experiment", "variant", "evaluator")
EVERY_RESPONSE = "error"
"""The metric that every response has, so its n is the number of responses."""

Group = tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """Responses that occurred from `start` (included) to `end` (not included)."""

    start: datetime
    end: datetime

    @classmethod
    def last(cls, length: timedelta, now: datetime) -> "Window":
        """The buckets that end after now - length, the current one included."""
        stamp = int((now - length).timestamp())
        start = datetime.fromtimestamp(stamp - stamp % settings.BUCKET_SECONDS, tz=UTC)
        return cls(start, now + timedelta(minutes=15))

    @property
    def first_hour(self) -> datetime:
        """Start of the first whole hour in the window."""
        return datetime.fromtimestamp(-(-int(self.start.timestamp()) // HOUR) * HOUR, tz=UTC)


class UnknownDimension(ValueError):
    """A dimension that rollups are not kept for, or two attributes at once."""


@dataclass(frozen=True)
class Cut:
    """Which slices to read and how to group them.

    Attributes are kept one at a time, so at most one may take part, in `where` or in `group_by`.
    """

    where: Mapping[str, str]
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = {*self.where, *self.group_by}
        attributes = names - set(DIMENSIONS)
        unknown = attributes - set(settings.SLICE_ATTRIBUTES)
        if unknown:
            raise UnknownDimension(f"Rollups are not kept for {', '.join(sorted(unknown))}.")
        if len(attributes) > 1:
            raise UnknownDimension(f"Only one attribute at a time: {', '.join(sorted(attributes))}.")

    @property
    def attribute(self) -> str:
        """The attribute that takes part; empty for none."""
        return next(iter({*self.where, *self.group_by} - set(DIMENSIONS)), "")

    def _column(self, name: str) -> str:
        return f"s.{name}" if name in DIMENSIONS else "s.value"

    def columns(self) -> str:
        """SQL of the groups, each followed by a comma."""
        return "".join(f"{self._column(name)}, " for name in self.group_by)

    def condition(self) -> tuple[str, list[str]]:
        parts = ["s.attribute = %s"] + [f"{self._column(name)} = %s" for name in self.where]
        return " AND ".join(parts), [self.attribute, *self.where.values()]


IN_WINDOW = (
    "((r.grain_seconds = 3600 AND r.bucket_at >= %s AND r.bucket_at < %s)"
    " OR (r.grain_seconds = ANY(%s) AND r.bucket_at >= %s AND r.bucket_at < %s))"
)


def window_values(window: Window) -> list[Any]:
    edge = min(window.first_hour, window.end)
    return [edge, window.end, list(GRAINS), window.start, edge]
