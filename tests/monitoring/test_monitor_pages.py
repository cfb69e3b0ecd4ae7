"""The page of a monitor in each of its states, and what its buttons do."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import backtests, checks, lifecycle, tasks
from monitoring.admin.references import baseline_window
from monitoring.definitions import version_of
from monitoring.models import (
    Backtest,
    BacktestState,
    Incident,
    IncidentEvent,
    Marker,
    Monitor,
    MonitorState,
    Reference,
    Resolution,
    Signal,
)
from monitoring.plots import Trace, with_history
from monitoring.questions import question_of
from monitoring.reading.sentences import promise_sentence, sight_text, size_text
from tests.monitoring.factories import (
    START,
    add_values,
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_metric,
    make_monitor,
    now_after,
    roll_hours,
)
from tests.monitoring.learners import LEARNT, fill, learner, learnt
from tests.monitoring.test_admin import act, form, page

pytestmark = pytest.mark.django_db

FELL, SEEN = LEARNT + 10, LEARNT + 60


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    monkeypatch.setattr(backtests, "start", lambda backtest: found.append("backtest"))
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The pages are opened when the last bucket is closed and was checked."""
    now = now_after(SEEN)
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


@pytest.fixture
def drifted(clock: datetime) -> Monitor:
    """Watches helpfulness as learnt, by variant; that of “two” fell more than that of “one”."""
    for variant in ("one", "two"):
        fill(0, LEARNT, variant=variant)
    for variant, mean in {"one": 0.62, "two": 0.5}.items():
        fill(LEARNT, FELL, variant=variant)
        fill(FELL, SEEN + 1, mean=mean, variant=variant)
    roll_hours()
    monitor = learnt(split_by=["variant"], max_slices=50)
    close(SEEN)
    checks.run_due(now_after(SEEN))
    monitor.refresh_from_db()
    return monitor


def test_page_of_a_drift_names_what_explains_it_and_ranks_slices(
    drifted: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    page(admin_client, "monitor_change", drifted.pk)
    with django_assert_max_num_queries(10):
        shown = page(admin_client, "monitor_change", drifted.pk)
    assert "of the fall comes from variant = two." in shown
    assert "Slices, by what they contribute to the change" in shown
    table = shown[shown.index('id="slices"') :]
    assert table.index("variant two") < table.index("variant one")
    assert "1 (in use)" in shown
    assert "It promises at most" in shown


def test_page_of_a_chosen_slice_shows_that_slice(drifted: Monitor, admin_client: Client) -> None:
    address = reverse("admin:monitoring_monitor_change", args=[drifted.pk])
    shown = admin_client.get(address, {"slice": "variant=one", "window": "7d"}).content.decode()
    assert "Shown: variant one" in shown
    # A slice that nobody has heard of is no reason to show nothing.
    assert "Shown: all records" in admin_client.get(address, {"slice": "nonsense"}).content.decode()


def test_page_draws_what_is_usual_the_markers_and_the_onset(drifted: Monitor, admin_client: Client) -> None:
    Marker.objects.create(
        kind="deploy", name="release 4.2", starts_at=bucket_at(LEARNT + 2), ends_at=bucket_at(LEARNT + 4)
    )
    Marker.objects.create(
        kind="deploy",
        name="elsewhere",
        starts_at=bucket_at(LEARNT),
        ends_at=bucket_at(SEEN),
        where={"variant": "x"},
    )
    address = reverse("admin:monitoring_monitor_change", args=[drifted.pk])
    shown = admin_client.get(address).content.decode()
    assert "release 4.2" in shown
    assert '"onset' in shown
    assert '"band:usual"' in shown
    assert "elsewhere" not in admin_client.get(address, {"slice": "variant=two"}).content.decode()


def test_comparison_says_sizes_beside_what_chance_makes(
    drifted: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    address = reverse("admin:monitoring_monitor_comparison", args=[drifted.pk])
    admin_client.get(address, {"slice": "variant=two"})
    with django_assert_max_num_queries(12):
        shown = admin_client.get(address, {"slice": "variant=two"}).content.decode()
    assert "standard deviations lower than in the reference" in shown
    assert shown.count("chance alone: up to") == 3
    assert (
        "<h2>Now beside the reference</h2>" in admin_client.get(address, {"slice": "gone"}).content.decode()
    )


def test_comparison_is_shown_to_nobody_who_may_not_see_monitors(drifted: Monitor, client: Client) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    address = reverse("admin:monitoring_monitor_comparison", args=[drifted.pk])
    assert client.get(address).status_code == 403


@pytest.mark.parametrize(
    ("changes", "words", "button"),
    [
        ({"state": MonitorState.LEARNING}, "Not watching yet", "backtest"),
        (
            {"state": MonitorState.LEARNING, "learning_note": "Only 3 days."},
            "only 3 days.",
            "activate_untried",
        ),
        ({"state": MonitorState.BACKTESTED}, "Tried out on the past", "activate"),
        ({"state": MonitorState.PAUSED}, "Paused: nothing is being watched", "resume"),
        ({"check_error": "boom"}, "The last check failed, so nothing is being watched: boom", "pause"),
        ({"due_at": START, "started_at": START}, "would be noticed until it runs again", "pause"),
    ],
)
def test_page_of_a_state_says_it_and_offers_the_next_step(
    changes: dict[str, Any],
    words: str,
    button: str,
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    monitor = make_monitor(started_at=timezone.now())
    Monitor.objects.filter(pk=monitor.pk).update(**changes)
    page(admin_client, "monitor_change", monitor.pk)
    with django_assert_max_num_queries(10):
        shown = page(admin_client, "monitor_change", monitor.pk)
    assert words in shown
    assert reverse(f"admin:monitoring_monitor_{button}", args=[monitor.pk]) in shown
    assert page(admin_client, "monitor_changelist")


def test_page_of_a_stale_reference_says_how_old_it_is(drifted: Monitor, admin_client: Client) -> None:
    Incident.objects.update(state="resolved", resolved_at=now_after(SEEN), resolution=Resolution.FIXED)
    Monitor.objects.update(state=MonitorState.STALE)
    shown = page(admin_client, "monitor_change", drifted.pk)
    assert "But what it calls usual is old: it was learnt up to 2026-03-02" in shown


def test_page_says_since_when_there_is_no_data(drifted: Monitor, admin_client: Client) -> None:
    Incident.objects.update(state="resolved", resolved_at=now_after(SEEN), resolution=Resolution.FIXED)
    Monitor.objects.update(last_row_at=bucket_at(0), started_at=bucket_at(0))
    assert "has seen no records for" in page(admin_client, "monitor_change", drifted.pk)
    assert "no data" in page(admin_client, "monitor_changelist")


def test_page_shows_the_latest_backtest(drifted: Monitor, admin_client: Client, clock: datetime) -> None:
    report = {
        "window": {"days": 27.6}, "budget": {"promised": 0.9}, "alarm_count": 2, "is_calm": True,
        "injections": [{"name": "0.25 sd lower", "found": 4, "tries": 5, "median_seconds": 5400.0}],
    }  # fmt: skip
    Backtest.objects.create(
        monitor=drifted, question={}, state=BacktestState.DONE, asked_at=clock, report=report
    )
    shown = page(admin_client, "monitor_change", drifted.pk)
    assert (
        "It would have raised 2 alarms in 28 days; by chance alone 0.90 at most on average. That is calm."
        in shown
    )
    assert "<td>4 of 5</td><td>1\N{NARROW NO-BREAK SPACE}h 30\N{NARROW NO-BREAK SPACE}min</td>" in shown


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("slo_guard", "not worse than the level by more than the margin"),
        ("distribution", "as long as ordinary variation stays as it was"),
        ("burn_rate", "nothing is promised about how often that happens by chance"),
        ("never", "There is no false alarm to promise anything about"),
    ],
)
def test_promise_says_on_what_it_rests(kind: str, words: str) -> None:
    assert words in promise_sentence(Monitor(kind=kind, state=MonitorState.ACTIVE), 1.0)


def test_sight_is_said_in_the_unit_of_the_kind() -> None:
    assert (
        sight_text({"up": 0.41, "down": 0.41}, "distribution")
        == "shifts of 0.41 standard deviations and more"
    )
    assert sight_text({"up": 0.06, "down": None}, "rate") == "a rise to 6.00\N{NARROW NO-BREAK SPACE}%"
    assert sight_text({"up": 12.0, "down": 3.0}, "volume") == "a rise to 12.0 or a fall to 3.00 in a bucket"
    assert sight_text({}, "rate") == ""


def test_trace_of_a_month_is_thinned_without_losing_records(drifted: Monitor) -> None:
    days = Trace.read(drifted, "all", {}, START, START + timedelta(days=30))
    hours = Trace.read(drifted, "all", {}, bucket_at(LEARNT), bucket_at(SEEN + 1))
    assert days.step > hours.step
    assert sum(one.n for one in days.stretches) == sum(one.n for one in hours.stretches)
    assert max(one.log_evidence or -9 for one in days.stretches) == max(
        one.log_evidence or -9 for one in hours.stretches
    )


def test_incident_page_shows_the_groups_that_it_comes_from(
    drifted: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    whole = Incident.objects.get(slice_key="all")
    page(admin_client, "incident_change", whole.pk)
    with django_assert_max_num_queries(12):
        shown = page(admin_client, "incident_change", whole.pk)
    assert "Where it comes from" in shown
    assert '<th scope="row">variant two</th>' in shown
    assert "a lasting change: evidence that piled up" in shown
    assert "alarm of a slice" in shown
    assert reverse("admin:monitoring_incident_accept_baseline", args=[whole.pk]) in shown


def test_incident_page_of_a_single_bucket_and_of_a_check_say_so(admin_client: Client) -> None:
    monitor = make_monitor()
    single = make_incident(monitor, signal=Signal.ANOMALY)
    check = make_incident(
        monitor, signal=Signal.CHECK, slice_key="late", effect={}, evidence={"summary": "It is late."}
    )
    assert "one single bucket of time" in page(admin_client, "incident_change", single.pk)
    shown = page(admin_client, "incident_change", check.pk)
    assert "the check itself" in shown
    assert "It is late." in shown
    assert "chart-data-metric" not in shown
    assert reverse("admin:monitoring_incident_accept_baseline", args=[check.pk]) not in shown


def test_backtest_button_asks_for_one_and_leads_to_it(
    admin_client: Client, wakes: list[str], admin_user: User
) -> None:
    monitor = make_monitor(started_at=None)
    answer = act(admin_client, "monitor", monitor.pk, "backtest")
    backtest = Backtest.objects.get()
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_backtest_change", args=[backtest.pk])
    assert (backtest.monitor, backtest.asked_by, backtest.is_change) == (monitor, admin_user, False)
    assert "backtest" in wakes
    answer = act(admin_client, "monitor", monitor.pk, "backtest")
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    assert "is under way" in page(admin_client, "monitor_change", monitor.pk)


def test_monitor_is_activated_after_a_backtest_paused_and_resumed(admin_client: Client) -> None:
    monitor = make_monitor(started_at=None)
    act(admin_client, "monitor", monitor.pk, "activate")
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.LEARNING
    assert "Run a backtest" in page(admin_client, "monitor_change", monitor.pk)
    Backtest.objects.create(
        monitor=monitor, question=question_of(monitor), state=BacktestState.DONE, asked_at=START
    )
    states = []
    for button in ("activate", "pause", "resume"):
        act(admin_client, "monitor", monitor.pk, button)
        monitor.refresh_from_db()
        states.append(monitor.state)
    assert states == [MonitorState.ACTIVE, MonitorState.PAUSED, MonitorState.ACTIVE]


def test_monitor_is_activated_without_a_backtest_for_a_reason_only(admin_client: Client) -> None:
    monitor = make_monitor(started_at=None)
    assert (
        "This field is required"
        in act(admin_client, "monitor", monitor.pk, "activate_untried").content.decode()
    )
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.LEARNING
    act(admin_client, "monitor", monitor.pk, "activate_untried", reason="the history is too short")
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.ACTIVE
    history = admin_client.get(
        reverse("admin:monitoring_monitor_history", args=[monitor.pk])
    ).content.decode()
    assert "Activated without a backtest. the history is too short" in history


def test_monitor_that_cannot_be_watched_says_why(admin_client: Client) -> None:
    monitor = make_monitor(started_at=None)
    make_metric(kind="discovered", low=None, high=None)
    act(admin_client, "monitor", monitor.pk, "activate_untried", reason="now")
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.LEARNING
    assert "Classify" in page(admin_client, "monitor_change", monitor.pk)


def test_monitor_learns_now_or_says_what_is_missing(admin_client: Client, clock: datetime) -> None:
    monitor = learner()
    close(LEARNT - 1)
    act(admin_client, "monitor", monitor.pk, "learn_now")
    assert "because too little is known" in page(admin_client, "monitor_change", monitor.pk)
    fill(0, LEARNT)
    act(admin_client, "monitor", monitor.pk, "learn_now")
    monitor.refresh_from_db()
    assert (monitor.state, monitor.reference is not None) == (MonitorState.LEARNING, True)
    shown = page(admin_client, "monitor_change", monitor.pk)
    assert "It can see shifts of" in shown
    assert reverse("admin:monitoring_monitor_learn_now", args=[monitor.pk]) not in shown


def test_baseline_dialog_shows_what_it_would_do_first(drifted: Monitor, admin_client: Client) -> None:
    address = reverse("admin:monitoring_monitor_accept_baseline", args=[drifted.pk])
    shown = admin_client.get(address, headers={"HX-Request": "true"}).content.decode()
    whole = Incident.objects.get(slice_key="all")
    assert "Version 2 of the reference is learnt from" in shown
    assert f"This incident is over: {whole.title}." in shown
    assert f'value="{whole.onset_at:%Y-%m-%dT%H:%M}"' in shown
    assert Reference.objects.count() == 1


@pytest.mark.parametrize("model", ["monitor", "incident"])
def test_accepted_baseline_is_usual_and_ends_the_incidents(
    model: str, drifted: Monitor, admin_client: Client, admin_user: User, wakes: list[str]
) -> None:
    whole = Incident.objects.get(slice_key="all")
    begin, end = bucket_at(LEARNT), bucket_at(SEEN + 1)
    given = {
        "start_at": f"{begin:%Y-%m-%dT%H:%M}",
        "end_at": f"{end:%Y-%m-%dT%H:%M}",
        "reason": "a new model",
    }
    answer = act(
        admin_client, model, drifted.pk if model == "monitor" else whole.pk, "accept_baseline", **given
    )
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_monitor_change", args=[drifted.pk])
    drifted.refresh_from_db()
    reference = drifted.reference
    assert reference is not None
    assert (reference.version, reference.made_by, reference.reason) == (2, admin_user, "a new model")
    assert (reference.start_at, reference.end_at) == (begin, end)
    assert not Incident.objects.open().exists()
    whole.refresh_from_db()
    assert whole.resolution == Resolution.BASELINE
    assert IncidentEvent.objects.filter(incident=whole, by=admin_user, kind="resolved").exists()


def test_baseline_that_ends_before_it_begins_is_refused_in_the_dialog(
    drifted: Monitor, admin_client: Client
) -> None:
    given = {"start_at": "2026-03-03T12:00", "end_at": "2026-03-03T11:00", "reason": "x"}
    shown = act(admin_client, "monitor", drifted.pk, "accept_baseline", **given).content.decode()
    assert "It has to end after it begins." in shown
    assert Reference.objects.count() == 1


def test_baseline_of_a_monitor_without_incidents_is_the_last_day(clock: datetime) -> None:
    fill(0, LEARNT)
    monitor = learnt()
    window = baseline_window(monitor, [], clock)
    assert window is not None
    assert window[1] - window[0] == timedelta(days=1)


def change(client: Client, monitor: Monitor, **changes: Any) -> Any:
    values = {"name": monitor.name, "split_by": ["variant"], "is_whole_watched": ""} | changes
    return client.post(reverse("admin:monitoring_monitor_change", args=[monitor.pk]), form(**values))


@pytest.fixture
def live() -> Monitor:
    return make_incident(make_monitor(split_by=["variant"])).monitor  # type: ignore[return-value]


def test_live_monitor_that_is_saved_as_it_is_goes_on(live: Monitor, admin_client: Client) -> None:
    assert change(admin_client, live, description="why", severity="critical").status_code == 302
    live.refresh_from_db()
    assert (live.description, live.severity, live.started_at) == ("why", "critical", START)
    assert Incident.objects.open().exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Say how: try it first, or apply it now"),
        ({"way": "apply"}, "Say why it is applied without trying"),
    ],
)
def test_live_monitor_whose_question_changes_asks_for_the_way(
    given: dict[str, str], words: str, live: Monitor, admin_client: Client
) -> None:
    answer = change(admin_client, live, parameter_slo_guard_level="0.6", **given)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    live.refresh_from_db()
    assert live.parameters["level"] == 0.8


def test_live_monitor_whose_change_is_tried_first_goes_on_as_it_is(
    live: Monitor, admin_client: Client
) -> None:
    answer = change(admin_client, live, parameter_slo_guard_level="0.6", way="try")
    backtest = Backtest.objects.get()
    assert answer.headers["Location"] == reverse("admin:monitoring_backtest_change", args=[backtest.pk])
    assert (backtest.is_change, backtest.question["parameters"]["level"]) == (True, 0.6)
    live.refresh_from_db()
    assert (live.parameters["level"], live.started_at) == (0.8, START)
    assert Incident.objects.open().exists()


def test_live_monitor_whose_change_is_applied_begins_anew(live: Monitor, admin_client: Client) -> None:
    answer = change(admin_client, live, parameter_slo_guard_level="0.6", way="apply", reason="too loud")
    assert answer.status_code == 302
    live.refresh_from_db()
    assert live.parameters["level"] == 0.6
    assert live.started_at is not None
    assert live.started_at > bucket_at(12)
    assert Incident.objects.get().resolution == Resolution.MONITOR_CHANGED
    history = admin_client.get(reverse("admin:monitoring_monitor_history", args=[live.pk])).content.decode()
    assert "too loud" in history


def test_live_monitor_whose_budget_alone_changes_keeps_its_evidence(
    live: Monitor, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = change(admin_client, live, alarms_per_30_days="0.5", way="apply", reason="calmer")
    assert answer.status_code == 302
    live.refresh_from_db()
    assert (live.alarms_per_30_days, live.started_at) == (0.5, START)
    assert live.promised_alarms == pytest.approx(0.5)
    assert Incident.objects.open().exists()


def test_live_monitor_that_cannot_learn_what_is_asked_stays_as_it_is(
    drifted: Monitor, admin_client: Client
) -> None:
    given = form(
        name=drifted.name, kind="distribution", split_by=["variant"], is_whole_watched="on", reference_days="2", max_slices="50",
        alarms_per_30_days="", where="model = nobody", way="apply", reason="why not",
    )  # fmt: skip
    address = reverse("admin:monitoring_monitor_change", args=[drifted.pk])
    shown = admin_client.post(address, given, follow=True).content.decode()
    assert "The change was not applied: There are no numbers of" in shown
    drifted.refresh_from_db()
    assert drifted.where == {}
    assert drifted.state == MonitorState.ACTIVE


def test_backtested_monitor_that_is_changed_has_to_be_tried_again(admin_client: Client) -> None:
    monitor = make_monitor(started_at=None, split_by=["variant"], state=MonitorState.BACKTESTED)
    assert change(admin_client, monitor, alarms_per_30_days="0.5").status_code == 302
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.LEARNING


def test_pinned_reference_with_parts_of_a_second_is_no_change_when_saved(
    admin_client: Client,
) -> None:
    at = START.replace(microsecond=123456)
    monitor = make_monitor(
        split_by=["variant"], reference_start_at=at, reference_end_at=at + timedelta(days=1)
    )
    given = {"reference_start_at_0": "2026-03-01", "reference_start_at_1": "12:00:00"}
    given |= {"reference_end_at_0": "2026-03-02", "reference_end_at_1": "12:00:00"}
    assert change(admin_client, monitor, **given).status_code == 302
    monitor.refresh_from_db()
    assert monitor.reference_start_at == at


def test_settings_are_lines_on_the_page_and_a_form_of_their_own(
    live: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    shown = page(admin_client, "monitor_change", live.pk)
    assert "level 0.8, margin 0.05" in shown
    assert 'name="severity"' not in shown
    address = reverse("admin:monitoring_monitor_change", args=[live.pk])
    with django_assert_max_num_queries(10):
        form_shown = admin_client.get(address, {"settings": "1"}).content.decode()
    assert 'name="severity"' in form_shown
    assert 'name="parameter_slo_guard_level" value="0.8"' in form_shown


def test_person_who_may_only_look_finds_no_button_that_works(client: Client) -> None:
    monitor = make_monitor()
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_monitor"))
    client.force_login(guest)
    assert page(client, "monitor_change", monitor.pk)
    address = reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    assert "helpfulness" in client.get(address, {"settings": "1"}).content.decode()
    assert act(client, "monitor", monitor.pk, "pause").status_code == 403
    lifecycle.pause(monitor)


@pytest.mark.parametrize("pk", ["notanumber", "0", "99999999999999999999"])
@pytest.mark.parametrize("button", ["backtest", "pause", "accept_baseline"])
def test_button_of_a_monitor_that_does_not_exist_finds_nothing(
    pk: str, button: str, admin_client: Client
) -> None:
    assert act(admin_client, "monitor", pk, button).status_code == 404


def test_monitor_list_is_filtered_by_incident_metric_state_and_kind(
    live: Monitor, admin_client: Client
) -> None:
    make_monitor(name="quiet one", started_at=None)
    address = reverse("admin:monitoring_monitor_changelist")
    for query, is_there in [("incident=yes", False), ("incident=no", True), ("state__exact=learning", True),
                            ("metric=helpfulness", True), ("kind__exact=rate", False)]:  # fmt: skip
        shown = admin_client.get(f"{address}?{query}").content.decode()
        assert ("quiet one" in shown) == is_there, query


def test_monitor_list_draws_the_last_day_and_takes_few_queries(
    drifted: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(4):
        make_monitor(name=f"more {number}", split_by=["variant"])
    page(admin_client, "monitor_changelist")
    with django_assert_max_num_queries(10):
        shown = page(admin_client, "monitor_changelist")
    assert shown.count("<polyline") == 5
    assert "incident open" in shown


@pytest.fixture
def young(clock: datetime) -> Monitor:
    """Activated after a day of rollups, and not checked yet."""
    fill(0, LEARNT)
    roll_hours()
    return learnt()


@pytest.mark.parametrize("window", ["2h", "24h", "7d", "14d", "30d"])
def test_page_of_a_young_monitor_shows_the_time_before_it_watched(
    window: str, young: Monitor, admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fill(LEARNT, SEEN + 1)
    address = reverse("admin:monitoring_monitor_change", args=[young.pk])
    admin_client.get(address, {"window": window})
    with django_assert_max_num_queries(10):
        shown = admin_client.get(address, {"window": window}).content.decode()
    assert "chart-data-metric" in shown
    assert '"band:usual"' in shown
    assert "chart-data-evidence" not in shown


def test_history_joins_what_checks_saw_and_counts_no_record_twice(young: Monitor, clock: datetime) -> None:
    fill(LEARNT, SEEN + 1)
    close(SEEN)
    checks.run_due(clock)
    young.refresh_from_db()
    seen = Trace.read(young, "all", {}, clock - timedelta(hours=24), clock)
    whole = with_history(seen, clock)
    before = [one for one in whole.stretches if not one.is_watched]
    assert [one for one in whole.stretches if one.is_watched] == list(seen.stretches)
    assert before[-1].at < seen.stretches[0].at
    assert len(whole.stretches) == len({one.at for one in whole.stretches}) <= 200
    assert before[-1].value == pytest.approx(0.7, abs=0.1)
    assert before[-1].expected == pytest.approx(0.7, abs=0.05)
    first = min(one.at for one in before)
    assert sum(one.n for one in before) == 20 * round(
        (before[-1].at + whole.step - first).total_seconds() / 300
    )


def test_history_of_a_volume_is_in_records_a_bucket(clock: datetime) -> None:
    for number in range(SEEN + 1):
        add_values(number, [0.0] * 4, metric="responses")
    close(SEEN)
    monitor = learner(kind="volume")
    Monitor.objects.update(metric="volume")
    monitor.refresh_from_db()
    trace = Trace.read(monitor, "all", {}, clock - timedelta(hours=2), clock)
    assert {one.value for one in with_history(trace, clock).stretches} <= {4.0}


def test_page_without_an_alarm_says_so_and_what_was_off_lately(
    drifted: Monitor, admin_client: Client
) -> None:
    Incident.objects.update(state="resolved", resolved_at=now_after(SEEN), resolution=Resolution.FIXED)
    shown = page(admin_client, "monitor_change", drifted.pk)
    assert "No alarm: the evidence that “helpfulness” has changed is" in shown
    assert "Lately it was lower than usual." in shown


def test_incident_of_what_must_never_happen_counts_events(admin_client: Client) -> None:
    monitor = make_monitor(kind="never", parameters={}, alarms_per_30_days=None)
    effect = {"current": 2 / 29, "level": 0.0, "difference": 2 / 29, "low": -0.023, "high": 0.161, "n": 29}
    single = make_incident(monitor, effect=effect, signal=Signal.ANOMALY)
    shown = page(admin_client, "incident_change", single.pk)
    assert "2 events among 29 records" in shown
    assert "-0.0230" not in shown
    assert "too far out to be chance" not in shown


def test_interval_of_a_share_ends_where_no_share_can_be() -> None:
    effect = {"current": 0.1, "level": 0.05, "difference": 0.05, "low": -0.2, "high": 0.3, "n": 29}
    monitor = make_monitor()
    monitor.kind = "rate"
    incident = make_incident(monitor, effect=effect)
    assert "(-0.0500 to 0.300)" in size_text(incident)


def test_monitor_that_tells_nobody_says_so_on_its_page_and_before_it_is_activated(
    admin_client: Client,
) -> None:
    monitor = make_monitor(started_at=None)
    address = reverse("admin:monitoring_monitor_activate", args=[monitor.pk])
    told = "no enabled channel is chosen"
    assert told in page(admin_client, "monitor_change", monitor.pk)
    assert told in admin_client.get(address, headers={"HX-Request": "true"}).content.decode()
    monitor.channels.add(make_channel())
    assert told not in page(admin_client, "monitor_change", monitor.pk)
    assert told not in admin_client.get(address, headers={"HX-Request": "true"}).content.decode()


def test_new_monitor_tells_all_enabled_channels_unless_somebody_chooses(admin_client: Client) -> None:
    make_channel("on")
    make_channel("off", is_enabled=False)
    shown = page(admin_client, "monitor_add")
    boxes = [part for part in shown.split("<input") if 'name="channels"' in part]
    assert [bool(re.search(r"\" checked[ >\n]", box)) for box in boxes] == [False, True]


def test_form_that_is_older_than_the_monitor_is_refused(live: Monitor, admin_client: Client) -> None:
    seen = version_of(live)
    assert change(admin_client, live, seen=seen, description="first").status_code == 302
    answer = change(admin_client, live, seen=seen, description="second")
    assert "Somebody changed this monitor after this form was opened" in answer.content.decode()
    live.refresh_from_db()
    assert live.description == "first"
    address = reverse("admin:monitoring_monitor_change", args=[live.pk])
    assert f'value="{version_of(live)}"' in admin_client.get(address, {"settings": "1"}).content.decode()


def test_metrics_to_choose_from_are_those_that_mean_something(admin_client: Client) -> None:
    for key in ("helpfulness", "cost", "triageops_canary"):
        make_metric(key)
    shown = page(admin_client, "monitor_add")
    assert "agreement:helpfulness" in shown
    assert "agreement:cost" not in shown
    assert "triageops_canary" not in shown


def test_list_of_incidents_hides_what_was_planted_unless_its_monitor_is_chosen(admin_client: Client) -> None:
    make_metric("triageops_canary")
    canary = make_monitor(metric="triageops_canary")
    make_incident(canary, title="planted drift")
    address = reverse("admin:monitoring_incident_changelist")
    assert "planted drift" not in admin_client.get(address).content.decode()
    assert "planted drift" in admin_client.get(address, {"monitor__id__exact": canary.pk}).content.decode()


def test_rule_made_in_the_form_has_no_number_of_false_alarms(admin_client: Client) -> None:
    make_metric()
    answer = admin_client.post(reverse("admin:monitoring_monitor_add"), form(kind="never"))
    assert answer.status_code == 302
    assert Monitor.objects.get().alarms_per_30_days is None
    assert "fixed rule" in page(admin_client, "monitor_change", Monitor.objects.get().pk)


def test_person_who_may_only_look_at_incidents_opens_what_the_sidebar_counts(client: Client) -> None:
    incident = make_incident(make_monitor())
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(guest)
    assert page(client, "incident_changelist")
    assert page(client, "incident_change", incident.pk)


def test_marks_whose_names_would_lie_on_each_other_are_one(drifted: Monitor, admin_client: Client) -> None:
    span = {"starts_at": bucket_at(FELL + 1), "ends_at": bucket_at(FELL + 2)}
    Marker.objects.create(kind="deploy", name="release 4.2", **span)
    address = reverse("admin:monitoring_monitor_change", args=[drifted.pk])
    shown = admin_client.get(address, {"window": "30d"}).content.decode()
    names = re.findall(r'"name": "([^"]*onset[^"]*)"', shown)
    assert names
    assert any("release 4.2" in name and "found" in name for name in names)
