"""What is read of rollups: the statistics of REST, of the admin's plots and of monitors.

Only rollups are read, whole hours where the window has them: the cost depends on the window, not on the history.
"""

from feedback.stats.buckets import ClosedBucket, closed_buckets, closed_until
from feedback.stats.cuts import DIMENSIONS, EVERY_RESPONSE, Cut, Group, UnknownDimension, Window
from feedback.stats.opinions import FeedbackStats, TypeStats, feedback_stats, unmatched_count
from feedback.stats.quality import MetricStats, quality_stats
from feedback.stats.series import (
    SeriesPoint,
    feedback_series,
    metric_series,
    quality_series,
    shares_over_time,
)

__all__ = [
    "DIMENSIONS",
    "EVERY_RESPONSE",
    "ClosedBucket",
    "Cut",
    "FeedbackStats",
    "Group",
    "MetricStats",
    "SeriesPoint",
    "TypeStats",
    "UnknownDimension",
    "Window",
    "closed_buckets",
    "closed_until",
    "feedback_series",
    "feedback_stats",
    "metric_series",
    "quality_series",
    "quality_stats",
    "shares_over_time",
    "unmatched_count",
]
