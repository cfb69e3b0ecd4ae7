"""One change is told once, and what nobody was told of is told when it is its turn."""

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring import incidents, lifecycle
from monitoring.models import (
    BudgetEntry,
    DriftEvaluation,
    EventKind,
    Incident,
    IncidentState,
    Monitor,
    MonitorSlice,
    OutboxMessage,
    Reference,
    ReferenceSlice,
    Resolution,
    Signal,
)
from monitoring.stories import SAME_STORY
from tests.monitoring.factories import (
    BUCKET,
    START,
    add_values,
    make_channel,
    make_metric,
    now_after,
)
from tests.monitoring.test_learned_checks import LEARNT, fill, run, watching

pytestmark = pytest.mark.django_db

APART = int(SAME_STORY / BUCKET) + 5
"""Buckets after which a change is another story."""


def fill_both(start: int, end: int, a: float, b: float) -> None:
    for variant, mean in (("a", a), ("b", b)):
        fill(start, end, mean=mean, seed=ord(variant), variant=variant)


def fill_errors(start: int, end: int, *, n: int = 50, **shares: float) -> None:
    """Shares of errors by variant."""
    random = np.random.default_rng(start)
    for number in range(start, end):
        for variant, share in shares.items():
            values = (random.random(n) < share).astype(float).tolist()
            add_values(number, values, metric="error", variant=variant)


def burning(**changes: Any) -> Monitor:
    monitor = Monitor.objects.create(
        **{
            "name": "errors",
            "kind": "burn_rate",
            "metric": "error",
            "parameters": {"objective": 0.99},
            "split_by": ["variant"],
            "is_whole_watched": True,
        }
        | changes
    )
    lifecycle.start(monitor, now=START)
    return monitor


def never(**changes: Any) -> Monitor:
    make_metric("harm", kind="rate", direction="lower", low=0.0, high=1.0)
    monitor = Monitor.objects.create(**{"name": "harm", "kind": "never", "metric": "harm"} | changes)
    lifecycle.start(monitor, now=START)
    return monitor


def fill_harm(start: int, end: int, *, event_in: int) -> None:
    for number in range(start, end):
        add_values(number, [0.0] * 50 + [float(number == event_in)], metric="harm")


def use_next_reference(monitor: Monitor, *keys: str) -> None:
    """As its first one, of these slices only."""
    first = monitor.references.get(version=1)
    slices = list(first.slices.filter(key__in=keys))
    following = Reference.objects.get(pk=first.pk)
    following.pk, following.version = None, monitor.references.count() + 1
    following.save()
    for one in slices:
        one.pk, one.reference = None, following
    ReferenceSlice.objects.bulk_create(slices)
    Monitor.objects.filter(pk=monitor.pk).update(reference=following)


def noted(incident: Incident) -> Counter[str]:
    return Counter(incident.events.filter(kind=EventKind.NOTED).values_list("details__slice", flat=True))


def test_part_that_falls_with_the_whole_is_noted_once() -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + 150, 0.6, 0.6)
    watching(split_by=["variant"])
    run(LEARNT + 149)
    assert noted(Incident.objects.told().get()) == {"variant=a": 1, "variant=b": 1}


@pytest.mark.parametrize(("mean", "title"), [(0.95, "rose"), (0.6, "fell")])
def test_part_that_changes_days_after_the_whole_opens_its_own(mean: float, title: str) -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + APART, 0.6, 0.8)
    fill_both(LEARNT + APART, LEARNT + APART + 60, 0.6, mean)
    watching(split_by=["variant"]).channels.add(make_channel())
    for until in (50, APART - 1, APART + 59):
        run(LEARNT + until)
    whole, part = Incident.objects.told().order_by("pk")
    assert (whole.slice_key, part.slice_key) == ("all", "variant=b")
    assert part.title == f"helpfulness {title} for variant b"
    assert OutboxMessage.objects.filter(incident=part).exists()


def test_part_that_rises_while_the_whole_falls_is_another_story() -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + 40, 0.3, 0.95)
    watching(split_by=["variant"])
    run(LEARNT + 39)
    opened = {one.slice_key: one.evidence["label"] for one in Incident.objects.all()}
    assert opened["variant=b"] in {"up", "top tail"}
    assert opened["all"] not in {"up", "top tail"}


def test_part_that_was_noted_is_noted_later_too() -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + APART + 50, 0.6, 0.6)
    watching(split_by=["variant"])
    for until in range(40, APART + 50, 40):
        run(LEARNT + until)
    assert Incident.objects.count() == 1
    assert BudgetEntry.objects.order_by("day").last().inhibited_count > 2  # type: ignore[union-attr]


def test_lasting_change_of_a_part_is_told_while_a_signal_of_the_whole_is_open() -> None:
    fill(0, LEARNT, variant="a", n=40)
    fill(0, LEARNT, seed=2, variant="b", n=40)
    fill(LEARNT, LEARNT + 1, mean=0.2, variant="a", n=40)
    fill(LEARNT + 1, LEARNT + 12, variant="a", n=2000)
    fill(LEARNT, LEARNT + 12, mean=0.2, seed=3, variant="b", n=40)
    monitor = watching(split_by=["variant"])
    monitor.channels.add(make_channel())
    run(LEARNT)
    whole = Incident.objects.told().get()
    assert (whole.slice_key, whole.signal, set(noted(whole))) == (
        "all",
        Signal.ANOMALY,
        {"variant=a", "variant=b"},
    )
    run(LEARNT + 2)
    part = Incident.objects.get(slice_key="variant=b")
    assert (part.signal, part.severity) == (Signal.DRIFT, monitor.severity)
    assert part.opened_at == now_after(LEARNT + 2)


@pytest.mark.parametrize("step", [1, 500])
def test_burning_part_is_told_when_the_incident_of_the_whole_is_over(step: int) -> None:
    fill_errors(0, 20, a=0.0, b=0.0)
    fill_errors(20, 50, a=1.0, b=0.9)
    fill_errors(50, 90, a=1.0)
    fill_errors(50, 90, n=20_000, b=0.0)
    burning()
    for until in range(49, 90, step) if step == 1 else (89,):
        run(until)
    whole, part = Incident.objects.told().order_by("pk")
    assert (whole.slice_key, whole.resolution) == ("all", Resolution.RECOVERED)
    assert noted(whole)["variant=a"]
    assert (part.slice_key, part.is_open) == ("variant=a", True)


def test_burning_part_is_told_when_a_person_has_ended_the_incident_of_the_whole(admin_user: User) -> None:
    fill_errors(0, 20, a=0.0, b=0.0)
    fill_errors(20, 60, a=1.0, b=0.9)
    burning()
    run(40)
    whole = Incident.objects.told().get()
    keys = set(noted(whole))
    assert keys == {"variant=a", "variant=b"}
    incidents.resolve(whole.pk, Resolution.FIXED, by=admin_user, now=now_after(40))
    assert all(row.evidence == {} for row in MonitorSlice.objects.filter(key__in=keys))
    Monitor.objects.update(is_whole_watched=False)
    run(59)
    assert set(Incident.objects.open().values_list("slice_key", flat=True)) >= keys


def test_end_of_an_incident_leaves_slices_that_have_their_own_alone(admin_user: User) -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + APART, 0.6, 0.8)
    fill_both(LEARNT + APART, LEARNT + APART + 60, 0.6, 0.6)
    watching(split_by=["variant"])
    for until in (50, APART - 1, APART + 59):
        run(LEARNT + until)
    whole, part = Incident.objects.told().order_by("pk")
    incidents.note_slice(whole, part.slice_key, {"label": "wider"}, now=now_after(LEARNT + APART))
    before = MonitorSlice.objects.get(key=part.slice_key).evidence
    incidents.resolve(whole.pk, Resolution.FIXED, by=admin_user, now=now_after(LEARNT + APART + 60))
    evidence = dict(MonitorSlice.objects.values_list("key", "evidence"))
    assert before
    assert evidence == {"all": {}, "variant=a": {}, part.slice_key: before}


def test_drifting_part_is_told_when_the_incident_of_the_whole_is_over(admin_user: User) -> None:
    fill_both(0, LEARNT, 0.8, 0.8)
    fill_both(LEARNT, LEARNT + 50, 0.6, 0.6)
    fill_both(LEARNT + 50, LEARNT + 120, 0.6, 1.0)
    watching(split_by=["variant"])
    run(LEARNT + 49)
    whole = Incident.objects.told().get()
    assert noted(whole)["variant=a"]
    incidents.resolve(whole.pk, Resolution.FIXED, by=admin_user, now=now_after(LEARNT + 50))
    run(LEARNT + 119)
    told = {one.slice_key: one for one in Incident.objects.open()}
    assert "variant=a" in told or noted(told["all"])["variant=a"]


def test_event_that_must_never_happen_has_the_monitors_severity_and_a_plain_title() -> None:
    fill_harm(0, 4, event_in=1)
    never(severity="critical")
    run(3)
    found = Incident.objects.told().get()
    assert (found.signal, found.severity) == (Signal.DRIFT, "critical")
    assert found.title == "harm happened"
    entry = BudgetEntry.objects.get()
    assert (entry.alarm_count, entry.signal_count) == (1, 0)


def test_event_that_must_never_happen_is_ended_by_a_person_only(admin_user: User) -> None:
    fill_harm(0, 200, event_in=1)
    never()
    run(199)
    found = Incident.objects.told().get()
    assert found.state == IncidentState.FIRING
    assert found.effect["n"] == 51
    incidents.resolve(found.pk, Resolution.FIXED, by=admin_user, now=now_after(199))
    fill_harm(200, 210, event_in=205)
    run(209)
    assert Incident.objects.open().get().pk != found.pk


def test_size_of_an_open_incident_counts_each_bucket_once_and_reads_no_old_ones() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 60, mean=0.3)
    watching()
    run(LEARNT + 9)
    first = Incident.objects.told().get()
    assert first.effect["n"] == 10 * 20
    with CaptureQueriesContext(connection) as captured:
        run(LEARNT + 39)
    found = Incident.objects.told().get()
    assert found.alarm_count > first.alarm_count
    assert found.effect["n"] == 40 * 20
    shown = DriftEvaluation.objects.filter(bucket_at__gte=found.onset_at).values_list("mean", flat=True)
    assert found.effect["current"] == pytest.approx(np.mean(list(shown)))
    read = [one["sql"] for one in captured if one["sql"].startswith("SELECT")]
    assert not any('FROM "monitoring_driftevaluation"' in sql for sql in read)


def test_size_of_an_incident_leaves_its_way_back_out() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 20, mean=0.5)
    fill(LEARNT + 20, LEARNT + 150)
    watching()
    for until in (19, 60, 149):
        run(LEARNT + until)
    found = Incident.objects.told().get()
    assert found.resolution == Resolution.RECOVERED
    assert 20 * 20 <= found.effect["n"] <= 23 * 20


@pytest.mark.parametrize("is_one_check", [True, False])
def test_ledger_counts_an_escalated_signal_as_an_alarm(is_one_check: bool) -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 2, mean=0.1)
    watching()
    if not is_one_check:
        run(LEARNT)
    run(LEARNT + 1)
    found = Incident.objects.told().get()
    assert EventKind.ESCALATED in found.events.values_list("kind", flat=True)
    entries = BudgetEntry.objects.all()
    assert sum(one.alarm_count for one in entries) == 1
    assert sum(one.signal_count for one in entries) == (0 if is_one_check else 1)


def test_ledger_counts_a_change_once_however_often_it_is_said_again() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 80, mean=0.1)
    watching()
    run(LEARNT + 79)
    assert Incident.objects.told().get().alarm_count > 10
    assert sum(one.alarm_count for one in BudgetEntry.objects.all()) == 1


def test_slice_that_comes_back_with_a_later_reference_starts_without_budget_for_its_absence() -> None:
    fill_both(0, LEARNT + 300, 0.8, 0.8)
    monitor = watching(split_by=["variant"], is_whole_watched=False)
    run(LEARNT + 9)
    use_next_reference(monitor, "variant=a")
    run(LEARNT + 199)
    row = MonitorSlice.objects.get(key="variant=b")
    assert (row.is_tracked, row.evidence) == (False, {})
    use_next_reference(monitor, "variant=a", "variant=b")
    run(LEARNT + 299)
    row.refresh_from_db()
    assert row.is_tracked
    seconds = timedelta(minutes=5).total_seconds() * (300 + 10 + 100)
    monitor.refresh_from_db()
    expected = sum(one.expected for one in BudgetEntry.objects.all())
    assert expected == pytest.approx(monitor.slice_alarms * seconds / (30 * 86_400))


def test_slice_without_data_keeps_its_evidence() -> None:
    fill_both(0, LEARNT + 5, 0.8, 0.8)
    fill(LEARNT + 5, LEARNT + 50, variant="a")
    monitor = watching(split_by=["variant"], is_whole_watched=False)
    run(LEARNT + 4)
    before = MonitorSlice.objects.get(key="variant=b").evidence
    run(LEARNT + 49)
    row = MonitorSlice.objects.get(monitor=monitor, key="variant=b")
    assert (row.is_tracked, row.evidence) == (True, before)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.65, 0.75])
def test_volume_that_stays_low_does_not_go_back_and_forth(share: float) -> None:
    random = np.random.default_rng(1)
    for number in range(LEARNT + 320):
        mean = 100 if number < LEARNT + 20 else 100 * share
        count = int(random.poisson(mean))
        if count:
            add_values(number, [0.0] * count, metric="error")
    watching(kind="volume", metric="volume", name="traffic")
    run(LEARNT + 319)
    found = Incident.objects.told().get()
    assert found.is_open
    assert found.events.filter(kind=EventKind.RELAPSED).count() <= 2


def test_volume_that_is_back_ends_its_incident_soon() -> None:
    random = np.random.default_rng(1)
    for number in range(LEARNT + 80):
        is_low = LEARNT + 20 <= number < LEARNT + 40
        add_values(number, [0.0] * int(random.poisson(40 if is_low else 100)), metric="error")
    watching(kind="volume", metric="volume", name="traffic")
    run(LEARNT + 39)
    assert Incident.objects.told().get().is_open
    run(LEARNT + 52)
    found = Incident.objects.told().get()
    assert found.resolution == Resolution.RECOVERED
    assert found.events.filter(kind=EventKind.RELAPSED).count() == 0
