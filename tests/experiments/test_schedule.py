"""When the next look is due."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from experiments import lifecycle
from experiments.analysis.look import look
from experiments.analysis.schedule import due
from experiments.exposures import collect
from experiments.models import Experiment
from feedback.shapes import ResponseShape
from tests.experiments.factories import NOW
from tests.experiments.world import POSITIVE, Facts, running

pytestmark = pytest.mark.django_db(transaction=True)

SOON, HOUR, DAY = timedelta(seconds=settings.LOOK_SECONDS), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def looked_at() -> Experiment:
    experiment = running([POSITIVE])
    Facts(experiment).respond_many(
        [
            ResponseShape(response_id=key, experiment=experiment.key, variant="a", unit=key, occurred_at=NOW)
            for key in "xyz"
        ]
    )
    collect.collect(NOW)
    assert due(NOW) == [experiment]
    assert look(experiment, now=NOW) is not None
    return Experiment.objects.get()


def test_running_experiment_is_due_as_often_as_set(looked_at: Experiment) -> None:
    assert not due(NOW + SOON / 2)
    assert due(NOW + SOON) == [looked_at]


def test_halted_and_paused_experiments_are_due_every_hour(looked_at: Experiment) -> None:
    paused = lifecycle.pause(looked_at, by=None, now=NOW)
    assert not due(NOW + HOUR / 2)
    assert due(NOW + HOUR) == [paused]
    lifecycle.kill(paused, by=User.objects.create_user("ann"), now=NOW, reason="test")
    assert not due(NOW + HOUR / 2)
    assert due(NOW + HOUR) == [looked_at]


def test_stopped_experiment_is_due_for_two_more_days(looked_at: Experiment) -> None:
    stopped = lifecycle.stop(looked_at, by=None, now=NOW)
    assert due(NOW + HOUR) == [stopped]
    assert look(stopped, now=NOW + 2 * DAY) is not None
    assert not due(NOW + 3 * DAY)


def test_experiment_without_units_is_looked_at_once() -> None:
    experiment = running([POSITIVE])
    assert due(NOW) == [experiment]
    assert look(experiment, now=NOW) is not None
    assert not due(NOW + DAY)
