import numpy as np
import pytest
from django.core.exceptions import ValidationError

from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.replay import follow
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from tests.monitoring.factories import make_metric, make_monitor
from triageops.stats.moments import Moments

SCORE = Metric("score", bounds=(0.0, 1.0), is_higher_better=True)
COST = Metric("cost", bounds=(0.0, 10.0), is_higher_better=False)


def rated(n: int, mean: float, m2: float = 1.0, *, at: float = 0.0) -> Sample:
    """Values of which only their moments are known."""
    return Sample.of_row(at, 300.0, Moments(n, mean, m2))


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "level"),
        ({"level": None}, "level"),
        ({"level": "0.8"}, "level"),
        ({"level": True}, "level"),
        ({"level": float("nan")}, "level"),
        ({"level": float("inf")}, "level"),
        ({"level": 0.8, "margin": -0.1}, "margin"),
        ({"level": 0.8, "slack": 1}, "slack"),
    ],
)
def test_read_of_bad_parameters_names_the_field(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        SloGuard.read(parameters)
    assert set(refused.value.errors) == {field}


@pytest.mark.parametrize("level", [0.0, 1.0, 1.2, -1.0, 0.03])
def test_level_with_its_line_outside_the_bounds_is_refused(level: float) -> None:
    with pytest.raises(InvalidParameters, match="between 0 and 1"):
        SloGuard(level=level if level != 1.0 else 1.1, margin=0.05).check(SCORE)


@pytest.mark.parametrize(
    ("metric", "words"),
    [(Metric("x", bounds=None, is_higher_better=True), "Classify"), (Metric("x", bounds=(0, 1)), "better")],
)
def test_check_of_an_unclassified_metric_says_what_is_missing(metric: Metric, words: str) -> None:
    with pytest.raises(Unwatchable, match=words):
        SloGuard(level=0.5).check(metric)


def test_watch_looks_at_the_side_that_is_worse() -> None:
    low, high = rated(100, 0.5), rated(100, 9.0)
    score, cost = SloGuard(level=0.8).watch(SCORE), SloGuard(level=5.0).watch(COST)
    assert max(score.detector.increments(low)) > 0
    assert max(cost.detector.increments(high)) > 0
    assert max(cost.detector.increments(rated(100, 1.0))) < 0
    assert [score.complaint(label) for label in set(score.detector.labels)] == ["is below 0.8"]
    assert [cost.complaint(label) for label in set(cost.detector.labels)] == ["is above 5"]


def test_watch_shows_the_mean_beside_the_level_and_its_good_side() -> None:
    watch = SloGuard(level=0.8, margin=0.05).watch(SCORE)
    assert watch.value(rated(5, 0.7)) == pytest.approx(0.7)
    assert watch.expected(rated(5, 0.7)) == 0.8
    assert watch.band(rated(5, 0.7)) == (0.75, 1.0)
    assert SloGuard(level=5.0).watch(COST).band(rated(5, 1.0)) == (0.0, 5.0)
    assert (watch.value(Sample(0, 300)), watch.deviations(Sample(0, 300))) == (None, ())


def test_low_mean_fires_and_a_mean_at_the_level_does_not() -> None:
    def told(mean: float) -> list[str]:
        samples = [rated(50, mean, at=300.0 * number) for number in range(200)]
        watch = SloGuard(level=0.8, margin=0.05).watch(SCORE)
        return [one.label for one in follow(watch, samples, budget_per_second=1 / 2_592_000).alarms]

    assert set(told(0.6)) == {"lower"}
    assert told(0.8) == []
    assert told(0.76) == []


@pytest.mark.parametrize(
    ("mean", "is_in_band"), [(0.9, True), (0.8, True), (0.776, True), (0.774, False), (0.7, False)]
)
def test_band_ends_at_half_the_margin(mean: float, is_in_band: bool) -> None:
    (side,) = SloGuard(level=0.8, margin=0.05).watch(SCORE).deviations(rated(50, mean))
    assert side.is_in_band is is_in_band


def test_settled_needs_the_whole_interval_on_the_good_side() -> None:
    watch = SloGuard(level=0.8, margin=0.05).watch(SCORE)

    def is_settled(n: int, mean: float, variance: float) -> bool:
        (side,) = watch.deviations(rated(n, mean, n * variance))
        return side.is_settled

    assert is_settled(1000, 0.8, 0.01)
    assert not is_settled(20, 0.8, 0.04)
    assert not is_settled(1, 0.99, 0.0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metric": "unheard_of"}, "metric"),
        ({"parameters": {"level": 3}}, "parameters.level"),
        ({"parameters": {}}, "parameters.level"),
        ({"kind": "magic"}, "kind"),
        ({"where": {"planet": "mars"}}, "where"),
        ({"where": {"model": 4}}, "where"),
        ({"where": ["model"]}, "where"),
        ({"split_by": ["planet"]}, "split_by"),
        ({"split_by": ["model", "model"]}, "split_by"),
        ({"split_by": ["language", "channel"]}, "split_by"),
        ({"split_by": ["language"], "where": {"channel": "web"}}, "split_by"),
    ],
)
def test_monitor_that_cannot_work_is_refused_by_field(changes: dict[str, object], field: str) -> None:
    monitor = make_monitor(started_at=None)
    for name, value in changes.items():
        setattr(monitor, name, value)
    with pytest.raises(ValidationError) as refused:
        monitor.clean()
    assert set(refused.value.message_dict) == {field}


@pytest.mark.django_db
def test_monitor_of_an_unclassified_metric_is_refused_at_the_metric() -> None:
    monitor = make_monitor(started_at=None)
    make_metric(kind="discovered", low=None, high=None)
    with pytest.raises(ValidationError) as refused:
        monitor.clean()
    assert set(refused.value.message_dict) == {"metric"}


def test_guard_of_a_rare_event_finds_that_it_became_more_frequent() -> None:
    random = np.random.default_rng(4)
    watch = SloGuard(level=0.01).watch(Metric("error", bounds=(0.0, 1.0), is_higher_better=False))

    def alarms(share: float) -> int:
        run, found = watch.resume({}), 0
        for number in range(2_000):
            sample = Sample.of_shares(300.0 * number, 300.0, int(random.binomial(200, share)), 200)
            found += run.take(sample, budget_per_second=1 / (8_640 * 300)).finding is not None
        return found

    assert alarms(0.01) <= 2
    assert alarms(0.02) > 5
