"""All monitor kinds. A new one: one file, one line here, one test file, one row in docs/extending.md."""

from __future__ import annotations

from monitoring.monitors.burn_rate import BurnRate
from monitoring.monitors.distribution import Distribution
from monitoring.monitors.kind import Kind
from monitoring.monitors.never import Never
from monitoring.monitors.rate import Rate
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.triage_error import TriageError
from monitoring.monitors.volume import Volume

KINDS: tuple[type[Kind], ...] = (Distribution, Rate, SloGuard, Volume, BurnRate, TriageError, Never)


def choices() -> list[tuple[str, str]]:
    return [(kind.name, kind.title) for kind in KINDS]


def kind_named(name: str) -> type[Kind]:
    """Raises LookupError: a row may outlive the kind that it was made with."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise LookupError(f"there is no monitor kind “{name}”")


def is_rule(name: str) -> bool:
    """Whether a kind follows a fixed rule: it makes no promise about false alarms, and needs no budget."""
    return name in {Never.name, BurnRate.name}


def is_of_shares(name: str) -> bool:
    """Whether what a kind shows is a share of records, between 0 and 1."""
    return name in {Rate.name, TriageError.name, Never.name, BurnRate.name}
