"""The simulations of docs/statistics in small: what the product claims, and what others would, in seeded experiments."""

from functools import partial

import pytest

from benchmarks.simulations import allocation, amounts, events
from benchmarks.simulations.rules import ALWAYS_VALID, GROUP_SEQUENTIAL
from benchmarks.simulations.scenario import Goal, Result, Scenario, simulated
from triageops.stats.interval import Interval


def run(scenario: Scenario, runs: int) -> Result:
    return simulated(scenario, runs, seed=3, processes=1)


def of(scenarios: list[Scenario], key: str) -> Scenario:
    return next(scenario for scenario in scenarios if scenario.key == key)


def test_claims_rare_events_in_a_small_arm_stay_below_alpha_where_own_variances_do_not() -> None:
    found = run(of(events.scenarios(), "rate-0.5%-90/10"), 80)
    assert found.share(ALWAYS_VALID) <= 0.05
    assert found.share(events.EXACT) <= 0.05
    assert found.interval(GROUP_SEQUENTIAL).low <= 0.05
    assert found.interval("confidence sequence, plug-in variance").low > 0.1
    assert found.interval("z > 1.96 at every look").low > 0.2


def test_claims_weight_change_with_a_moving_rate_needs_epochs() -> None:
    found = run(of(events.scenarios(), "weight-change"), 30)
    assert found.share(ALWAYS_VALID) <= 0.05
    assert found.interval(GROUP_SEQUENTIAL).low <= 0.05
    assert found.interval("z > 1.96 at every look, pooled").low > 0.5


def test_claims_heavy_tailed_cost_in_a_small_arm_stay_below_alpha() -> None:
    """With each arm's own variance alone a small arm without dear cases is claimed to be cheaper."""
    found = run(of(amounts.scenarios(), "cost-raw-90/10"), 60)
    assert found.share(ALWAYS_VALID) <= 0.05
    assert found.share(GROUP_SEQUENTIAL) <= 0.05
    assert found.share("confidence sequence, plug-in variance") > 0.05


def test_claims_allocation_is_found_when_wrong_and_left_alone_when_right() -> None:
    scenario = of(allocation.scenarios(), "srm-none")
    assert run(scenario, 200).claims(allocation.OURS) <= 2
    wrong = partial(allocation.checks, real=(45.0, 32.0, 23.0))
    found = run(Scenario("wrong", "", wrong, 60, allocation.CHECKS), 60)
    assert found.share(allocation.OURS) == 1
    assert found.stopped_at(allocation.OURS) < 0.25


def test_simulated_equal_seeds_give_equal_results_on_any_number_of_processes() -> None:
    scenario = of(allocation.scenarios(), "srm-none")
    assert run(scenario, 60).firsts == simulated(scenario, 60, seed=3, processes=2).firsts
    assert run(scenario, 60).firsts != simulated(scenario, 60, seed=4, processes=1).firsts


@pytest.mark.parametrize(
    ("share", "low", "high", "verdict"),
    [
        (0.03, 0.02, 0.04, "surely met"),
        (0.049, 0.04, 0.06, "met"),
        (0.051, 0.04, 0.06, "not refuted"),
        (0.08, 0.06, 0.1, "MISSED"),
    ],
)
def test_verdict_of_at_most_five_percent_follows_the_interval(
    share: float, low: float, high: float, verdict: str
) -> None:
    assert Goal(0.05).verdict(share, Interval(low, high)) == verdict
    mirrored = Goal(0.95, is_most=False).verdict(1 - share, Interval(1 - high, 1 - low))
    assert mirrored == verdict
