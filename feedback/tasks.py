from celery import shared_task
from django.utils import timezone

from feedback import rollups


@shared_task(time_limit=600, soft_time_limit=570)
def roll_up() -> int:
    """Bring the rollups up to date; facts taken in."""
    return rollups.roll_up(timezone.now())
