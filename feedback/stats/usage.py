"""Which metrics there is something to say of, for suggestions of what to watch."""

from dataclasses import dataclass

from django.db import connection

from feedback.stats.cuts import Window

_GROUP = "bucket_at, endpoint, model, provider, experiment, variant"
_USAGE = f"""
WITH used AS (
    SELECT r.metric, {_GROUP}, sum(r.n) AS n, sum(r.n * r.mean) AS total
    FROM feedback_rollup r JOIN feedback_slice s ON s.id = r.slice_id
    WHERE r.grain_seconds = 3600 AND r.bucket_at >= %(start)s AND r.bucket_at < %(end)s AND s.attribute = '' AND r.n > 0
    GROUP BY r.metric, {_GROUP}
), given AS (
    SELECT {_GROUP}, sum(r.count) AS count
    FROM feedback_feedbackrollup r JOIN feedback_slice s ON s.id = r.slice_id
    WHERE r.grain_seconds = 3600 AND r.bucket_at >= %(start)s AND r.bucket_at < %(end)s AND s.attribute = ''
    AND r.feedback_type <> 'any'
    GROUP BY {_GROUP}
)
SELECT metric, sum(n)::bigint, count(DISTINCT bucket_at), count(DISTINCT nullif(endpoint, '')),
       count(DISTINCT nullif(model, '')), count(DISTINCT nullif(variant, '')), sum(total) / sum(n),
       coalesce(sum(count), 0)::bigint
FROM used LEFT JOIN given USING ({_GROUP})
GROUP BY metric
"""


@dataclass(frozen=True)
class Usage:
    """One metric in a window of whole hours; empty dimensions are not counted.

    feedback_count: pieces of feedback on responses of the same hours and slices, so what an agreement could rest on.
    """

    key: str
    n: int
    hour_count: int
    endpoint_count: int
    model_count: int
    variant_count: int
    mean: float
    feedback_count: int

    @property
    def has_feedback(self) -> bool:
        """Whether people say something where the metric has values."""
        return self.feedback_count > 0


def watchable(window: Window) -> list[Usage]:
    """Every metric that has values in the hours that begin in the window, by key; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_USAGE, {"start": window.start, "end": window.end})
        return [Usage(*row) for row in sorted(cursor.fetchall())]
