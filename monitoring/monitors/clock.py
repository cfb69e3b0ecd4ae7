"""The time that a run without evidence remembers: buckets come in order, and each counts once."""

from __future__ import annotations

from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import State

_TOLERANCE_SECONDS = 1e-3


def elapsed_until(sample: Sample, last: float | None) -> float:
    """Seconds since `last`, the end of the bucket before; ValueError for a bucket that begins before that."""
    if last is None:
        return sample.seconds
    if sample.at < last - _TOLERANCE_SECONDS:
        raise ValueError(f"the clock went backwards, from {last} to {sample.at}")
    return sample.at + sample.seconds - last


def time_in(state: State) -> float | None:
    """When the last bucket ended; ValueError for what no run wrote."""
    at = state.get("at")
    if (state and "at" not in state) or isinstance(at, bool) or not isinstance(at, int | float | None):
        raise ValueError(f"no state of a run: {sorted(state)}")
    return None if at is None else float(at)
