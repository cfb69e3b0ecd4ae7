"""Errors of a triage label: under-triage is found sooner than over-triage, each by its own share."""

from dataclasses import replace

import numpy as np
import pytest

from monitoring.monitors import learnt as stored
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable
from monitoring.monitors.replay import follow
from monitoring.monitors.sample import Sample
from monitoring.monitors.triage_error import TriageError, over_triage, under_triage
from tests.monitoring.kinds import ERRORS, LENGTH, QUALITY, TRIAGE, against, sampled
from triageops.stats.histogram import UniformBins

ERROR = UniformBins(-2.0, 2.0)
BUDGET = 1 / (8_640 * LENGTH)
RNG = np.random.default_rng(1)


def errors(rng: np.random.Generator, number: int, under: float, over: float, n: int = 40) -> Sample:
    """Labels that are too low by one or two, right, or too high by one."""
    shares = [under / 4, 3 * under / 4, 1 - under - over, over]
    return sampled(number, rng.choice([-2.0, -1.0, 0.0, 1.0], size=n, p=shares), ERROR)


KIND = TriageError()
LEARNT = KIND.learn([errors(RNG, number, 0.05, 0.15) for number in range(1_000)], TRIAGE, zone="UTC")


def labels(kind: TriageError, samples: list[Sample]) -> list[str]:
    return [one.label for one in follow(kind.watch(TRIAGE, LEARNT), samples, budget_per_second=BUDGET).alarms]


@pytest.mark.parametrize(("threshold", "under", "over"), [(0.5, 3, 2), (1.0, 3, 2), (1.5, 1, 1), (2.0, 1, 1)])
def test_errors_are_counted_from_the_threshold_on(threshold: float, under: int, over: int) -> None:
    sample = sampled(0, [-2.0, -1.0, -1.0, 0.0, 0.3, -0.3, 1.0, 2.0], ERROR)
    counted = under_triage(sample, threshold), over_triage(sample, threshold)
    assert [(one.successes, one.n) for one in counted] == [(under, 8), (over, 8)]


def test_references_are_of_both_shares_and_survive_storage() -> None:
    assert LEARNT.under.mean == pytest.approx(0.05, abs=0.005)
    assert LEARNT.over.mean == pytest.approx(0.15, abs=0.01)
    assert stored.from_json(stored.as_json(LEARNT)) == LEARNT


def test_what_stays_is_left_alone() -> None:
    rng = np.random.default_rng(2)
    assert labels(KIND, [errors(rng, number, 0.05, 0.15) for number in range(800)]) == []


def test_more_under_triage_is_found_and_as_much_over_triage_is_not() -> None:
    rng = np.random.default_rng(3)
    assert labels(KIND, [errors(rng, number, 0.09, 0.15) for number in range(150)])[0] == "under-triage"
    assert labels(KIND, [errors(rng, number, 0.05, 0.19) for number in range(150)]) == []
    assert labels(KIND, [errors(rng, number, 0.05, 0.32) for number in range(150)])[0] == "over-triage"
    assert labels(KIND, [errors(rng, number, 0.0, 0.0) for number in range(150)]) == []


def test_watch_shows_the_share_of_under_triage_and_says_what_is_wrong() -> None:
    watch = KIND.watch(TRIAGE, LEARNT)
    sample = sampled(0, [-1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0], ERROR)
    assert watch.value(sample) == 0.25
    assert watch.expected(sample) == pytest.approx(0.05, abs=0.005)
    band = watch.band(sample)
    assert band is not None
    assert band[0] == 0.0
    assert 0.05 < band[1] < 0.1
    assert watch.complaint("under-triage") == "shows more under-triage than usual"
    assert watch.value(Sample(0, LENGTH)) is None


def test_both_shares_have_to_be_back_to_be_settled() -> None:
    watch = KIND.watch(TRIAGE, LEARNT)

    def settled(under: int, over: int) -> list[bool]:
        values = [-1.0] * under + [1.0] * over + [0.0] * (40_000 - under - over)
        return [side.is_settled for side in watch.deviations(sampled(0, values, ERROR))]

    assert settled(1_500, 6_000) == [True, True]
    assert settled(4_000, 6_000) == [False, True]
    assert settled(1_500, 12_000) == [True, False]
    assert watch.deviations(Sample(0, LENGTH)) == ()


def test_both_sides_have_half_of_the_evidence_whatever_their_references() -> None:
    learnt = replace(LEARNT, over=replace(LEARNT.over, mean=0.8))
    given = KIND.watch(TRIAGE, learnt).detector.labels
    assert given.count("under-triage") == given.count("over-triage")
    sample = errors(np.random.default_rng(4), 0, 0.05, 0.15)
    assert len(KIND.watch(TRIAGE, learnt).detector.increments(sample)) == len(given)


def test_canary_that_under_triages_more_than_its_control_is_found() -> None:
    rng = np.random.default_rng(5)
    watch = KIND.watch(TRIAGE, LEARNT, is_compared=True)

    def pairs(under: float) -> list[Sample]:
        return [
            against(errors(rng, number, under, 0.15), errors(rng, number, 0.1, 0.15, n=400))
            for number in range(150)
        ]

    assert follow(watch, pairs(0.2), budget_per_second=BUDGET).alarms[0].label == "under-triage"
    assert follow(watch, pairs(0.1), budget_per_second=BUDGET).alarms == []
    assert watch.complaint("under-triage") == "shows more under-triage than the control"
    assert len(watch.deviations(pairs(0.1)[0])) == 2


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"ignore_under_ratio": -0.1}, "ignore_under_ratio"),
        ({"ignore_over_points": -0.1}, "ignore_over_points"),
        ({"threshold": 0}, "threshold"),
        ({"patience": 1}, "patience"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        TriageError.read(parameters)
    assert set(refused.value.errors) == {field}


@pytest.mark.parametrize(
    "metric", [ERRORS, QUALITY, Metric("x", shape="score"), Metric("x", bounds=(-1.0, 0.0))]
)
def test_metric_that_is_no_signed_error_is_refused(metric: Metric) -> None:
    with pytest.raises(Unwatchable):
        KIND.check(metric)


def test_threshold_that_no_error_reaches_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="at most 1"):
        TriageError(threshold=1.5).check(Metric("x", bounds=(-1.0, 2.0)))
    with pytest.raises(Unwatchable, match="learnt"):
        KIND.watch(TRIAGE, None)
