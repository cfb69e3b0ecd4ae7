"""How values stand in an administrator's text, and what its filters make of them; nothing grows beyond VALUE_MAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

VALUE_MAX = 8_000
"""Characters that a value has at most, whatever a filter would make of it."""


def shown(value: Any) -> str:
    """A value as text: nothing for None, “a, b” for a list, “a=1, b=2” for a mapping."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name}={shown(part)}" for name, part in list(value.items())[:100])[:VALUE_MAX]
    if isinstance(value, list):
        return ", ".join(shown(part) for part in value[:100])[:VALUE_MAX]
    return str(value)[:VALUE_MAX]


def _default(value: Any, instead: Any) -> Any:
    return value if value or value == 0 else instead


def _truncate(value: Any, length: Any) -> str:
    """At most `length` characters."""
    text = shown(value)
    limit = int(length) if str(length).isdecimal() and len(str(length)) < 6 else VALUE_MAX
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def _joined(value: Any, separator: Any) -> str:
    if not isinstance(value, list):
        return shown(value)
    return shown(separator)[:20].join(shown(part)[:500] for part in value[:100])[:VALUE_MAX]


def _upper(value: Any) -> str:
    return shown(value).upper()[:VALUE_MAX]


def _lower(value: Any) -> str:
    return shown(value).lower()[:VALUE_MAX]


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list | dict | str) else 0


FILTERS: Mapping[str, Callable[..., Any]] = {
    "default": _default,
    "upper": _upper,
    "lower": _lower,
    "truncate": _truncate,
    "join": _joined,
    "count": _count,
}
