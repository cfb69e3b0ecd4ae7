from celery import shared_task
from django.utils import timezone

from feedback import agreement, rollups


@shared_task(time_limit=600, soft_time_limit=570)
def roll_up() -> int:
    """Bring the rollups up to date, and what is made of them; facts taken in."""
    now = timezone.now()
    try:
        return rollups.roll_up(now)
    finally:
        # Also when the rollups complain, which they do after their work.
        agreement.take_in(now)
