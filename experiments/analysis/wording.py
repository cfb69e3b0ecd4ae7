"""Numbers of metrics as people read them: points of a share, seconds, dollars, plain numbers."""

from experiments.models import ExperimentMetric, MetricType
from triageops.wording import NARROW_SPACE, Style, number, styled

_SHARES = ("feedback:positive", "feedback:negative", "feedback:any", "response:error", "response:cache_hit")


def style_of(metric: ExperimentMetric) -> Style:
    """How a value of the metric is written."""
    if metric.kind in {MetricType.PROPORTION, MetricType.RARE}:
        return "share"
    if metric.source in _SHARES and metric.kind == MetricType.RATIO:
        return "share"
    if metric.source == "response:latency_seconds":
        return "seconds"
    if metric.source in {"response:cost", "net_benefit"}:
        return "money"
    return "number"


def amount(value: float | None, metric: ExperimentMetric) -> str:
    """A difference: shares differ in points, other things in their unit."""
    if value is None:
        return "–"
    style = style_of(metric)
    if style == "share":
        return f"{number(100 * value)}{NARROW_SPACE}points"
    return styled(value, style)


def between(low: float | None, high: float | None, metric: ExperimentMetric, *, sign: float = 1.0) -> str:
    """“2.2 to 6.0”; empty without an interval. sign -1 writes a fall as a positive number."""
    if low is None or high is None:
        return ""
    ends = sorted((sign * low, sign * high))
    if style_of(metric) == "share":
        return f"{number(100 * ends[0])} to {number(100 * ends[1])}{NARROW_SPACE}points"
    return f"{styled(ends[0], style_of(metric))} to {styled(ends[1], style_of(metric))}"
