"""The promise, on many seeded streams: false alarms against the budget, and the delay to a true alarm."""

import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from triageops.stats.change import BoundedMean, Evidence, advance, step

Array = NDArray[np.float64]
FLOOR = BoundedMean(0.8, 0.0, 1.0, "lower")


def increments(values: Array, *detectors: BoundedMean) -> Array:
    """values: (runs, checks, values per check) -> (runs, checks, baselines of all detectors)."""
    mean = values.mean(axis=2)
    m2 = ((values - mean[..., None]) ** 2).sum(axis=2)
    n = np.full(mean.shape, values.shape[2])
    return np.concatenate([detector.increments_of(n, mean, m2) for detector in detectors], axis=-1)


def alarms(increments: Array, budget_per_check: float) -> NDArray[np.bool_]:
    """(runs, checks): the engine on many streams at once; the last test here holds it against step()."""
    log_m = np.full((increments.shape[0], increments.shape[2]), -math.inf)
    found = np.zeros(increments.shape[:2], dtype=bool)
    for check in range(increments.shape[1]):
        log_m = advance(log_m, increments[:, check], math.log(budget_per_check))
        found[:, check] = np.logaddexp.reduce(log_m, axis=1) >= math.log(log_m.shape[1])
        log_m[found[:, check]] = -math.inf
    return found


def assert_within_budget(found: NDArray[np.bool_], budget: float) -> None:
    counts = found.sum(axis=1)
    error = counts.std(ddof=1) / math.sqrt(counts.size)
    assert counts.mean() <= budget + 3 * error


def bernoulli(rng: np.random.Generator, shape: tuple[int, ...], p: float) -> Array:
    return (rng.random(shape) < p).astype(np.float64)


@pytest.mark.parametrize("budget", [0.2, 1.0, 5.0])
def test_alarms_beta_scores_exactly_at_the_level_keep_every_budget(budget: float) -> None:
    scores = np.random.default_rng(21).beta(8, 2, (120, 800, 10))
    assert_within_budget(alarms(increments(scores, FLOOR), budget / 800), budget)


@pytest.mark.parametrize(
    ("rate", "worse"), [(0.02, "lower"), (0.5, "lower"), (0.5, "higher"), (0.9, "higher")]
)
def test_alarms_shares_exactly_at_the_level_keep_the_budget(
    rate: float, worse: Literal["lower", "higher"]
) -> None:
    # The sharp cases: rare large values use up to 0.8 of the budget, so that a wrong formula shows.
    values = bernoulli(np.random.default_rng(22), (150, 600, 10), rate)
    found = alarms(increments(values, BoundedMean(rate, 0.0, 1.0, worse)), 2 / 600)
    assert_within_budget(found, 2)
    assert found.sum() > 0


def test_alarms_dependent_values_with_the_allowed_conditional_mean_keep_the_budget() -> None:
    # A large value makes the next ones spread more: clusters, but the mean given the past stays 0.8.
    rng = np.random.default_rng(23)
    runs, count = 150, 6_000
    values = np.empty((runs, count))
    excitement = np.zeros(runs)
    for position in range(count):
        reach = 0.02 + 0.18 * np.minimum(excitement, 1.0)
        rare = rng.random(runs) < 0.2
        values[:, position] = 0.8 + np.where(rare, -4 * reach, reach)
        excitement = 0.8 * excitement + 0.5 * rare
    squares = (values - 0.8) ** 2
    assert np.corrcoef(squares[:, 1:].ravel(), squares[:, :-1].ravel())[0, 1] > 0.1
    assert_within_budget(alarms(increments(values.reshape(runs, 600, 10), FLOOR), 2 / 600), 2)


def test_alarms_more_frequent_checks_of_the_same_values_keep_the_same_budget() -> None:
    values = bernoulli(np.random.default_rng(24), (150, 6_000), 0.5)
    detector = BoundedMean(0.5, 0.0, 1.0, "higher")
    for checks in (100, 600, 3_000):
        split = values.reshape(150, checks, -1)
        assert_within_budget(alarms(increments(split, detector), 2 / checks), 2)


def test_alarms_margin_forgives_what_is_less_than_it() -> None:
    scores = np.random.default_rng(25).beta(7.5, 2.5, (60, 600, 20))
    assert alarms(increments(scores, FLOOR), 1 / 600).sum(axis=1).mean() > 10
    tolerant = BoundedMean(0.8, 0.0, 1.0, "lower", margin=0.05)
    assert_within_budget(alarms(increments(scores, tolerant), 1 / 600), 1)


@pytest.mark.parametrize(("shift_in_sd", "expected"), [(0.25, 19.9), (0.5, 8.6), (1.0, 3.9)])
def test_alarms_lower_scores_are_found_after_the_expected_delay(shift_in_sd: float, expected: float) -> None:
    # Expected: an independent simulation of Beta(8, 2) with its mean moved, both directions, 20 a check.
    mean = 0.8 - shift_in_sd * math.sqrt(0.8 * 0.2 / 11)
    scores = np.random.default_rng(26).beta(10 * mean, 10 * (1 - mean), (300, 100, 20))
    both = increments(scores, FLOOR, BoundedMean(0.8, 0.0, 1.0, "higher"))
    found = alarms(both, 1 / 2_000)
    assert found.any(axis=1).all()
    assert found.argmax(axis=1).mean() + 1 == pytest.approx(expected, rel=0.1)
    one_sided = alarms(increments(scores, FLOOR), 1 / 2_000)
    assert one_sided.argmax(axis=1).mean() <= found.argmax(axis=1).mean()


def test_alarms_of_arrays_equal_those_of_step() -> None:
    values = bernoulli(np.random.default_rng(27), (3, 400, 5), 0.45)
    many = increments(values, BoundedMean(0.5, 0.0, 1.0, "lower"))
    found = alarms(many, 2 / 400)
    assert found.sum() > 5
    for run in range(3):
        evidence = Evidence.none(many.shape[2])
        for check in range(400):
            taken = step(
                evidence,
                many[run, check].tolist(),
                elapsed_seconds=60,
                budget_per_second=2 / 400 / 60,
                at=60.0 * check,
            )
            assert taken.is_alarm == found[run, check]
            evidence = taken.evidence
