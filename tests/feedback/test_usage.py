from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from feedback import rollups, stats
from tests.feedback.facts import NOW, judge, rate, respond

pytestmark = pytest.mark.django_db(transaction=True)


def test_watchable_metrics_say_how_much_there_is_and_whether_people_say_something_too() -> None:
    for i in range(6):
        at = NOW - timedelta(hours=i % 3)
        respond(
            f"r{i}", model=f"m{i % 2}", endpoint="e", variant="v" if i else "", occurred_at=at, cost=float(i)
        )
    judge("r0", helpful=0.5)
    judge("r0", "second", helpful=1.0)
    judge("r1", clear=1.0)
    rate("r0", rating=3)
    rate("r0", "negative", user_id="second")
    rollups.roll_up(NOW)
    window = stats.Window.last(timedelta(days=1), NOW)
    with CaptureQueriesContext(connection) as queries:
        found = {usage.key: usage for usage in stats.watchable(window)}
    assert len(queries) == 1
    assert list(found) == ["clear", "cost", "error", "helpful"]
    assert found["cost"] == stats.Usage(
        "cost",
        n=6,
        hour_count=3,
        endpoint_count=1,
        model_count=2,
        variant_count=1,
        mean=2.5,
        feedback_count=2,
    )
    assert found["helpful"] == stats.Usage(
        "helpful",
        n=2,
        hour_count=1,
        endpoint_count=1,
        model_count=1,
        variant_count=0,
        mean=0.75,
        feedback_count=2,
    )
    assert (found["clear"].has_feedback, found["helpful"].has_feedback) == (False, True)
    assert stats.watchable(stats.Window(NOW + timedelta(hours=1), NOW + timedelta(hours=2))) == []
