"""Which slices are worth a look together, though none of them has raised an alarm yet."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from monitoring.models import Monitor
from monitoring.monitors.registry import is_rule
from monitoring.slices import ALL, described
from triageops.stats.multiple import e_bh

FALSE_SHARE = 0.05
"""Of those that are named, at most so many have not changed, on average."""


class Place(NamedTuple):
    monitor_id: int
    key: str
    labels: dict[str, str]
    log_evidence: float | None
    bucket_at: datetime | None
    last_row_at: datetime | None


class Found(NamedTuple):
    """A slice that is worth a look. log_e: logarithm of its e-value."""

    monitor: Monitor
    name: str
    log_e: float


def discoveries(places: Sequence[Place], monitors: Mapping[int, Monitor], now: datetime) -> list[Found]:
    """Benjamini and Hochberg's procedure for e-values (drift.md 2.6), which holds whatever ties slices together.

    Not of rules: what they call evidence is no bet, so nothing can be said of its chance.

    Evidence grows by its budget, so it is at most budget times age on average while nothing changed: divided by that it is
    an e-value. With budgets that were larger before, when there were fewer monitors, the share of 5 % is approximate.
    """
    asked = []
    for place in places:
        monitor = monitors[place.monitor_id]
        rate = monitor.budget_per_second(place.key)
        seconds = (now - monitor.started_at).total_seconds() if monitor.started_at else 0.0
        if not is_rule(monitor.kind) and rate > 0 and seconds > 0:
            known = -math.inf if place.log_evidence is None else place.log_evidence
            asked.append((place, monitor, known - math.log(rate * seconds)))
    chosen = e_bh([log_e for _, _, log_e in asked], FALSE_SHARE)
    found = [
        Found(monitor, "all records" if place.key == ALL else described(place.labels, place.key), log_e)
        for at, (place, monitor, log_e) in enumerate(asked)
        if at in chosen
    ]
    return sorted(found, key=lambda one: (-one.log_e, one.monitor.name, one.name))
