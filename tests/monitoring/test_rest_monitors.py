"""REST: monitors made, changed, and told what to do."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from feedback.models import Scope
from monitoring import lifecycle
from monitoring.models import Backtest, BacktestState, Incident, Monitor, MonitorState
from monitoring.questions import question_of
from tests.monitoring.callers import client_with, get, patch, post, writer
from tests.monitoring.factories import (
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_metric,
    make_monitor,
)
from tests.monitoring.learners import LEARNT, fill, learner, learnt

pytestmark = pytest.mark.django_db

FLOOR: dict[str, Any] = {
    "name": "floor",
    "kind": "slo_guard",
    "metric": "helpfulness",
    "parameters": {"level": 0.8, "margin": 0.05},
}


def test_monitor_never_names_the_channel_of_the_product() -> None:
    make_metric()
    make_channel("receipt", kind="sink", url="")
    make_channel("ops")
    assert post(writer(), "monitors", FLOOR, 201)["channels"] == ["ops"]
    named = FLOOR | {"name": "other", "channels": ["receipt"]}
    assert post(writer(), "monitors", named, 400)["field"] == "channels"


def test_monitor_made_by_rest_learns_with_defaults_and_its_channels() -> None:
    make_metric()
    make_channel("ops")
    body = post(writer(), "monitors", FLOOR | {"channels": ["ops"], "where": {"model": "gpt-4"}}, 201)
    assert (body["state"], body["channels"], body["where"]) == ("learning", ["ops"], {"model": "gpt-4"})
    assert (body["max_slices"], body["reference_version"], body["slices"]) == (10, None, [])
    assert get(writer(), f"monitors/{body['id']}")["name"] == "floor"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"nam": "x"}, "nam"),
        ({"state": "active"}, "state"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"kind": "odd"}, "kind"),
        ({"metric": "nothing_like_it"}, "metric"),
        ({"parameters": {"margin": 0.1}}, "parameters.level"),
        ({"parameters": {"level": "a", "margin": 0.1}}, "parameters.level"),
        ({"parameters": []}, "parameters"),
        ({"where": {"colour": "red"}}, "where"),
        ({"where": {"model": 4}}, "where.model"),
        ({"split_by": ["model", "model"]}, "split_by"),
        ({"split_by": ["a", "b", "c", "d"]}, "split_by"),
        ({"max_slices": 0}, "max_slices"),
        ({"max_slices": True}, "max_slices"),
        ({"max_slices": "5"}, "max_slices"),
        ({"alarms_per_30_days": "1"}, "alarms_per_30_days"),
        ({"is_whole_watched": "perhaps"}, "is_whole_watched"),
        ({"alarms_per_30_days": -1}, "alarms_per_30_days"),
        ({"alarms_per_30_days": 1e9}, "alarms_per_30_days"),
        ({"weight": 0}, "weight"),
        ({"severity": "loud"}, "severity"),
        ({"channels": ["nobody"]}, "channels"),
        ({"runbook_url": "ftp://x"}, "runbook_url"),
        ({"recovery_n_min": 1}, "recovery_n_min"),
        ({"reference_start_at": "soon"}, "reference_start_at"),
        (
            {"reference_start_at": "2026-02-01T00:00:00Z", "reference_end_at": "2026-01-01T00:00:00Z"},
            "reference_end_at",
        ),
        ({"kind": "distribution", "parameters": {}, "reference_mode": "variant"}, "control"),
    ],
)
def test_monitor_that_cannot_be_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    make_metric()
    body = post(writer(), "monitors", FLOOR | changes, 400)
    assert body["field"].split("[")[0] == field
    assert body["fix"]
    assert not Monitor.objects.exists()


@pytest.mark.parametrize("name", ["name", "kind", "metric"])
def test_monitor_without_what_it_needs_is_refused(name: str) -> None:
    make_metric()
    body = post(writer(), "monitors", {key: value for key, value in FLOOR.items() if key != name}, 400)
    assert body["field"] == name


def test_second_monitor_of_a_name_is_a_conflict() -> None:
    make_metric()
    post(writer(), "monitors", FLOOR, 201)
    body = post(writer(), "monitors", FLOOR, 409)
    assert (body["type"], body["field"]) == ("/problems/name-taken", "name")


def test_what_was_read_can_be_sent_back_without_effect() -> None:
    fill(0, LEARNT)
    monitor = learnt(split_by=["model"])
    monitor.channels.add(make_channel("ops"))
    make_incident(monitor)
    api = writer()
    read = get(api, f"monitors/{monitor.pk}")
    started_at = Monitor.objects.get().started_at
    assert patch(api, f"monitors/{monitor.pk}", read) == read
    assert Monitor.objects.get().started_at == started_at
    assert Incident.objects.open().exists()


def test_plain_change_keeps_evidence_and_incidents() -> None:
    monitor = make_monitor()
    make_incident(monitor)
    changes = {"name": "renamed", "severity": "critical", "stale_after_days": 7, "hold_seconds": 60}
    body = patch(writer(), f"monitors/{monitor.pk}", changes)
    assert {name: body[name] for name in changes} == changes
    assert Incident.objects.open().exists()


def test_change_of_the_question_while_it_watches_needs_a_reason() -> None:
    monitor = make_monitor()
    make_incident(monitor)
    body = patch(writer(), f"monitors/{monitor.pk}", {"where": {"model": "a"}}, 400)
    assert body["field"] == "reason"
    assert Incident.objects.open().exists()
    patch(writer(), f"monitors/{monitor.pk}", {"where": {"model": "a"}, "reason": "only a"})
    assert Monitor.objects.get().where == {"model": "a"}
    assert Incident.objects.get().resolution == "monitor_changed"


def test_change_of_the_question_before_it_watches_needs_none() -> None:
    monitor = learner()
    body = patch(writer(), f"monitors/{monitor.pk}", {"reference_days": 14, "maturity_hours": 2})
    assert (body["reference_days"], body["maturity_hours"], body["state"]) == (14, 2.0, "learning")


def test_change_to_where_nothing_can_be_learnt_changes_nothing() -> None:
    fill(0, LEARNT)
    monitor = learnt()
    change = {"where": {"model": "unheard of"}, "name": "other", "reason": "to see"}
    body = patch(writer(), f"monitors/{monitor.pk}", change, 409)
    assert body["type"] == "/problems/nothing-to-learn"
    stored = Monitor.objects.get()
    assert (stored.where, stored.name, stored.state) == ({}, "drift", "active")


def test_change_of_a_reference_window_is_read_as_times() -> None:
    monitor = learner()
    times = {"reference_start_at": "2026-03-01T12:00:00Z", "reference_end_at": "2026-03-02T12:00:00+00:00"}
    body = patch(writer(), f"monitors/{monitor.pk}", times)
    assert body["reference_start_at"] == "2026-03-01T12:00:00Z"
    assert patch(writer(), f"monitors/{monitor.pk}", times) == body


def test_change_of_the_weight_shares_the_budget_anew(
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    one = make_monitor(alarms_per_30_days=None)
    other = make_monitor(name="other", alarms_per_30_days=None)
    with django_capture_on_commit_callbacks(execute=True):
        body = patch(writer(), f"monitors/{one.pk}", {"weight": 3})
    assert body["whole_alarms"] == pytest.approx(0.75)
    other.refresh_from_db()
    assert other.whole_alarms == pytest.approx(0.25)
    assert Monitor.objects.get(pk=one.pk).started_at == one.started_at


def test_change_of_the_budget_after_a_backtest_asks_for_another() -> None:
    monitor = learner(state=MonitorState.BACKTESTED)
    Backtest.objects.create(
        monitor=monitor, question=question_of(monitor), state=BacktestState.DONE, asked_at=bucket_at(0)
    )
    assert patch(writer(), f"monitors/{monitor.pk}", {"weight": 2})["state"] == "learning"


def test_change_meant_for_another_version_is_a_conflict() -> None:
    monitor = make_monitor()
    api = writer()
    seen = api.get(f"/api/v1/monitors/{monitor.pk}")["ETag"]
    patch(api, f"monitors/{monitor.pk}", {"name": "first"}, seen=seen)
    body = patch(api, f"monitors/{monitor.pk}", {"severity": "info"}, 409, seen=seen)
    assert body["type"] == "/problems/monitor-changed"
    assert Monitor.objects.get().severity == "error"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"state": "paused"}, "state"), ({"id": 5}, "id"), ({"colour": 1}, "colour"), ({"kind": "odd"}, "kind")],
)
def test_change_of_what_cannot_be_set_is_refused(changes: dict[str, Any], field: str) -> None:
    monitor = make_monitor()
    assert patch(writer(), f"monitors/{monitor.pk}", changes, 400)["field"] == field


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_both_count() -> None:
    monitor = make_monitor()
    client, path = writer(), f"/api/v1/monitors/{monitor.pk}"
    statuses: list[int] = []

    def change(body: dict[str, Any]) -> None:
        statuses.append(client.patch(path, body, "application/json").status_code)
        connection.close()

    bodies = [
        {"where": {"model": "a"}, "reason": "one"},
        {"max_slices": 5, "severity": "info", "reason": "other"},
    ]
    threads = [threading.Thread(target=change, args=[body]) for body in bodies]
    with transaction.atomic():
        # Both begin while somebody else has the row: whoever reads it before waiting has read what is stale.
        Monitor.objects.select_for_update(no_key=True).get()
        for thread in threads:
            thread.start()
        until_waiting(2)
    for thread in threads:
        thread.join(30)
    stored = Monitor.objects.get()
    assert statuses == [200, 200]
    assert (stored.where, stored.max_slices, stored.severity) == ({"model": "a"}, 5, "info")


def until_waiting(count: int) -> None:
    end = time.monotonic() + 20
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            # Within a transaction it would show the same each time.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] >= count:
                return
    raise AssertionError("nobody waits")


def test_activation_needs_a_backtest_or_a_reason() -> None:
    fill(0, LEARNT)
    close(LEARNT - 1)
    monitor = learner()
    api = writer()
    body = post(api, f"monitors/{monitor.pk}/activate", {}, 409)
    assert (body["type"], body["field"]) == ("/problems/not-backtested", "without_backtest")
    body = post(api, f"monitors/{monitor.pk}/activate", {"without_backtest": "it is the first"})
    assert (body["state"], body["reference_version"]) == ("active", 1)
    reason = get(api, f"monitors/{monitor.pk}/references")["results"][0]["reason"]
    assert reason == "it is the first (API key “ci”)"


def test_activation_of_one_that_watches_leaves_it_as_it_is() -> None:
    monitor = make_monitor()
    make_incident(monitor)
    monitor.slices.update(log_evidence=-1.0)
    body = post(writer(), f"monitors/{monitor.pk}/activate", {"without_backtest": "again"})
    assert body["slices"][0]["log_evidence"] == -1.0
    assert body["slices"][0]["evidence_share"] == pytest.approx(0.3679, abs=1e-4)


def test_activation_with_nothing_to_learn_from_says_what_is_missing() -> None:
    monitor = learner()
    body = post(writer(), f"monitors/{monitor.pk}/activate", {"without_backtest": "x"}, 409)
    assert body["type"] == "/problems/nothing-to-learn"
    monitor.refresh_from_db()
    assert monitor.learning_note == body["detail"]


def test_pause_stops_and_may_be_repeated() -> None:
    monitor = make_monitor()
    for _ in range(2):
        assert post(writer(), f"monitors/{monitor.pk}/pause")["state"] == "paused"


def test_pause_of_one_that_never_watched_is_a_conflict() -> None:
    monitor = learner()
    assert post(writer(), f"monitors/{monitor.pk}/pause", {}, 409)["type"] == "/problems/invalid-transition"


def test_learning_makes_a_reference_once() -> None:
    fill(0, LEARNT)
    close(LEARNT - 1)
    monitor = learner()
    for _ in range(2):
        assert post(writer(), f"monitors/{monitor.pk}/learn")["reference_version"] == 1


def test_learning_of_a_kind_with_a_fixed_level_is_a_conflict() -> None:
    monitor = make_monitor()
    post(writer(), f"monitors/{monitor.pk}/learn", {}, 409)
    post(writer(), f"monitors/{monitor.pk}/accept-baseline", {"reason": "x"}, 409)


def test_accepted_baseline_is_a_new_version_and_ends_incidents() -> None:
    fill(0, LEARNT)
    fill(LEARNT, 2 * LEARNT, mean=0.6)
    monitor = learnt()
    close(2 * LEARNT - 1)
    make_incident(monitor, onset_at=bucket_at(LEARNT), opened_at=bucket_at(LEARNT + 5))
    body = post(writer(), f"monitors/{monitor.pk}/accept-baseline", {"reason": "new prompt"})
    assert body == {"reference_version": 2, "resolved_count": 1}
    assert Incident.objects.get().resolution == "baseline"
    newest = get(writer(), f"monitors/{monitor.pk}/references")["results"][0]
    assert (newest["version"], newest["is_current"]) == (2, True)
    assert newest["slices"][0]["mean"] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": " "}, "reason"),
        ({"reason": "x", "start_at": "2026-03-05T00:00:00Z", "end_at": "2026-03-04T00:00:00Z"}, "start_at"),
        ({"reason": "x", "start": "2026-03-05T00:00:00Z"}, "start"),
    ],
)
def test_baseline_that_cannot_be_is_refused(body: dict[str, Any], field: str) -> None:
    monitor = learner()
    assert post(writer(), f"monitors/{monitor.pk}/accept-baseline", body, 400)["field"] == field


@pytest.mark.parametrize("path", ["activate", "pause", "learn", "accept-baseline", "backtests"])
def test_unknown_monitor_and_missing_scope_are_refused(path: str) -> None:
    body = {"reason": "x"} if path == "accept-baseline" else {}
    assert post(writer(), f"monitors/999999/{path}", body, 404)["type"] == "/problems/not-found"
    reader = client_with(Scope.INCIDENTS_READ)
    assert post(reader, f"monitors/1/{path}", body, 403)["fix"]


@pytest.mark.parametrize("path", ["monitors", "markers"])
def test_making_without_the_scope_is_refused(path: str) -> None:
    post(client_with(Scope.INCIDENTS_READ), path, {}, 403)
    post(Client(), path, {}, 401)
    get(client_with(Scope.MONITORS_WRITE), path, 403)


@pytest.mark.parametrize("path", ["monitors/1", "budget", "markers/1"])
def test_changing_without_the_scope_is_refused(path: str) -> None:
    patch(client_with(Scope.INCIDENTS_READ), path, {}, 403)


def test_list_of_many_monitors_takes_few_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    channel = make_channel()
    for number in range(12):
        monitor = make_monitor(name=f"m{number}", channels=(channel,), started_at=None)
        lifecycle.start(monitor, now=bucket_at(0))
    api = writer()
    get(api, "budget")
    with django_assert_max_num_queries(6):
        body = get(api, "monitors?page_size=10")
    assert len(body["results"]) == 10
    assert body["next"]
