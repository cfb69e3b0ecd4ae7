"""Hours of rollups, as they are after days of use, for pages and suggestions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User

from experiments.models import Experiment
from feedback.models import FeedbackRollup, Rollup, Slice
from tests.browser import world

HOUR = timedelta(hours=1)


def hours(
    now: datetime,
    metric: str,
    mean: float,
    *,
    days: float = 5,
    n: int = 300,
    variants: tuple[str, ...] = ("",),
) -> None:
    """`n` values an hour of each variant, up to the last whole hour."""
    end = datetime.fromtimestamp(now.timestamp() // 3600 * 3600, UTC)
    for variant in variants:
        place, _ = Slice.objects.get_or_create(key=f"variant {variant}", defaults={"variant": variant})
        Rollup.objects.bulk_create(
            Rollup(
                slice=place,
                grain_seconds=3600,
                metric=metric,
                bucket_at=end - number * HOUR,
                visible_at=end - number * HOUR,
                bins="uniform:0.0:1.0",
                n=n,
                null_count=0,
                mean=mean,
                m2=n * 0.01,
                minimum=mean,
                maximum=mean,
            )
            for number in range(1, int(days * 24) + 1)
        )


def feedback(now: datetime, *, days: float = 5, **changes: Any) -> None:
    """Twenty an hour, of which two are negative; in both grains, as they are rolled up."""
    end = datetime.fromtimestamp(now.timestamp() // 3600 * 3600, UTC)
    place, _ = Slice.objects.get_or_create(key="variant ", defaults={"variant": ""})
    counts = {FeedbackRollup.ANY: 20, "negative": 2, "positive": 18}
    FeedbackRollup.objects.bulk_create(
        FeedbackRollup(
            slice=place,
            grain_seconds=grain,
            feedback_type=name,
            bucket_at=end - number * HOUR,
            visible_at=end - number * HOUR,
            count=count,
            comment_count=0,
            rating_counts=[1, 1, 0, 8, 10] if name == FeedbackRollup.ANY else [0] * 5,
            **changes,
        )
        for number in range(1, int(days * 24) + 1)
        for name, count in counts.items()
        for grain in (3600, 300)
    )


def run_experiment(now: datetime) -> Experiment:
    return world.experiment(now)


def guest(*permissions: str) -> User:
    """May enter, and what is given as model permissions of monitoring."""
    found = User.objects.create_user("guest", is_staff=True)
    found.user_permissions.set(
        Permission.objects.filter(content_type__app_label="monitoring", codename__in=permissions)
    )
    return found
