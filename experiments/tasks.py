from celery import shared_task
from django.utils import timezone

from experiments import scheduling
from experiments.analysis import schedule
from experiments.exposures import collect
from experiments.models import Experiment


@shared_task(time_limit=600, soft_time_limit=570)
def collect_exposures() -> int:
    """Bring the exposed units up to date; responses looked at."""
    return collect.collect(timezone.now())


@shared_task(time_limit=1800, soft_time_limit=1770)
def look_at_due() -> int:
    """Analyse the experiments that are due; looks made."""
    return schedule.look_at_due(timezone.now())


@shared_task(time_limit=1800, soft_time_limit=1770)
def look_at_one(*, experiment_id: int) -> bool:
    """Analyse one experiment now, because a person asked; whether a look was made."""
    now = timezone.now()
    collect.collect(now)
    return schedule.look_now(Experiment.objects.get(pk=experiment_id), now)


@shared_task(time_limit=120)
def run_schedule() -> int:
    """Start, stop, ramp and follow what is due; experiments moved."""
    return scheduling.run(timezone.now())
