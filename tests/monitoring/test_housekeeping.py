"""What is old goes away, except what an open incident is about; what can be learnt anew is."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from pytest_django import Settings

from monitoring import baselines, housekeeping
from monitoring.models import Backtest, BacktestState, DriftEvaluation, IncidentState, Monitor, Signal
from monitoring.references import NothingToLearn
from tests.monitoring.factories import START, make_incident, make_monitor

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
