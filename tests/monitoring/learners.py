"""Monitors that learn, and the past that they learn from."""

from typing import Any

import numpy as np

from monitoring import lifecycle
from monitoring.models import Monitor
from tests.monitoring.factories import add_values, bucket_at, close, make_metric

LEARNT = 300
"""Buckets of the reference."""


def fill(start: int, end: int, *, mean: float = 0.7, **labels: Any) -> None:
    random = np.random.default_rng([7, start])
    for number in range(start, end):
        add_values(number, np.clip(random.normal(mean, 0.1, 20), 0, 1).tolist(), **labels)


def learner(**changes: Any) -> Monitor:
    """Learns nothing yet."""
    make_metric()
    values: dict[str, Any] = {"name": "drift", "kind": "distribution", "reference_days": 2} | changes
    return Monitor.objects.create(metric="helpfulness", **values)


def learnt(**changes: Any) -> Monitor:
    """Watches, with what it learnt from what is there."""
    monitor = learner(**changes)
    close(LEARNT - 1)
    lifecycle.activate(monitor, now=bucket_at(LEARNT), without_backtest="a test")
    return monitor
