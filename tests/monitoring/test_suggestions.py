from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from feedback.models import FeedbackRollup
from monitoring import backtests, lifecycle, suggestions
from monitoring.candidates import Suggestion
from monitoring.models import Backtest, BacktestState, Monitor, MonitorState, ReferenceMode
from tests.monitoring.factories import make_channel, make_metric, make_monitor
from tests.monitoring.usage import feedback, guest, hours, run_experiment

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 20, 12, 30, tzinfo=UTC)
ADDRESS = "admin:monitoring_suggestions"


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Backtest]:
    """No broker is asked; which backtests a worker would begin."""
    found: list[Backtest] = []
    monkeypatch.setattr(backtests, "start", found.append)
    return found


def service(now: datetime = NOW) -> None:
    """What every response has, of two variants."""
    for metric, mean in (("error", 0.01), ("latency_seconds", 0.8), ("cost", 0.02), ("output_tokens", 150.0)):
        hours(now, metric, mean, variants=("one", "two"))


def proposed(now: datetime = NOW) -> dict[str, Suggestion]:
    return {one.key: one for one in suggestions.propose(now)}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "window": {"start": "2026-03-01T00:00:00+00:00", "end": "2026-03-15T00:00:00+00:00", "days": 14.0},
        "reference": {},
        "budget": {"alarms_per_30_days": 1.0, "promised": 0.5},
        "slices": [],
        "alarm_count": 0,
        "signal_count": 0,
        "allowed": 3.0,
        "is_calm": True,
        "injections": [],
        "sight": {},
        "notes": [],
    } | changes


def finish(monitor: Monitor, **changes: Any) -> None:
    Backtest.objects.filter(monitor=monitor).update(
        state=BacktestState.DONE, progress=1.0, report=report(**changes)
    )


def test_suggestions_without_data_are_none() -> None:
    assert suggestions.propose(NOW) == []


def test_suggestions_cover_what_every_response_has_with_fitting_kinds_and_sides() -> None:
    service()
    found = proposed()
    assert list(found) == [
        "volume/volume",
        "error/rate",
        "latency_seconds/distribution",
        "cost/distribution",
        "output_tokens/distribution",
    ]
    assert found["error/rate"].settings["parameters"] == {"side": "worse"}
    assert found["latency_seconds/distribution"].settings["parameters"] == {"side": "worse"}
    assert found["output_tokens/distribution"].settings["parameters"] == {"side": "both"}
    assert found["cost/distribution"].settings["reference_mode"] == ReferenceMode.TRAILING
    assert found["error/rate"].settings["reference_mode"] == ReferenceMode.PINNED
    assert found["error/rate"].name == "Error rate as usual"


def test_suggestions_show_seven_days_and_say_what_would_be_seen() -> None:
    service()
    found = proposed()
    error, volume = found["error/rate"].preview, found["volume/volume"].preview
    assert error.n == 600 * 120
    assert error.n_a_day == pytest.approx(600 * 24)
    assert error.mean == pytest.approx(0.01)
    assert sum(point is not None for point in error.points) == 120
    assert [point for point in volume.points if point is not None] == [600.0] * 120
    assert found["error/rate"].seen.startswith("Would see a rise from 1.00\N{NARROW NO-BREAK SPACE}% to 1.")
    seen = found["latency_seconds/distribution"].seen
    shift = float(seen.removeprefix("Would see shifts of ").split()[0])
    assert 0.1 < shift < 0.5, seen
    assert "within an hour" in found["volume/volume"].seen


def test_suggestion_with_less_data_sees_less() -> None:
    hours(NOW, "latency_seconds", 1.0, n=3000)
    hours(NOW, "cost", 1.0, n=12)
    found = proposed()
    shift = {
        key: float(found[f"{key}/distribution"].seen.removeprefix("Would see shifts of ").split()[0])
        for key in ("latency_seconds", "cost")
    }
    assert shift["latency_seconds"] < shift["cost"]


def test_suggestion_of_a_few_hours_says_how_many_days_are_missing() -> None:
    hours(NOW, "error", 0.01, days=0.5)
    assert proposed()["error/rate"].seen == (
        "Needs 2 more days of data before it can be learnt what is usual."
    )


def test_suggestions_follow_how_quality_metrics_are_classified() -> None:
    make_metric("helpfulness", description="How much it helps.")
    make_metric("refusal", kind="rate", low=None, high=None, direction="lower")
    make_metric("triage_error", low=-3.0, high=3.0, direction="none")
    make_metric("words", kind="count", low=None, high=None, direction="none")
    make_metric("strange", kind="discovered", low=None, high=None, direction="none")
    for key in ("helpfulness", "refusal", "triage_error", "words", "strange"):
        hours(NOW, key, 0.5)
    found = proposed()
    assert list(found) == [
        "helpfulness/distribution",
        "refusal/rate",
        "triage_error/triage_error",
        "words/distribution",
        "strange",
    ]
    assert found["helpfulness/distribution"].settings["parameters"] == {"side": "both"}
    assert found["helpfulness/distribution"].why.startswith("How much it helps (higher is better).")
    assert found["triage_error/triage_error"].settings["severity"] == "critical"
    assert found["strange"].blocked == "Classify it first."


def test_suggestions_of_feedback_come_when_people_say_something() -> None:
    hours(NOW, "error", 0.01)
    assert "feedback:negative/rate" not in proposed()
    feedback(NOW)
    found = proposed()
    assert found["feedback:negative/rate"].preview.mean == pytest.approx(0.1)
    assert found["feedback:coverage/rate"].preview.mean == pytest.approx(20 / 300)
    assert found["feedback:coverage/rate"].settings["parameters"] == {"side": "both"}


def test_suggestion_of_agreement_and_embeddings_when_they_are_recorded() -> None:
    make_metric("helpfulness")
    hours(NOW, "agreement:helpfulness", 0.8)
    hours(NOW, "embedding_distance", 0.3)
    found = proposed()
    assert found["agreement:helpfulness/rate"].name == "Agreement of helpfulness with people as usual"
    assert found["embedding_distance/distribution"].settings["parameters"] == {"side": "both"}


def test_suggestions_split_by_variant_only_while_an_experiment_runs() -> None:
    service()
    assert "split_by" not in proposed()["error/rate"].settings
    run_experiment(timezone.now())
    found = proposed()
    assert found["error/rate"].settings["split_by"] == ["variant"]
    assert found["error/rate"].settings["max_slices"] == 3
    assert "split_by" not in found["volume/volume"].settings


def test_suggestions_leave_out_what_is_watched_and_keep_what_is_watched_elsewhere() -> None:
    service()
    make_monitor(name="a", kind="rate", metric="error", parameters={}, started_at=None)
    make_monitor(
        name="b", kind="distribution", metric="cost", parameters={}, where={"model": "m"}, started_at=None
    )
    found = proposed()
    assert "error/rate" not in found
    assert "cost/distribution" in found


def test_created_suggestions_learn_are_backtested_and_tell_the_enabled_channels(
    admin_user: User, started: list[Backtest]
) -> None:
    service()
    enabled = make_channel()
    make_channel("off", is_enabled=False)
    made = suggestions.create(["error/rate", "volume/volume", "unheard"], by=admin_user, now=NOW)
    assert [one.metric for one in made] == ["volume", "error"]
    assert {one.state for one in made} == {MonitorState.LEARNING}
    assert [list(one.channels.all()) for one in made] == [[enabled], [enabled]]
    asked = Backtest.objects.order_by("pk")
    assert [(one.monitor, one.asked_by, one.is_change) for one in asked] == [
        (made[0], admin_user, False),
        (made[1], admin_user, False),
    ]
    assert started == list(asked)


def test_created_twice_is_made_once() -> None:
    service()
    suggestions.create(["error/rate"], by=None, now=NOW)
    assert suggestions.create(["error/rate"], by=None, now=NOW) == []
    assert Monitor.objects.count() == 1


def test_creation_looks_ahead_before_it_makes_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    service()
    propose, depths = suggestions.propose, []

    def watched_meanwhile(now: datetime) -> list[Suggestion]:
        found = propose(now)
        depths.append(len(connection.savepoint_ids))
        make_monitor(name="other", kind="rate", metric="error", parameters={}, started_at=None)
        return found

    monkeypatch.setattr(suggestions, "propose", watched_meanwhile)
    depth = len(connection.savepoint_ids)
    made = suggestions.create(["error/rate", "volume/volume"], by=None, now=NOW)
    assert depths == [depth]
    assert [one.metric for one in made] == ["volume"]


def test_created_beside_a_monitor_of_the_same_name_gets_another() -> None:
    service()
    make_monitor(name="Error rate as usual", started_at=None)
    made = suggestions.create(["error/rate"], by=None, now=NOW)
    assert [one.name for one in made] == ["Error rate as usual (2)"]


def test_creation_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    service()

    def refuse(*_: object, **__: object) -> None:
        raise backtests.BacktestRunning

    monkeypatch.setattr(backtests, "ask", refuse)
    with pytest.raises(backtests.BacktestRunning):
        suggestions.create(["error/rate"], by=None, now=NOW)
    assert not Monitor.objects.exists()


def test_suggestions_page_shows_cards_and_what_to_classify(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    service(now)
    feedback(now)
    make_metric("strange", kind="discovered", low=None, high=None, direction="none")
    hours(now, "strange", 0.5)
    admin_client.get(reverse(ADDRESS))
    with django_assert_max_num_queries(12):
        shown = admin_client.get(reverse(ADDRESS)).content.decode()
    assert 'value="error/rate" checked' in shown
    assert "Create and backtest" in shown
    assert "<polyline" in shown
    assert reverse("admin:feedback_qualitymetric_change", args=["strange"]) in shown


def test_suggestions_page_without_data_says_what_will_appear(admin_client: Client) -> None:
    shown = admin_client.get(reverse(ADDRESS)).content.decode()
    assert "There is nothing to suggest" in shown
    assert "As soon as responses" in shown
    assert "Create and backtest" not in shown


def test_suggestion_of_too_little_data_is_not_chosen_at_first(admin_client: Client) -> None:
    hours(timezone.now(), "error", 0.01, days=0.5)
    assert 'value="error/rate">' in admin_client.get(reverse(ADDRESS)).content.decode()


def test_suggestions_page_creates_and_leads_to_the_progress(admin_client: Client) -> None:
    service(timezone.now())
    answer = admin_client.post(reverse(ADDRESS), {"key": ["error/rate", "cost/distribution"]})
    rows = Monitor.objects.order_by("pk")
    assert answer.headers["Location"] == (
        f"{reverse('admin:monitoring_suggestions_progress')}?m={rows[0].pk}.{rows[1].pk}"
    )
    shown = admin_client.get(answer.headers["Location"]).content.decode()
    assert "2 of 2 backtests are under way" in shown
    assert "Waits for a worker." in shown
    assert 'data-live="?m=' in shown
    assert "Activate all" not in shown


def test_suggestions_page_without_a_choice_makes_nothing(admin_client: Client) -> None:
    service(timezone.now())
    answer = admin_client.post(reverse(ADDRESS))
    assert answer.headers["Location"] == reverse(ADDRESS)
    assert not Monitor.objects.exists()


def test_progress_activates_all_that_are_calm_and_no_other(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    service(timezone.now())
    monkeypatch.setattr(lifecycle, "learn", lambda *_, **__: None)
    monkeypatch.setattr(lifecycle, "start", lambda monitor, *, now: began.append(monitor.metric))
    began: list[str] = []
    admin_client.post(reverse(ADDRESS), {"key": ["error/rate", "cost/distribution", "volume/volume"]})
    finish(Monitor.objects.get(metric="error"))
    finish(Monitor.objects.get(metric="cost"), is_calm=False, alarm_count=7)
    address = reverse("admin:monitoring_suggestions_progress")
    shown = admin_client.get(address).content.decode()
    assert "Activate all that are calm (1)" in shown
    assert "Too many alarms: 7 alarms, where 0.5 were promised." in shown
    assert admin_client.post(address).status_code == 302
    assert began == ["error"]
    Monitor.objects.filter(metric="error").update(
        state=MonitorState.ACTIVE, started_at=NOW, watermark_at=NOW, due_at=NOW
    )
    everything = ".".join(
        str(pk) for pk in Monitor.objects.filter(metric__in=["error", "cost"]).values_list("pk", flat=True)
    )
    shown = admin_client.get(f"{address}?m={everything}").content.decode()
    assert "1 monitor watches; of 1 other no backtest was calm." in shown


def test_progress_alone_is_what_the_script_fetches(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    service(timezone.now())
    admin_client.post(reverse(ADDRESS), {"key": ["error/rate", "cost/distribution", "volume/volume"]})
    address = reverse("admin:monitoring_suggestions_progress") + "?live=1"
    with django_assert_max_num_queries(4):
        shown = admin_client.get(address).content.decode()
    assert "<html" not in shown
    assert 'data-part="list"' in shown


def test_progress_without_monitors_says_so(admin_client: Client) -> None:
    shown = admin_client.get(reverse("admin:monitoring_suggestions_progress")).content.decode()
    assert "No monitor is on its way" in shown


def test_suggestions_for_a_person_who_may_only_look_have_no_button(client: Client) -> None:
    service(timezone.now())
    client.force_login(guest("view_monitor"))
    shown = client.get(reverse(ADDRESS)).content.decode()
    assert "Error rate as usual" in shown
    assert "Create and backtest" not in shown
    assert client.post(reverse(ADDRESS), {"key": "error/rate"}).status_code == 403
    assert client.post(reverse("admin:monitoring_suggestions_progress")).status_code == 403
    assert not Monitor.objects.exists()


def test_suggestions_are_not_for_everybody(client: Client) -> None:
    client.force_login(guest())
    assert client.get(reverse(ADDRESS)).status_code == 403
    assert client.get(reverse("admin:monitoring_suggestions_progress")).status_code == 403


def test_suggestion_window_is_four_weeks() -> None:
    hours(NOW - timedelta(days=40), "error", 0.01)
    assert suggestions.propose(NOW) == []


def test_suggestion_of_feedback_that_all_came_late_needs_more_days() -> None:
    hours(NOW, "error", 0.01)
    feedback(NOW)
    assert proposed()["feedback:negative/rate"].seen.startswith("Would see a rise")
    FeedbackRollup.objects.update(visible_at=NOW)
    assert proposed()["feedback:negative/rate"].seen == (
        "Needs 1 more day of data before it can be learnt what is usual."
    )


def test_canary_is_not_suggested() -> None:
    make_metric("triageops_canary")
    hours(NOW, "triageops_canary", 0.9)
    assert suggestions.propose(NOW) == []
