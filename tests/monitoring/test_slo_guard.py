import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.recovery import Recovery
from monitoring.monitors.slo_guard import SloGuard
from tests.monitoring.factories import make_metric, make_monitor
from triageops.stats.moments import Moments

SCORE = Metric("score", bounds=(0.0, 1.0), is_higher_better=True)
COST = Metric("cost", bounds=(0.0, 10.0), is_higher_better=False)


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
def test_detector_with_its_line_outside_the_bounds_is_refused(level: float) -> None:
    with pytest.raises(InvalidParameters, match="between 0 and 1"):
        SloGuard(level=level if level != 1.0 else 1.1, margin=0.05).detector(SCORE)


@pytest.mark.parametrize(
    ("metric", "words"),
    [(Metric("x", bounds=None, is_higher_better=True), "Classify"), (Metric("x", bounds=(0, 1)), "better")],
)
def test_detector_of_an_unclassified_metric_says_what_is_missing(metric: Metric, words: str) -> None:
    with pytest.raises(Unwatchable, match=words):
        SloGuard(level=0.5).detector(metric)


def test_detector_looks_at_the_side_that_is_worse() -> None:
    low, high = Moments(100, 0.5, 1.0), Moments(100, 9.0, 1.0)
    assert max(SloGuard(level=0.8).detector(SCORE).increments(low)) > 0
    assert max(SloGuard(level=5.0).detector(COST).increments(high)) > 0
    assert max(SloGuard(level=5.0).detector(COST).increments(Moments(100, 1.0, 1.0))) < 0
    assert SloGuard(level=0.8).detector(SCORE).complaint == "is below 0.8"
    assert SloGuard(level=5).detector(COST).complaint == "is above 5"


@pytest.mark.parametrize(
    ("mean", "is_in_band"), [(0.9, True), (0.8, True), (0.776, True), (0.774, False), (0.7, False)]
)
def test_band_ends_at_half_the_margin(mean: float, is_in_band: bool) -> None:
    assert SloGuard(level=0.8, margin=0.05).detector(SCORE).is_in_band(Moments(50, mean, 1.0)) is is_in_band


def test_recovered_needs_the_whole_interval_on_the_good_side() -> None:
    detector = SloGuard(level=0.8, margin=0.05).detector(SCORE)
    assert detector.is_recovered(Moments(1000, 0.8, 1000 * 0.01))
    assert not detector.is_recovered(Moments(20, 0.8, 20 * 0.04))
    assert not detector.is_recovered(Moments(1, 0.99, 0.0))


def test_recovery_pools_small_buckets_until_they_can_be_judged() -> None:
    detector = SloGuard(level=0.8).detector(SCORE)
    recovery = Recovery()
    for number in range(9):
        recovery = recovery.observe(Moments(5, 0.9, 0.01), at=300.0 * number, n_min=20, detector=detector)
    assert (recovery.in_band_count, recovery.began_at, recovery.run.n, recovery.waiting.n) == (2, 0.0, 40, 5)


def test_recovery_by_a_bad_judgement_starts_from_nothing() -> None:
    detector = SloGuard(level=0.8).detector(SCORE)
    recovery = Recovery().observe(Moments(50, 0.9, 0.1), at=0.0, n_min=20, detector=detector)
    assert recovery.observe(Moments(50, 0.7, 0.1), at=300.0, n_min=20, detector=detector) == Recovery()


def test_recovery_without_records_stays_as_it_was() -> None:
    detector = SloGuard(level=0.8).detector(SCORE)
    recovery = Recovery().observe(Moments(50, 0.9, 0.1), at=0.0, n_min=20, detector=detector)
    assert recovery.observe(Moments(0, 0.0, 0.0), at=300.0, n_min=20, detector=detector) == recovery


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0.6, 1.0)), max_size=30))
def test_recovery_is_the_same_after_being_stored_and_read(buckets: list[tuple[int, float]]) -> None:
    detector = SloGuard(level=0.8).detector(SCORE)
    kept = stored = Recovery()
    for number, (n, mean) in enumerate(buckets):
        kept = kept.observe(Moments(n, mean, 0.001), at=float(number), n_min=20, detector=detector)
        stored = Recovery.from_json(stored.as_json()).observe(
            Moments(n, mean, 0.001), at=float(number), n_min=20, detector=detector
        )
    assert kept == stored


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
