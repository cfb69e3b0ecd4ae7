"""All monitor kinds. A new one: one file, one line here, one test file, one row in docs/extending.md."""

from __future__ import annotations

from monitoring.monitors.kind import Kind
from monitoring.monitors.slo_guard import SloGuard

KINDS: tuple[type[Kind], ...] = (SloGuard,)


def choices() -> list[tuple[str, str]]:
    return [(kind.name, kind.title) for kind in KINDS]


def kind_named(name: str) -> type[Kind]:
    """Raises LookupError: a row may outlive the kind that it was made with."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise LookupError(f"there is no monitor kind “{name}”")
