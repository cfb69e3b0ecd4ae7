"""What a program opens by its key, and what a person said of it."""

from datetime import UTC, datetime, timedelta

import pytest

from monitoring import incidents
from monitoring.labels import public_labels_of
from monitoring.models import Incident, OutboxMessage, Resolution
from monitoring.reports import keyed
from monitoring.reports.reported import GRACE
from tests.monitoring.factories import make_channel

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def report(now: datetime, lasts: timedelta | None = 2 * MINUTE, key: str = "disk/7") -> Incident:
    return keyed.report(
        key,
        title="disk is full",
        severity="critical",
        labels={"team": "infra"},
        annotations={},
        onset_at=now,
        lasts=lasts,
        actor="key",
        now=now,
    )


def judged(resolution: Resolution, lasts: timedelta | None = 2 * MINUTE) -> Incident:
    make_channel()
    return incidents.resolve(report(T0, lasts).pk, resolution, actor="Eve", now=T0 + MINUTE)


def triggers() -> int:
    return OutboxMessage.objects.filter(kind="trigger").count()


@pytest.mark.parametrize("lasts", [2 * MINUTE, None])
def test_false_alarm_stays_one_while_its_source_repeats_it(lasts: timedelta | None) -> None:
    first = judged(Resolution.FALSE_POSITIVE, lasts)
    every = 90 * timedelta(seconds=1) if lasts else GRACE - MINUTE
    for number in range(1, 20):
        assert report(T0 + number * every, lasts).pk == first.pk
    assert triggers() == 1


def test_false_alarm_that_its_source_ended_or_forgot_is_believed_again() -> None:
    first = judged(Resolution.FALSE_POSITIVE)
    assert report(T0 + 90 * timedelta(seconds=1)).pk == first.pk
    assert report(T0 + 10 * MINUTE).pk != first.pk
    second = Incident.objects.open().get()
    incidents.resolve(second.pk, Resolution.EXPECTED, actor="Eve", now=T0 + 11 * MINUTE)
    assert keyed.over("disk/7", actor="key", now=T0 + 11 * MINUTE) == second
    assert report(T0 + 11.5 * MINUTE).pk != second.pk
    assert triggers() == 3


def test_what_was_called_fixed_is_believed_again_after_a_grace() -> None:
    first = judged(Resolution.FIXED)
    now = T0 + MINUTE
    while now < T0 + MINUTE + GRACE:
        assert report(now).pk == first.pk
        now += MINUTE
    assert report(now).pk != first.pk


def test_reports_with_equal_labels_are_different_alerts_elsewhere() -> None:
    one, other = report(T0, key="a"), report(T0, key="b")
    assert public_labels_of(one) != public_labels_of(other)
    assert public_labels_of(one) == public_labels_of(Incident.objects.get(pk=one.pk))
