"""The pictures of monitors and incidents, as data for the page."""

from monitoring.plots.comparison import comparison_chart
from monitoring.plots.halt import halt_chart
from monitoring.plots.history import with_history
from monitoring.plots.over_time import evidence_chart, metric_chart
from monitoring.plots.reading import Stretch, Trace, around, steps_in, style_of

__all__ = [
    "Stretch",
    "Trace",
    "around",
    "comparison_chart",
    "evidence_chart",
    "halt_chart",
    "metric_chart",
    "steps_in",
    "style_of",
    "with_history",
]
