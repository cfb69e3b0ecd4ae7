"""What is read of rollups: the statistics of REST, of the admin's plots and of monitors.

Only rollups are read, whole hours where the window has them: the cost depends on the window, not on the history.
"""

from feedback.stats.buckets import ClosedBucket, closed_buckets, closed_until, past_buckets
from feedback.stats.by_dimension import ByDimension, feedback_by_dimension, moments_by_dimension
from feedback.stats.cuts import DIMENSIONS, EVERY_RESPONSE, Cut, Group, UnknownDimension, Window
from feedback.stats.feedback_buckets import age_of, feedback_buckets
from feedback.stats.opinions import FeedbackStats, TypeStats, feedback_stats, unmatched_count
from feedback.stats.quality import MetricStats, quality_stats
from feedback.stats.series import (
    SeriesPoint,
    feedback_series,
    metric_series,
    quality_series,
    shares_over_time,
)
from feedback.stats.usage import Usage, watchable
from feedback.stats.volumes import Volume, past_volumes, volume_buckets

__all__ = [
    "DIMENSIONS",
    "EVERY_RESPONSE",
    "ByDimension",
    "ClosedBucket",
    "Cut",
    "FeedbackStats",
    "Group",
    "MetricStats",
    "SeriesPoint",
    "TypeStats",
    "UnknownDimension",
    "Usage",
    "Volume",
    "Window",
    "age_of",
    "closed_buckets",
    "closed_until",
    "feedback_buckets",
    "feedback_by_dimension",
    "feedback_series",
    "feedback_stats",
    "metric_series",
    "moments_by_dimension",
    "past_buckets",
    "past_volumes",
    "quality_series",
    "quality_stats",
    "shares_over_time",
    "unmatched_count",
    "volume_buckets",
    "watchable",
]
