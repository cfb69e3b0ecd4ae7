"""Quality-metric definitions as the writers need them: a copy in each process, at most a few seconds old."""

import time

from feedback.models import QualityMetric

_KEEP_SECONDS = 5.0
_copy: dict[str, tuple[float, float]] = {}
_state = {"read_at": float("-inf")}


def bounds() -> dict[str, tuple[float, float]]:
    """Metric name -> interval that its values must lie in, for those metrics that have one."""
    now = time.monotonic()
    if now - _state["read_at"] > _KEEP_SECONDS:
        found = {metric.key: metric.bounds for metric in QualityMetric.objects.all()}
        _copy.clear()
        _copy.update({key: interval for key, interval in found.items() if interval is not None})
        _state["read_at"] = now
    return _copy


def forget() -> None:
    """Read the definitions again at the next call."""
    _state["read_at"] = float("-inf")
