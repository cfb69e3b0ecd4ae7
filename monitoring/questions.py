"""What a monitor asks, as it is written down with a reference or a backtest: the settings that its evidence is about."""

from collections.abc import Mapping
from copy import copy
from datetime import datetime
from typing import Any

from monitoring.models import Monitor

FIELDS = (
    "kind",
    "metric",
    "where",
    "split_by",
    "max_slices",
    "is_whole_watched",
    "parameters",
    "maturity_hours",
    "reference_mode",
    "reference_start_at",
    "reference_end_at",
    "reference_days",
    "reference_gap_hours",
    "control",
)
"""When one of these changes, evidence and incidents of the old question are over."""

TRIED = (*FIELDS, "alarms_per_30_days", "weight")
"""What a backtest tries out: the question and how often it may be wrong."""

_TIMES = ("reference_start_at", "reference_end_at")


def question_of(monitor: Monitor) -> dict[str, Any]:
    """As JSON."""
    found = {name: getattr(monitor, name) for name in TRIED}
    for name in _TIMES:
        at = found[name]
        found[name] = at.isoformat() if isinstance(at, datetime) else None
    return {**found, "split_by": list(monitor.split_by)}


def asking(monitor: Monitor, question: Mapping[str, Any]) -> Monitor:
    """The monitor as it would be with this question; not saved."""
    changed = copy(monitor)
    put(changed, question)
    return changed


def put(monitor: Monitor, question: Mapping[str, Any]) -> None:
    """Set the fields of a question; does not save."""
    for name in TRIED:
        if name in question:
            value = question[name]
            setattr(monitor, name, datetime.fromisoformat(value) if name in _TIMES and value else value)


def changes(monitor: Monitor, question: Mapping[str, Any]) -> dict[str, Any]:
    """Those of its settings that are not the monitor's own."""
    present = question_of(monitor)
    return {name: value for name, value in question.items() if present[name] != value}


def differs(monitor: Monitor, question: Mapping[str, Any]) -> bool:
    """Whether it is another question than the monitor's, budget included."""
    return question_of(monitor) != dict(question)
