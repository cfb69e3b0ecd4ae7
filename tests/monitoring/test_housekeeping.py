"""What is old goes away, except what an open incident is about; what can be learnt anew is."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from pytest_django import Settings

from monitoring import baselines, housekeeping
from monitoring.models import (
    Backtest,
    BacktestState,
    DeliveryAttempt,
    DriftEvaluation,
    InboxSeen,
    Incident,
    IncidentState,
    Monitor,
    OutboxMessage,
    Signal,
)
from monitoring.notifying import messages
from monitoring.references import NothingToLearn
from tests.monitoring.deliveries import over, reported
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
NOW = START + 40 * DAY
FOREVER = float("inf")


def evaluate(monitor: Monitor, key: str, *days: float) -> None:
    place, _ = monitor.slices.get_or_create(key=key)
    DriftEvaluation.objects.bulk_create(
        DriftEvaluation(slice=place, bucket_at=START + day * DAY, n=1, mean=0.5, m2=0.0) for day in days
    )


def left() -> list[tuple[str, float]]:
    rows = DriftEvaluation.objects.order_by("slice__key", "bucket_at").values_list("slice__key", "bucket_at")
    return [(key, (at - START) / DAY) for key, at in rows]


def try_out(monitor: Monitor, state: BacktestState, count: int) -> None:
    Backtest.objects.bulk_create(
        Backtest(monitor=monitor, question={}, state=state, asked_at=START) for _ in range(count)
    )


def test_evaluations_older_than_the_setting_are_removed(settings: Settings) -> None:
    evaluate(make_monitor(), "all", 0, 4.9, 5.1, 39)
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 2
    assert left() == [("all", 5.1), ("all", 39.0)]
    settings.EVALUATION_DAYS = 2
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 1
    assert left() == [("all", 39.0)]


def test_evaluations_are_removed_in_batches_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    evaluate(make_monitor(), "all", *(number / 100 for number in range(10)))
    evaluate(make_monitor(name="another"), "all", *(number / 100 for number in range(3)))
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 13
    assert left() == []


def test_evaluations_since_the_onset_of_an_open_incident_are_kept() -> None:
    monitor = make_monitor()
    for key in ("variant=a", "variant=b"):
        evaluate(monitor, key, 0, 1, 2, 3)
    incident = make_incident(
        monitor, slice_key="variant=a", onset_at=START + 2 * DAY, opened_at=START + 3 * DAY
    )
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 6
    assert left() == [("variant=a", 2.0), ("variant=a", 3.0)]
    incident.state, incident.resolution, incident.resolved_at = IncidentState.RESOLVED, "fixed", NOW
    incident.save()
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 2


def test_evaluations_are_not_kept_for_an_incident_of_the_check_itself() -> None:
    monitor = make_monitor()
    evaluate(monitor, "all", 0)
    make_incident(monitor, slice_key="(check)", signal=Signal.CHECK)
    assert housekeeping.forget_evaluations(NOW, FOREVER) == 1


def test_forgetting_stops_at_the_deadline() -> None:
    evaluate(make_monitor(), "all", 0, 1)
    assert housekeeping.forget_evaluations(NOW, 0.0) == 0
    assert len(left()) == 2


def told(key: str, days_ago: float, *, is_over: bool = True, status: str = "delivered") -> Incident:
    """An incident that began, was told and ended so many days ago."""
    at = NOW - days_ago * DAY
    incident = reported(key, now=at)
    if is_over:
        over(key, now=at)
    delivered_at = at if status == "delivered" else None
    incident.messages.update(status=status, delivered_at=delivered_at)
    for message in incident.messages.all():
        DeliveryAttempt.objects.create(message=message, number=1, started_at=at, outcome="delivered")
    return incident


def kept() -> set[str | None]:
    return set(OutboxMessage.objects.values_list("incident__slice_key", flat=True))


def test_messages_of_incidents_that_ended_before_the_setting_are_removed_and_logs_stay(
    settings: Settings,
) -> None:
    make_channel()
    old = told("old", 401)
    told("young", 399)
    told("open", 900, is_over=False)
    log = list(old.events.values_list("seq", "kind"))
    assert housekeeping.forget_messages(NOW, FOREVER) == 4
    assert kept() == {"young", "open"}
    assert set(DeliveryAttempt.objects.values_list("message__incident__slice_key", flat=True)) == kept()
    assert list(old.events.values_list("seq", "kind")) == log
    settings.DELIVERY_DAYS = 300
    assert housekeeping.forget_messages(NOW, FOREVER) == 4
    assert kept() == {"open"}


def test_messages_that_are_under_way_are_not_removed() -> None:
    make_channel()
    told("old", 500, status="pending")
    assert housekeeping.forget_messages(NOW, FOREVER) == 0
    assert kept() == {"old"}


def test_test_messages_are_removed_after_thirty_days() -> None:
    channel = make_channel()
    for days in (29, 31):
        messages.enqueue_test(channel, now=NOW - days * DAY)
    OutboxMessage.objects.update(status="dead")
    assert housekeeping.forget_messages(NOW, FOREVER) == 1
    assert OutboxMessage.objects.get().created_at == NOW - 29 * DAY


def test_messages_are_removed_in_batches_until_none_is_left_or_the_deadline(
    monkeypatch: pytest.MonkeyPatch, django_user_model: type[User]
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    make_channel()
    for number in range(5):
        told(f"old {number}", 500)
    reader = django_user_model.objects.create(username="ada")
    InboxSeen.objects.create(user=reader, seen_at=NOW, last_message=OutboxMessage.objects.first())
    assert housekeeping.forget_messages(NOW, 0.0) == 0
    assert housekeeping.forget_messages(NOW, FOREVER) == 20
    assert kept() == set()
    assert InboxSeen.objects.get().last_message is None


def test_backtests_beyond_the_newest_of_each_monitor_are_removed() -> None:
    monitor, another = make_monitor(), make_monitor(name="another")
    try_out(monitor, BacktestState.DONE, 23)
    newest = list(Backtest.objects.values_list("pk", flat=True)[:20])
    try_out(monitor, BacktestState.FAILED, 20)
    try_out(monitor, BacktestState.RUNNING, 1)
    try_out(another, BacktestState.DONE, 20)
    assert housekeeping.forget_backtests() == 3
    assert list(monitor.backtests.done().values_list("pk", flat=True)) == newest
    assert monitor.backtests.count() == 41
    assert another.backtests.count() == 20


@pytest.mark.parametrize(
    "refusal",
    [
        NothingToLearn("too little"),
        DatabaseError("deadlock"),
        ValueError("0.5 in a rate"),
        LookupError("gone"),
    ],
)
def test_monitor_that_cannot_learn_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    names = [make_monitor(name=name).name for name in ("first", "second", "third")]
    make_monitor(name="paused", started_at=None)
    asked = []

    def refresh(monitor: Monitor, *, now: datetime) -> bool:
        asked.append(monitor.name)
        if monitor.name == "second":
            raise refusal
        return True

    monkeypatch.setattr(baselines, "refresh", refresh)
    assert housekeeping.refresh_references(NOW, FOREVER) == 2
    assert asked == names


def test_mistake_of_ours_while_learning_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    make_monitor()

    def refresh(monitor: Monitor, *, now: datetime) -> Any:
        raise TypeError

    monkeypatch.setattr(baselines, "refresh", refresh)
    with pytest.raises(TypeError):
        housekeeping.refresh_references(NOW, FOREVER)


def test_tidy_does_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = make_monitor()
    evaluate(monitor, "all", 0)
    try_out(monitor, BacktestState.DONE, 21)
    monkeypatch.setattr(baselines, "refresh", lambda monitor, now: True)
    assert housekeeping.tidy(NOW) == 3
