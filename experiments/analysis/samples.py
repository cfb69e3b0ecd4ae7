"""What people wrote about the answers of each variant lately; for who may see feedback."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from experiments.models import Experiment

_UNITS = 300
_COMMENTS = 4


@dataclass(frozen=True)
class Comment:
    variant: str
    feedback_type: str
    rating: int | None
    text: str
    at: datetime
    response_id: str


def comments(experiment: Experiment) -> list[Comment]:
    """The last few comments of each variant, among the units that were seen last."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT variant, feedback_type, rating, comment, received_at, response_id FROM (
                SELECT r.variant, f.feedback_type, f.rating, f.comment, f.received_at, f.response_id,
                       row_number() OVER (PARTITION BY r.variant ORDER BY f.received_at DESC) AS place
                FROM (
                    SELECT unit FROM experiments_exposedunit WHERE experiment_id = %s AND exclusion = ''
                    ORDER BY last_at DESC LIMIT %s
                ) AS recent
                JOIN feedback_response r ON r.unit = recent.unit AND r.unit <> '' AND r.experiment = %s
                JOIN feedback_feedback f ON f.response_id = r.response_id
                WHERE f.comment <> '' AND f.withdrawn_at IS NULL
            ) AS said WHERE place <= %s ORDER BY variant, received_at DESC
            """,
            [experiment.pk, _UNITS, experiment.key, _COMMENTS],
        )
        return [Comment(*row) for row in cursor.fetchall()]
