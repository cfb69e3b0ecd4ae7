"""REST: what was learnt and seen, backtests, markers, the budget."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from feedback.models import Scope
from monitoring import backtests, budget, checks, lifecycle
from monitoring.models import (
    Backtest,
    BacktestState,
    BudgetEntry,
    DriftEvaluation,
    FleetBudget,
    Marker,
    Monitor,
    MonitorSlice,
)
from tests.monitoring.callers import client_with, get, patch, post, writer
from tests.monitoring.factories import bucket_at, close, make_incident, make_monitor, now_after
from tests.monitoring.learners import LEARNT, fill, learner, learnt

pytestmark = pytest.mark.django_db


def test_references_say_who_why_and_what_each_slice_can_see(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    fill(0, LEARNT, model="a")
    monitor = learnt(split_by=["model"])
    api = writer()
    get(api, "budget")
    with django_assert_max_num_queries(6):
        [row] = get(api, f"monitors/{monitor.pk}/references")["results"]
    assert (row["version"], row["is_current"], row["n"], row["reason"]) == (1, True, 6_000, "a test")
    assert [one["key"] for one in row["slices"]] == ["all", "model=a"]
    whole = row["slices"][0]
    assert whole["sight"]["within_seconds"] == 86_400
    assert 0 < whole["sight"]["down"] < 2
    assert "histogram" not in whole


def test_reference_that_a_person_made_has_their_name() -> None:
    fill(0, LEARNT)
    close(LEARNT - 1)
    monitor = learner()
    user = User.objects.create(username="ada")
    lifecycle.learn(monitor, by=user, reason="first", now=bucket_at(LEARNT))
    path = f"monitors/{monitor.pk}/references"
    assert get(writer(), path)["results"][0]["made_by"] == "ada"
    user.delete()
    assert get(writer(), path)["results"][0]["made_by"] is None


def test_slices_have_their_share_of_the_alarm_line() -> None:
    monitor = make_monitor()
    MonitorSlice.objects.create(monitor=monitor, key="model=a", labels={"model": "a"}, log_evidence=-0.6931)
    MonitorSlice.objects.create(monitor=monitor, key="all", log_evidence=2.0, is_tracked=False)
    rows = {row["key"]: row for row in get(writer(), f"monitors/{monitor.pk}/slices")["results"]}
    assert rows["model=a"]["evidence_share"] == pytest.approx(0.5, abs=1e-3)
    assert rows["model=a"]["name"] == "model a"
    assert (rows["all"]["evidence_share"], rows["all"]["is_tracked"]) == (1.0, False)


def test_evaluations_are_the_newest_first_and_paged_without_gaps() -> None:
    monitor = make_monitor(split_by=["model"])
    for key in ("model=a", "model=b", "model=c"):
        place = MonitorSlice.objects.create(monitor=monitor, key=key)
        DriftEvaluation.objects.bulk_create(
            DriftEvaluation(slice=place, bucket_at=bucket_at(number), n=1, mean=0.5, m2=0.0)
            for number in range(7)
        )
    api, path, seen = writer(), f"monitors/{monitor.pk}/evaluations?page_size=4", []
    while path:
        body = get(api, path)
        seen += [(row["bucket_at"], row["slice"]) for row in body["results"]]
        path = (body["next"] or "").partition("/api/v1/")[2]
    assert len(seen) == len(set(seen)) == 21
    assert [at for at, _ in seen] == sorted((at for at, _ in seen), reverse=True)


def test_evaluations_of_a_slice_and_a_time() -> None:
    fill(0, LEARNT + 10)
    monitor = learnt()
    close(LEARNT + 9)
    checks.run_due(now_after(LEARNT + 9))
    start, end = (bucket_at(LEARNT + number).isoformat() for number in (2, 5))
    path = f"monitors/{monitor.pk}/evaluations"
    rows = get(writer(), f"{path}?slice=all&from={start}&to={end}".replace("+", "%2B"))["results"]
    assert len(rows) == 3
    assert rows[0]["low"] < rows[0]["expected"] < rows[0]["high"]
    assert (rows[0]["n"], rows[0]["is_alarm"], rows[0]["is_signal"], rows[0]["is_frozen"]) == (
        20,
        False,
        False,
        False,
    )
    assert get(writer(), f"{path}?slice=other")["results"] == []


def test_effects_have_sizes_beside_what_chance_makes() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 50, mean=0.6)
    monitor = learnt()
    close(LEARNT + 49)
    make_incident(monitor, onset_at=bucket_at(LEARNT), opened_at=bucket_at(LEARNT + 5))
    body = get(writer(), f"monitors/{monitor.pk}/effects?slice=all")
    assert (body["is_since_onset"], body["current"]["n"], body["reference"]["n"]) == (True, 1_000, 6_000)
    assert body["wasserstein"]["value"] == pytest.approx(1, abs=0.1)
    assert body["wasserstein"]["null_quantile"] < 0.2
    assert [pair["q"] for pair in body["quantiles"]] == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert sum(cell["current"] for cell in body["cells"]) == pytest.approx(1)


def test_effects_of_what_has_no_reference_are_not_found() -> None:
    monitor = make_monitor()
    assert get(writer(), f"monitors/{monitor.pk}/effects", 404)["field"] == "slice"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("evaluations?from=yesterday", "from"),
        ("evaluations?to=2026-01-01T00:00:00", "to"),
        ("evaluations?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("evaluations?slices=all", "slices"),
        ("evaluations?slice=a%00b", "slice"),
        ("evaluations?cursor=bm9uc2Vuc2U=", None),
        ("evaluations?cursor=x", "cursor"),
        ("effects?page_size=5", "page_size"),
        ("references?slice=all", "slice"),
        ("slices?key=all", "key"),
        ("backtests?state=done", "state"),
    ],
)
def test_bad_query_is_refused_by_its_name(path: str, field: str | None) -> None:
    monitor = make_monitor()
    if field is None:
        assert writer().get(f"/api/v1/monitors/{monitor.pk}/{path}").status_code < 500
    else:
        assert get(writer(), f"monitors/{monitor.pk}/{path}", 400)["field"] == field


@pytest.mark.parametrize("path", ["references", "slices", "evaluations", "effects", "backtests"])
def test_reading_needs_the_scope_and_a_monitor(path: str) -> None:
    get(client_with(Scope.FEEDBACK_READ), f"monitors/1/{path}", 403)
    get(writer(), f"monitors/999999/{path}", 404)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Backtest]:
    """What was given to the workers."""
    given: list[Backtest] = []
    monkeypatch.setattr(backtests, "start", given.append)
    return given


def test_backtest_is_asked_for_followed_and_read(sent: list[Backtest]) -> None:
    fill(0, LEARNT + 100)
    close(LEARNT + 99)
    monitor = learner(reference_end_at=bucket_at(LEARNT))
    api = writer()
    asked = post(api, f"monitors/{monitor.pk}/backtests", {}, 202)
    assert (asked["state"], asked["progress"], asked["report"], asked["is_change"]) == (
        "waiting",
        0.0,
        {},
        False,
    )
    assert len(sent) == 1
    backtests.run(asked["id"], clock=lambda: now_after(LEARNT + 99))
    done = get(api, f"backtests/{asked['id']}")
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, "")
    assert done["report"]["slices"][0]["key"] == "all"
    [row] = get(api, f"monitors/{monitor.pk}/backtests")["results"]
    assert row["id"] == asked["id"]
    assert "report" not in row
    assert get(api, f"monitors/{monitor.pk}")["state"] == "backtested"


def test_second_backtest_at_once_is_a_conflict(sent: list[Backtest]) -> None:
    monitor = make_monitor()
    post(writer(), f"monitors/{monitor.pk}/backtests", {}, 202)
    body = post(writer(), f"monitors/{monitor.pk}/backtests", {}, 409)
    assert body["type"] == "/problems/backtest-running"
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"question": {"name": "x"}}, "name"),
        ({"question": {"max_slices": 0}}, "question.max_slices"),
        ({"question": {"metric": "unheard_of"}}, "question.metric"),
        ({"question": {"parameters": {"level": 0.8, "width": 1}}}, "question.parameters.width"),
        ({"question": 5}, None),
        ({"quest": {}}, "quest"),
    ],
)
def test_backtest_of_what_cannot_be_is_refused(
    sent: list[Backtest], body: dict[str, Any], field: str | None
) -> None:
    monitor = make_monitor()
    said = post(writer(), f"monitors/{monitor.pk}/backtests", body, 400)
    assert said.get("field") == field
    assert not sent


def test_backtest_of_other_settings_is_put_into_force_with_a_reason(sent: list[Backtest]) -> None:
    monitor = make_monitor()
    api = writer()
    asked = post(
        api,
        f"monitors/{monitor.pk}/backtests",
        {"question": {"parameters": {"level": 0.7, "margin": 0.05}}},
        202,
    )
    assert asked["is_change"] is True
    assert asked["question"]["where"] == {}
    path = f"backtests/{asked['id']}/apply"
    assert post(api, path, {"reason": "x"}, 409)["type"] == "/problems/invalid-transition"
    Backtest.objects.update(state=BacktestState.DONE)
    assert post(api, path, {}, 400)["field"] == "reason"
    make_incident(monitor)
    assert post(api, path, {"reason": "calmer"}) == {"reference_version": None, "resolved_count": 1}
    assert Monitor.objects.get().parameters == {"level": 0.7, "margin": 0.05}


def test_cancelled_backtest_stays_cancelled_and_a_finished_one_cannot_be(sent: list[Backtest]) -> None:
    monitor = make_monitor()
    api = writer()
    asked = post(api, f"monitors/{monitor.pk}/backtests", {}, 202)
    for _ in range(2):
        assert post(api, f"backtests/{asked['id']}/cancel")["state"] == "cancelled"
    Backtest.objects.update(state=BacktestState.DONE)
    post(api, f"backtests/{asked['id']}/cancel", {}, 409)


def test_backtests_need_their_scopes() -> None:
    reader = client_with(Scope.INCIDENTS_READ)
    get(writer(), f"backtests/{uuid4()}", 404)
    post(writer(), f"backtests/{uuid4()}/cancel", {}, 404)
    post(writer(), f"backtests/{uuid4()}/apply", {"reason": "x"}, 404)
    post(reader, f"backtests/{uuid4()}/cancel", {}, 403)
    post(reader, f"backtests/{uuid4()}/apply", {}, 403)
    get(client_with(Scope.MONITORS_WRITE), f"backtests/{uuid4()}", 403)


def test_deployment_sets_a_marker_of_some_minutes_from_now() -> None:
    before = timezone.now()
    body = post(writer(), "markers", {"kind": "deploy", "name": "release 4.2", "minutes": 30}, 201)
    marker = Marker.objects.get(pk=body["id"])
    assert marker.ends_at - marker.starts_at == timedelta(minutes=30)
    assert before <= marker.starts_at <= timezone.now()
    assert get(writer(), f"markers/{marker.pk}")["name"] == "release 4.2"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"minutes": None}, "minutes"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": 10**9}, "minutes"),
        ({"ends_at": "2026-03-01T00:00:00Z"}, "minutes"),
        ({"kind": "party"}, "kind"),
        ({"name": ""}, "name"),
        ({"where": {"colour": "red"}}, "where"),
        ({"when": "now"}, "when"),
    ],
)
def test_marker_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    body = {"kind": "deploy", "name": "4.2", "minutes": 30} | changes
    assert post(writer(), "markers", body, 400)["field"] == field
    assert not Marker.objects.exists()


def test_marker_that_ends_before_it_begins_is_refused() -> None:
    body = {
        "kind": "holiday",
        "name": "x",
        "starts_at": "2026-03-02T00:00:00Z",
        "ends_at": "2026-03-01T00:00:00Z",
    }
    assert post(writer(), "markers", body, 400)["field"] == "ends_at"


def test_marker_can_end_at_another_time_and_nothing_else() -> None:
    marker = Marker.objects.create(
        kind="maintenance", name="db", starts_at=bucket_at(0), ends_at=bucket_at(10)
    )
    end = bucket_at(5).isoformat()
    assert patch(writer(), f"markers/{marker.pk}", {"ends_at": end})["ends_at"] == "2026-03-01T12:25:00Z"
    assert patch(writer(), f"markers/{marker.pk}", {"name": "x"}, 400)["field"] == "name"
    assert (
        patch(writer(), f"markers/{marker.pk}", {"ends_at": bucket_at(-1).isoformat()}, 400)["field"]
        == "ends_at"
    )
    patch(writer(), "markers/999999", {"ends_at": end}, 404)
    assert writer().delete(f"/api/v1/markers/{marker.pk}").status_code == 405


def test_markers_are_found_by_kind_and_time(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(10):
        Marker.objects.create(
            kind="deploy", name=str(number), starts_at=bucket_at(number), ends_at=bucket_at(number + 1)
        )
    Marker.objects.create(kind="holiday", name="long", starts_at=bucket_at(-9), ends_at=bucket_at(99))

    def names(query: str) -> list[str]:
        return [row["name"] for row in get(writer(), f"markers?{query}")["results"]]

    assert names("kind=deploy&page_size=2") == ["9", "8"]
    span = f"from={bucket_at(3).isoformat()}&to={bucket_at(5).isoformat()}".replace("+", "%2B")
    assert names(span) == ["4", "3", "long"]
    assert get(writer(), "markers?kind=party", 400)["field"] == "kind"
    api = writer()
    get(api, "budget")
    with django_assert_max_num_queries(2):
        get(api, "markers")


def test_budget_says_what_was_promised_and_what_came(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    today = timezone.now().date()
    for number in range(6):
        monitor = make_monitor(name=f"m{number}", alarms_per_30_days=None if number else 0.5)
        BudgetEntry.objects.create(
            monitor=monitor, day=today, expected=0.25, alarm_count=number, signal_count=1
        )
    budget.redistribute()
    api = writer()
    get(api, "markers")
    with django_assert_max_num_queries(8):
        body = get(api, "budget")
    assert (body["alarms_per_30_days"], body["whole_share"]) == (1.0, 0.5)
    assert body["last_30_days"]["promised"] == pytest.approx(1.5)
    assert (body["last_30_days"]["alarm_count"], body["last_30_days"]["signal_count"]) == (15, 6)
    shares = {row["name"]: row for row in body["monitors"]}
    assert shares["m0"]["promised_alarms"] == pytest.approx(0.5)
    assert shares["m3"]["promised_alarms"] == pytest.approx(0.2)
    assert (shares["m3"]["alarm_count"], shares["m3"]["alarms_per_30_days"]) == (3, None)


def test_change_of_the_budget_reaches_every_monitor() -> None:
    monitor = make_monitor(alarms_per_30_days=None)
    body = patch(writer(), "budget", {"alarms_per_30_days": 4})
    assert body["monitors"][0]["promised_alarms"] == pytest.approx(4)
    monitor.refresh_from_db()
    assert monitor.whole_alarms == pytest.approx(4)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"alarms_per_30_days": 0}, "alarms_per_30_days"),
        ({"alarms_per_30_days": "many"}, "alarms_per_30_days"),
        ({"whole_share": 2}, "whole_share"),
        ({"name": "other"}, "name"),
    ],
)
def test_budget_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    assert patch(writer(), "budget", changes, 400)["field"] == field
    assert not FleetBudget.objects.exclude(alarms_per_30_days=1.0).exists()
