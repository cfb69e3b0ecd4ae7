"""What follows from one open incident is held back while that is open, and nothing else."""

from typing import Any

import pytest

from monitoring.models import (
    SUPPRESSING,
    Flag,
    Incident,
    InhibitRule,
    MessageKind,
    MessageStatus,
    Monitor,
    Severity,
    Signal,
)
from monitoring.quiet.causes import of_one
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, NOW, flags_of, opened, over, sweep, told

pytestmark = pytest.mark.django_db

HELD = [(MessageKind.TRIGGER, MessageStatus.SUPPRESSED)]
FREE = [(MessageKind.TRIGGER, MessageStatus.PENDING)]


def monitor_of(metric: str, **changes: Any) -> Monitor:
    monitor = make_monitor(name=f"watch of {metric}", channels=(make_channel(f"for {metric}"),), **changes)
    Monitor.objects.filter(pk=monitor.pk).update(metric=metric)
    monitor.refresh_from_db()
    return monitor


def check_in_trouble(monitor: Monitor, trouble: str = "silent", key: str = "(check)") -> Incident:
    return Incident.objects.create(
        monitor=monitor,
        slice_key=key,
        signal=Signal.CHECK,
        title="no records",
        severity=Severity.WARNING,
        onset_at=NOW,
        opened_at=NOW,
        evidence={"trouble": trouble},
    )


def test_check_in_trouble_holds_back_the_monitor_that_it_is_about() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    check = check_in_trouble(monitor, "failing")
    incident = opened(monitor)
    assert told(incident) == HELD
    assert flags_of(incident) == {Flag.INHIBITED}
    assert incident.flags.get().cause == f"incident:{check.pk}"


def test_other_monitors_are_told_all_the_same() -> None:
    check_in_trouble(monitor_of("cost"))
    assert told(opened(make_monitor(channels=(make_channel(),)))) == FREE


def test_silence_of_records_flags_no_data_which_ends_with_it() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor)
    check = check_in_trouble(monitor, "silent")
    sweep(NOW)
    assert flags_of(incident) == {Flag.INHIBITED, Flag.NO_DATA}
    incident.refresh_from_db()
    assert incident.is_open
    over(check, now=NOW + HOUR)
    sweep(NOW + HOUR)
    assert flags_of(incident) == set()
    assert told(incident) == FREE


def test_trouble_of_all_checks_together_holds_nothing_back() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    check_in_trouble(monitor, "late", "(checks)")
    assert told(opened(monitor)) == FREE


def test_no_data_alone_suppresses_nothing() -> None:
    assert Flag.NO_DATA not in SUPPRESSING
    incident = opened(make_monitor(channels=(make_channel(),)))
    incident.flags.create(kind=Flag.NO_DATA, why="no records", since=NOW)
    assert not of_one(incident, NOW).keys() & set(SUPPRESSING)


def test_outage_holds_back_quality_in_the_same_place_only() -> None:
    quality = make_monitor(channels=(make_channel(),))
    opened(monitor_of("error"), key="model=m1", labels={"model": "m1"}, severity=Severity.CRITICAL)
    same = opened(quality, key="model=m1,x", labels={"model": "m1"})
    other = opened(quality, key="model=m2", labels={"model": "m2"})
    deeper = opened(quality, key="model=m1,variant=a", labels={"model": "m1", "variant": "a"})
    assert [told(one) for one in (same, other, deeper)] == [HELD, FREE, FREE]


def test_mild_rise_of_errors_is_no_outage() -> None:
    opened(monitor_of("error"), severity=Severity.WARNING)
    assert told(opened(make_monitor(channels=(make_channel(),)))) == FREE


def test_outage_does_not_hold_back_what_is_no_quality() -> None:
    opened(monitor_of("error"), severity=Severity.CRITICAL)
    assert told(opened(monitor_of("latency_seconds"))) == FREE


@pytest.mark.parametrize(("current", "expected"), [(0, HELD), (12.0, FREE)])
def test_volume_is_an_outage_when_nothing_comes_at_all(current: float, expected: list[Any]) -> None:
    opened(monitor_of("volume"), effect={"current": current, "level": 50, "difference": current - 50, "n": 0})
    assert told(opened(make_monitor(channels=(make_channel(),)))) == expected


def test_whole_holds_back_later_slices_and_not_earlier_ones() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    earlier = opened(monitor, key="variant=a", labels={"variant": "a"})
    whole = opened(monitor, now=NOW + HOUR)
    later = opened(monitor, key="variant=b", labels={"variant": "b"}, now=NOW + 2 * HOUR)
    assert [told(one) for one in (earlier, whole, later)] == [FREE, FREE, HELD]
    sweep(NOW + 2 * HOUR)
    assert [told(one) for one in (earlier, whole, later)] == [FREE, FREE, HELD]
    over(whole, now=NOW + 3 * HOUR)
    sweep(NOW + 3 * HOUR)
    assert told(later) == FREE
    assert later.messages.get().suppressed_since == NOW + 2 * HOUR


def rule(source: list[str], target: list[str], equal: list[str] | None = None, name: str = "r") -> None:
    InhibitRule.objects.create(name=name, source_matchers=source, target_matchers=target, equal=equal or [])


def test_rule_of_a_person_holds_what_agrees_in_its_labels() -> None:
    rule(['severity="critical"'], ['severity="error"'], ["service"])
    opened(monitor_of("cost"), severity=Severity.CRITICAL)
    assert told(opened(make_monitor(channels=(make_channel(),)))) == HELD


def test_rule_in_the_shape_of_the_api_is_read_too() -> None:
    InhibitRule.objects.create(
        name="api",
        source_matchers=[{"name": "metric", "value": "cost", "isRegex": False, "isEqual": True}],
        target_matchers=[{"name": "metric", "value": "help.*", "isRegex": True, "isEqual": True}],
    )
    opened(monitor_of("cost"))
    assert told(opened(make_monitor(channels=(make_channel(),)))) == HELD


def test_rule_whose_labels_differ_holds_nothing() -> None:
    rule(['severity="critical"'], ['severity="error"'], ["metric"])
    opened(monitor_of("cost"), severity=Severity.CRITICAL)
    assert told(opened(make_monitor(channels=(make_channel(),)))) == FREE


def test_incident_never_holds_back_itself_nor_those_that_match_both_sides() -> None:
    rule(['severity=~"error|critical"'], ['severity=~"error|critical"'])
    first = opened(monitor_of("cost"))
    second = opened(make_monitor(channels=(make_channel(),)))
    sweep(NOW)
    assert [told(first), told(second)] == [FREE, FREE]


def test_incidents_that_would_hold_back_each_other_do_not_both_fall_silent() -> None:
    rule(['metric="cost"'], ['metric="helpfulness"'], name="one")
    rule(['metric="helpfulness"'], ['metric="cost"'], name="two")
    first = opened(monitor_of("cost"))
    second = opened(make_monitor(channels=(make_channel(),)))
    for _ in range(3):
        sweep(NOW)
    assert [told(first), told(second)] == [FREE, HELD]


def test_ring_of_three_leaves_one_that_is_told() -> None:
    for name, source, target in (
        ("1", "cost", "helpfulness"),
        ("2", "helpfulness", "latency_seconds"),
        ("3", "latency_seconds", "cost"),
    ):
        rule([f'metric="{source}"'], [f'metric="{target}"'], name=name)
    found = [
        opened(monitor_of("cost")),
        opened(make_monitor(channels=(make_channel(),))),
        opened(monitor_of("latency_seconds")),
    ]
    for _ in range(3):
        sweep(NOW)
    assert sorted(told(one) == FREE for one in found) == [False, False, True]


def test_resolved_and_suspected_incidents_hold_nothing_back() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    whole = opened(monitor)
    Incident.objects.filter(pk=whole.pk).update(state="suspect")
    later = opened(monitor, key="variant=b", labels={"variant": "b"}, now=NOW + HOUR)
    assert told(later) == FREE
    assert of_one(later, NOW) == {}
