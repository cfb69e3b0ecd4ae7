"""Made-up values for a self-test, in the rollups only: no fact says them, and no statistics of responses count them.

`rebuild_rollups` drops them.
"""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from feedback import cells
from feedback.cells import Emitted, Times
from feedback.models import QualityMetric


class NothingRolledUp(RuntimeError):
    """The rollups have never run: nobody could say when the values become visible."""


def record(metric: str, endpoint: str, values: Sequence[float], at: datetime) -> None:
    """Put `values` of `metric` where those of responses of `endpoint` at `at` would be, and make them visible likewise.

    Raises QualityMetric.DoesNotExist; ValueError for a metric without bounds and for a value outside them;
    NothingRolledUp. Waits for a rollup in progress.
    """
    bounds = QualityMetric.objects.get(pk=metric).bounds
    if bounds is None:
        raise ValueError(f"{metric} has no bounds")
    outside = [value for value in values if not bounds[0] <= value <= bounds[1]]
    if outside:
        raise ValueError(f"{outside[0]} lies outside the bounds of {metric}, {bounds[0]} to {bounds[1]}")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT closed_until FROM feedback_rollupcursor WHERE name = 'facts' FOR UPDATE")
        row = cursor.fetchone()
        if row is None:
            raise NothingRolledUp("run the rollups first")
        emitted = Emitted(Times(settings.BUCKET_SECONDS, row[0]), {metric: bounds})
        for value in values:
            emitted.add((endpoint, "", "", "", ""), {}, at, "", {metric: value})
        cells.write(cursor, emitted)
