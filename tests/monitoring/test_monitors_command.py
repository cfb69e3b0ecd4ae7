"""bin/manage monitors: every word, as text and as JSON, and what it refuses."""

import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from monitoring import backtests, checks
from monitoring.management.commands.monitors import Command
from monitoring.management.console.trying import NoReport, backtest
from monitoring.models import Backtest, Incident, Marker, Monitor
from tests.monitoring.factories import (
    BUCKET,
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_metric,
    make_monitor,
    now_after,
)
from tests.monitoring.learners import LEARNT, fill, learner, learnt
from triageops.wording import NARROW_SPACE

pytestmark = pytest.mark.django_db


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("monitors", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def as_json(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def refusal(*words: str) -> str:
    with pytest.raises(CommandError) as refused:
        said(*words)
    assert refused.value.returncode == 2
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the command's clock."""

    def set_clock(number: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: bucket_at(number))

    return set_clock


def test_no_word_takes_the_place_of_what_every_command_has() -> None:
    parser = Command().create_parser("manage.py", "monitors")
    common = {"settings", "pythonpath", "verbosity", "traceback", "no_color", "force_color", "skip_checks"}
    for words in (["create", "x", "a=b"], ["set", "x", "a=b"], ["backtest", "x", "a=b"], ["budget", "a=b"]):
        options = vars(parser.parse_args(words))
        assert {name: options[name] for name in common} == {name: parser.get_default(name) for name in common}


def test_list_shows_monitors_of_a_state() -> None:
    make_monitor()
    make_monitor(name="paused one", started_at=None)
    assert [row["name"] for row in as_json("list")] == ["helpfulness floor", "paused one"]
    text = said("list", "--state", "active")
    assert "helpfulness floor" in text
    assert "paused one" not in text
    assert said("list", "--metric", "cost") == "There are no monitors.\n"


def test_show_finds_a_monitor_by_name_and_by_id() -> None:
    monitor = make_monitor()
    make_incident(monitor)
    monitor.slices.update(log_evidence=-0.6931)
    assert as_json("show", "helpfulness floor") == as_json("show", str(monitor.pk))
    text = said("show", "helpfulness floor")
    assert f"all records  50.0{NARROW_SPACE}%" in text
    assert "level=0.8" in text


def test_create_makes_what_rest_makes() -> None:
    make_metric()
    make_channel("ops")
    row = as_json(
        "create", "floor", "kind=slo_guard", "metric=helpfulness", "parameters.level=0.8", "parameters.margin=0.05",
        "where.model=4", "split_by=language,endpoint", "channels=ops", "severity=warning", "alarms_per_30_days=0.5",
    )  # fmt: skip
    assert (row["state"], row["parameters"]) == ("learning", {"level": 0.8, "margin": 0.05})
    assert (row["where"], row["split_by"], row["channels"]) == (
        {"model": "4"},
        ["language", "endpoint"],
        ["ops"],
    )
    assert (row["severity"], row["alarms_per_30_days"]) == ("warning", 0.5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["kind=slo_guard"], "metric"),
        (["kind=odd", "metric=helpfulness"], "kind"),
        (["kind=slo_guard", "metric=helpfulness"], "parameters.level"),
        (["kind=slo_guard", "metric=helpfulness", "colour=red"], "colour"),
        (["kind=slo_guard", "metric=helpfulness", "colour.of=red"], "colour.of"),
        (["kind=slo_guard", "metric=helpfulness", "max_slices=many"], "max_slices"),
        (["kind"], "name=value"),
    ],
)
def test_create_refuses_in_one_line(settings: list[str], told: str) -> None:
    make_metric()
    assert told in refusal("create", "floor", *settings)
    assert not Monitor.objects.exists()


def test_set_changes_one_member_and_needs_a_reason_for_the_question() -> None:
    monitor = make_monitor()
    make_incident(monitor)
    assert "reason" in refusal("set", "helpfulness floor", "parameters.level=0.7")
    row = as_json("set", "helpfulness floor", "parameters.level=0.7", "--reason", "agreed")
    assert row["parameters"] == {"level": 0.7, "margin": 0.05}
    assert Incident.objects.get().resolution == "monitor_changed"
    assert as_json("set", str(monitor.pk), "alarms_per_30_days=null")["alarms_per_30_days"] is None


def test_activate_learn_and_pause(at: Any) -> None:
    fill(0, LEARNT)
    close(LEARNT - 1)
    learner()
    at(LEARNT)
    assert "without_backtest" in refusal("activate", "drift")
    assert as_json("learn", "drift", "--reason", "first")["reason"] == "first"
    assert as_json("activate", "drift", "--without-backtest", "a test")["state"] == "active"
    assert as_json("pause", "drift")["state"] == "paused"


def test_accept_makes_a_version_in_the_name_of_a_person(at: Any) -> None:
    User.objects.create(username="ada")
    fill(0, LEARNT)
    fill(LEARNT, 2 * LEARNT, mean=0.6)
    monitor = learnt()
    close(2 * LEARNT - 1)
    make_incident(monitor, onset_at=bucket_at(LEARNT), opened_at=bucket_at(LEARNT + 5))
    at(2 * LEARNT)
    row = as_json("accept", "drift", "--reason", "new prompt", "--by", "ada")
    assert (row["version"], row["made_by"], row["reason"], row["resolved_count"]) == (
        2,
        "ada",
        "new prompt",
        1,
    )
    assert "no user" in refusal("accept", "drift", "--reason", "x", "--by", "nobody")
    assert "--from" in refusal("accept", "drift", "--reason", "x", "--from", "yesterday")


def test_backtest_runs_here_and_prints_alarms_and_delays(at: Any) -> None:
    fill(0, LEARNT + 60)
    fill(LEARNT + 60, LEARNT + 160, mean=0.4)
    close(LEARNT + 159)
    learner(reference_end_at=bucket_at(LEARNT))
    at(LEARNT + 160)
    row = as_json("backtest", "drift")
    assert (row["state"], row["progress"]) == ("done", 1.0)
    assert row["report"]["alarm_count"] >= 1
    text = said("backtest", "drift")
    assert "median delay" in text
    assert "alarm" in text
    assert Monitor.objects.get().state == "backtested"


def test_backtest_of_other_settings_can_be_put_into_force(at: Any) -> None:
    fill(0, LEARNT + 100)
    close(LEARNT + 99)
    monitor = learner(reference_end_at=bucket_at(LEARNT))
    at(LEARNT + 100)
    text = said("backtest", "drift", "parameters.ignore_shift=0.3", "--apply", "calmer")
    assert "in force" in text
    monitor.refresh_from_db()
    assert monitor.parameters == {"ignore_shift": 0.3}


def test_backtest_without_a_past_says_why(at: Any) -> None:
    learner()
    at(10)
    assert "no numbers" in refusal("backtest", "drift")
    assert Backtest.objects.get().state == "failed"
    assert "question.max_slices" in refusal("backtest", "drift", "max_slices=0")


@pytest.mark.django_db(transaction=True)
def test_backtest_says_how_far_it_is_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_monitor()
    heard, told = threading.Event(), list[float]()

    def run(backtest_id: Any, *, clock: Any) -> None:
        Backtest.objects.filter(pk=backtest_id).update(progress=0.4)
        assert heard.wait(20)
        Backtest.objects.filter(pk=backtest_id).update(state="failed", error="The past is too short.")

    def tell(progress: float) -> None:
        told.append(progress)
        heard.set()

    monkeypatch.setattr(backtests, "run", run)
    options: dict[str, Any] = {"monitor": "helpfulness floor", "pairs": [], "by": None, "apply": None}
    with pytest.raises(NoReport, match="too short"):
        backtest(options, clock=timezone.now, tell=tell)
    assert told[-1] == pytest.approx(0.4)


def test_backtest_that_is_interrupted_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    make_monitor()

    def run(backtest_id: Any, *, clock: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backtests, "run", run)
    with pytest.raises(KeyboardInterrupt):
        said("backtest", "helpfulness floor")
    assert Backtest.objects.get().state == "cancelled"


def test_check_looks_at_once_and_shows_what_it_saw(at: Any) -> None:
    fill(0, LEARNT + 10)
    monitor = learnt()
    close(LEARNT + 4)
    checks.run_due(now_after(LEARNT + 4))
    close(LEARNT + 9)
    Monitor.objects.update(due_at=bucket_at(LEARNT + 500))
    at(LEARNT + 11)
    found = as_json("check", "drift")
    assert found["row_count"] == 5
    assert len(found["evaluations"]) == 10
    assert "log evidence" in said("check", "drift")
    monitor.refresh_from_db()
    monitor.state = "paused"
    monitor.save()
    assert "watches nothing" in refusal("check", "drift")


def test_effects_are_shown_beside_what_chance_makes(at: Any) -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 50, mean=0.6)
    learnt()
    close(LEARNT + 49)
    at(LEARNT + 50)
    assert as_json("effects", "drift")["wasserstein"]["value"] == pytest.approx(1, abs=0.1)
    assert "Wasserstein" in said("effects", "drift")
    assert "nothing to compare" in refusal("effects", "drift", "--slice", "model=z")


def test_markers_are_made_shown_and_ended() -> None:
    made = as_json("mark", "deploy", "release 4.2", "--minutes", "30", "--where", "endpoint=/triage")
    marker = Marker.objects.get()
    assert (marker.ends_at - marker.starts_at, marker.where) == (
        timedelta(minutes=30),
        {"endpoint": "/triage"},
    )
    assert "release 4.2" in said("markers")
    end = (marker.starts_at + BUCKET).isoformat()
    assert as_json("end-marker", str(made["id"]), "--at", end)["id"] == made["id"]
    marker.refresh_from_db()
    assert marker.ends_at - marker.starts_at == BUCKET
    said("end-marker", str(made["id"]))
    marker.refresh_from_db()
    assert marker.ends_at < marker.starts_at + BUCKET
    assert "ends_at" in refusal("end-marker", str(made["id"]), "--at", "2001-01-01T00:00:00Z")
    assert "no marker" in refusal("end-marker", "999")
    assert "minutes" in refusal("mark", "deploy", "x")
    assert "kind" in refusal_of_usage("mark", "party", "x")


def refusal_of_usage(*words: str) -> str:
    with pytest.raises(CommandError) as refused:
        said(*words)
    return str(refused.value)


def test_budget_is_shown_and_changed() -> None:
    make_monitor(alarms_per_30_days=None)
    assert as_json("budget", "alarms_per_30_days=3")["monitors"][0]["promised_alarms"] == pytest.approx(3)
    assert "helpfulness floor" in said("budget")
    assert "whole_share" in refusal("budget", "whole_share=7")


@pytest.mark.parametrize(
    "words",
    [["show"], ["set", "x", "a=b"], ["activate"], ["pause"], ["learn"], ["backtest"], ["check"], ["effects"]],
)
def test_unknown_monitor_is_refused_in_one_line(words: list[str]) -> None:
    word, *rest = words
    assert "no monitor" in refusal(word, "nobody", *rest[1:])
