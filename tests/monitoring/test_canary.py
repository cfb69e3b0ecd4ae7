"""The canary: planted drift walks from the rollups to a channel, every day; when it does not arrive, everybody is told."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from feedback import rollups
from feedback.models import Response, RollupCursor
from monitoring import budget, canary, checks, selfcheck
from monitoring.channels import registry
from monitoring.models import (
    CANARY_METRIC,
    PLANTED,
    Canary,
    Channel,
    Incident,
    IncidentState,
    Monitor,
    MonitorState,
    OutboxMessage,
    SelfCheck,
    Severity,
    Signal,
)
from monitoring.outgoing import delivery
from tests.monitoring.factories import START, make_channel, make_incident, make_monitor
from triageops.observability.metrics import exported

pytestmark = pytest.mark.django_db

STEP, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def rolled_up() -> None:
    """The rollups ran before, once."""
    RollupCursor.objects.all().delete()
    values = {"closed_until": START, "updated_at": START, "tx": "1"}
    RollupCursor.objects.update_or_create(name="facts", defaults=values)


class Day:
    """What beat starts, in steps of five minutes; a part can be broken."""

    def __init__(self) -> None:
        self.now = START
        self.broken = ""

    def pass_by(self, duration: timedelta, *, broken: str = "") -> None:
        end = self.now + duration
        while self.now < end:
            self.now += STEP
            self.step(broken)

    def plant_now(self) -> None:
        """As if the day were over."""
        Canary.objects.update(due_at=self.now)

    def step(self, broken: str) -> None:
        now = self.now
        if broken != "rollups":
            rollups_until(now)
        if broken != "checks":
            checks.run_due(now)
        if broken != "delivery":
            delivery.deliver_due(lambda: now)
        if broken != "canary":
            canary.tend(now)
        selfcheck.watch(now)
        selfcheck.watch(now + STEP / 2)


def rollups_until(now: datetime) -> None:
    """As the real ones, whose facts nobody has here."""
    RollupCursor.objects.filter(name="facts").update(closed_until=rollups.closing_at(now), updated_at=now)


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def people() -> Channel:
    return make_channel("people", url="https://example.invalid/hook")


def of_people() -> Iterator[OutboxMessage]:
    return OutboxMessage.objects.filter(channel__name="people").iterator()


def test_canary_is_made_on_its_first_run_with_a_budget_of_its_own(day: Day) -> None:
    day.step("")
    monitor = Monitor.objects.get()
    assert (monitor.name, monitor.metric) == ("canary: planted drift", CANARY_METRIC)
    assert (monitor.state, monitor.where) == (MonitorState.ACTIVE, {"endpoint": "triageops.canary"})
    assert monitor.promised_alarms == pytest.approx(0.1)
    assert [channel.kind for channel in monitor.channels.all()] == ["sink"]
    another = make_monitor(name="of people", alarms_per_30_days=None)
    another.refresh_from_db()
    assert another.promised_alarms == pytest.approx(budget.fleet_budget().alarms_per_30_days)


def test_canary_writes_the_same_values_once_for_each_bucket_and_no_facts(day: Day) -> None:
    day.step("")
    assert canary.tend(day.now + timedelta(minutes=1)) == 0
    assert canary.tend(day.now + STEP) == 50
    assert canary.values_of(START, 0.9) == canary.values_of(START, 0.9)
    assert canary.values_of(START, 0.9) != canary.values_of(START + STEP, 0.9)
    assert not Response.objects.exists()


def test_canary_before_the_first_rollup_waits() -> None:
    RollupCursor.objects.all().delete()
    assert canary.tend(START) == 0
    assert not Monitor.objects.exists()


def test_planted_drift_is_found_delivered_and_over_again_and_no_person_hears_of_it(
    day: Day, people: Channel
) -> None:
    day.pass_by(3 * HOUR)
    row, incident = Canary.objects.get(), Incident.objects.get()
    assert (incident.signal, incident.severity, incident.state) == (
        Signal.DRIFT,
        Severity.INFO,
        IncidentState.RESOLVED,
    )
    assert row.seconds_to_detect is not None
    assert 300 < row.seconds_to_detect <= 1200
    assert row.found_at is not None
    assert row.planted_at is None
    assert row.due_at == row.found_at - timedelta(seconds=row.seconds_to_detect) + DAY
    assert list(OutboxMessage.objects.order_by("seq").values_list("channel__kind", "kind", "status")) == [
        ("sink", "trigger", "delivered"),
        ("sink", "resolve", "delivered"),
    ]
    shown = exported()[0].decode()
    assert f"triageops_canary_seconds_to_detect {row.seconds_to_detect}" in shown
    assert "triageops_canary_last_success_timestamp_seconds" in shown


def test_planted_drift_comes_once_a_day(day: Day) -> None:
    day.pass_by(HOUR)
    first = Incident.objects.get().opened_at
    day.pass_by(HOUR)
    day.now = first + DAY - HOUR
    day.pass_by(HOUR + 3 * STEP)
    opened = list(Incident.objects.order_by("opened_at").values_list("opened_at", flat=True))
    assert len(opened) == 2
    assert abs(opened[1] - first - DAY) <= 2 * STEP


@pytest.mark.parametrize("broken", ["delivery", "checks"])
def test_planted_drift_that_does_not_arrive_is_told_to_everybody_until_the_next_success(
    day: Day, people: Channel, broken: str
) -> None:
    day.pass_by(2 * HOUR)
    day.plant_now()
    day.pass_by(3 * HOUR, broken=broken)
    assert not Incident.objects.filter(slice_key="(chain)").exists()
    day.pass_by(STEP, broken=broken)
    incident = Incident.objects.get(slice_key="(chain)")
    assert (incident.signal, incident.severity) == (Signal.CHECK, Severity.CRITICAL)
    assert "a planted drift was not delivered within 3" in incident.title
    (message,) = [one for one in of_people() if one.incident_id == incident.pk]
    assert message.payload["title"] == incident.title
    day.pass_by(HOUR, broken=broken)
    assert Incident.objects.filter(slice_key="(chain)").count() == 1
    day.pass_by(2 * HOUR)
    incident.refresh_from_db()
    assert incident.state == IncidentState.RESOLVED
    assert {one.kind for one in of_people() if one.incident_id == incident.pk} == {"trigger", "resolve"}


def test_rollups_that_stand_still_are_one_story_and_not_a_blind_canary_too(day: Day) -> None:
    day.pass_by(HOUR)
    day.plant_now()
    day.pass_by(4 * HOUR, broken="rollups")
    assert list(Incident.objects.open().values_list("slice_key", flat=True)) == ["(rollups)"]


def test_canary_that_is_not_fed_is_silent_and_everybody_is_told(day: Day, people: Channel) -> None:
    day.pass_by(HOUR)
    day.pass_by(4 * STEP, broken="canary")
    Monitor.objects.update(last_row_at=day.now - DAY - HOUR)
    SelfCheck.objects.update(steady_since=day.now - 2 * DAY)
    day.step("canary")
    incident = Incident.objects.open().get()
    assert incident.slice_key == "(check)"
    assert "has seen no records" in incident.title
    assert len(list(of_people())) == 1


def test_canary_after_everything_was_at_rest_begins_anew_and_complains_of_nothing(day: Day) -> None:
    day.pass_by(timedelta(minutes=25))
    assert Canary.objects.get().planted_at is not None
    day.now += 9 * HOUR
    day.pass_by(HOUR)
    assert not Incident.objects.filter(signal=Signal.CHECK).exists()
    seconds = Canary.objects.get().seconds_to_detect
    assert seconds is not None
    assert seconds <= 1200


def test_canary_that_is_switched_off_rests_and_goes_on_when_switched_on(day: Day, settings: Settings) -> None:
    day.pass_by(HOUR)
    settings.CANARY = False
    day.pass_by(timedelta(minutes=10))
    assert Monitor.objects.get().state == MonitorState.PAUSED
    settings.CANARY = True
    day.pass_by(timedelta(minutes=10))
    assert Monitor.objects.get().state == MonitorState.ACTIVE


def test_incidents_that_were_planted_are_told_from_all_others(day: Day) -> None:
    day.step("")
    watched = Monitor.objects.get()
    planted = make_incident(watched)
    blind = make_incident(watched, slice_key="(chain)", signal=Signal.CHECK)
    other = make_incident(make_monitor(), severity=Severity.INFO)
    experiment = Incident.objects.create(
        experiment="tone", slice_key="all", title="halted", severity="error", onset_at=START, opened_at=START
    )
    assert list(Incident.objects.filter(PLANTED)) == [planted]
    assert set(Incident.objects.exclude(PLANTED)) == {blind, other, experiment}
    assert 'triageops_incidents_open{severity="info"} 1.0' in exported()[0].decode()


def test_sink_takes_messages_and_is_offered_to_nobody() -> None:
    assert "sink" not in dict(registry.choices())
    assert registry.make("sink", {}).name == "sink"
