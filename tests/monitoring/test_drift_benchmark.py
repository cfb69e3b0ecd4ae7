"""The benchmark of the drift detectors: it computes what the product computes, and its numbers belong to its seed."""

import math

import numpy as np
import pytest

from benchmarks.drifting import engine, peers
from benchmarks.drifting.results import Alarms, Delay, simulated
from benchmarks.drifting.row import EXACT, Row
from benchmarks.drifting.rows import rows
from benchmarks.drifting.streams import LENGTH, NOTHING, Change, Law, Source, beta, lognormal, normal, share
from monitoring.monitors.drift import Detector, DistributionDrift, RateDrift, Sides
from monitoring.monitors.reference import RateReference, ScoreReference
from monitoring.monitors.replay import replay

LAWS = {
    "mixed sizes": Source(normal(), Law((0, 1, 5, 200), wobble=0.2)),
    "neighbours alike": Source(normal(), Law((20,), wobble=0.3, memory=0.5)),
    "bounded": Source(beta(), Law((20,))),
    "positive": Source(lognormal(), Law((20, 0))),
}
SEASONAL = Source(normal(), Law((20,), season=0.5))
SHIFT = Change("shift", 0.6)


def assert_same_as_replay(detector: DistributionDrift | RateDrift, source: Source, first: int) -> None:
    """On a stream that stays and then moves, so that alarms of both sorts and resets occur."""
    rng = np.random.default_rng(2)
    change = Change("shift", 0.2 if isinstance(detector, RateDrift) else 0.6)
    budget = 1 / 50
    several: Detector = detector
    for one in (
        source.stream(rng, 60, first=first),
        source.stream(rng, 60, first=first, change=change),
    ):
        samples = one.samples()
        many = engine.increments(detector, one)
        expected = np.array([several.increments(sample) for sample in samples])
        np.testing.assert_allclose(many, expected, rtol=1e-12, atol=1e-12)
        told = replay(several, samples, budget_per_second=budget / LENGTH)
        found = engine.watched(engine.judged(detector, one), budget_per_check=budget)
        np.testing.assert_allclose(found.log_evidence[0], told.log_evidence, rtol=1e-9, atol=1e-9)
        assert [one.at for one in told.alarms] == [
            float(one.starts[check] + LENGTH) for check in np.flatnonzero(found.is_alarm[0])
        ]
        if one.starts.size and change.shift and found.is_alarm.any():
            return
    pytest.fail("no alarm to compare")


@pytest.mark.parametrize("source", LAWS.values(), ids=LAWS.keys())
def test_many_streams_at_once_give_what_replay_gives(source: Source) -> None:
    learned = source.stream(np.random.default_rng(1), 300).samples()
    assert_same_as_replay(DistributionDrift(ScoreReference.learnt(learned, EXACT)), source, 300)


def test_many_streams_with_a_season_give_what_replay_gives() -> None:
    for days, season in ((3, "hour_of_day"), (15, "hour_of_day_weekend")):
        learned = SEASONAL.stream(np.random.default_rng(1), days * 288).samples()
        detector = DistributionDrift(ScoreReference.learnt(learned, EXACT))
        assert detector.reference.when.season == season
        assert_same_as_replay(detector, SEASONAL, days * 288)


@pytest.mark.parametrize("sides", ["both", "up"])
def test_many_rates_at_once_give_what_replay_gives(sides: Sides) -> None:
    source = Source(share(0.1), Law((0, 30)))
    learned = source.stream(np.random.default_rng(1), 300).samples()
    assert_same_as_replay(RateDrift(RateReference.learnt(learned, EXACT), sides), source, 300)


def test_streams_have_the_moments_that_their_law_says() -> None:
    rng = np.random.default_rng(3)
    for source, change, mean, sd in (
        (LAWS["bounded"], NOTHING, 0.8, 0.1206),
        (LAWS["bounded"], Change("lower", -1.0), 0.6794, 0.1407),
        (LAWS["bounded"], Change("wider", stretch=1.25), 0.8, 0.1508),
        (LAWS["positive"], NOTHING, math.exp(0.32), math.exp(0.32) * math.sqrt(math.exp(0.64) - 1)),
        (Source(share(0.1)), Change("more", 0.1), 0.2, 0.4),
    ):
        stream = source.stream(rng, 4_000, change=change)
        values, ends = stream.values(rng)
        assert values.size == ends[-1] == stream.counts.sum()
        assert values.mean() == pytest.approx(mean, rel=0.02)
        assert values.std() == pytest.approx(sd, rel=0.06)


def small() -> Row:
    return Row(
        "small", "small", normal(), learns=30, changes=(Change("1 sd", 1.0, goal=4.0, checks=40),), checks=50
    )


def test_equal_seeds_give_equal_numbers_whatever_the_processes() -> None:
    row = small()
    one, two, other = (
        list(simulated([row], seed=seed, runs=12, peer_runs=1, python=None, processes=processes))
        for seed, processes in ((1, 1), (1, 2), (2, 1))
    )
    # As texts, because a delay that was not seen is NaN, which does not equal itself.
    assert repr(one[0].delays) == repr(two[0].delays) != repr(other[0].delays)
    assert one[0].alarms == two[0].alarms
    assert one[0].others == two[0].others
    assert len(one[0].alarms.counts) == 12
    assert one[0].delays["1 sd"].verdict(4.0) == "met"
    assert set(one[0].others) == {"z-score", "Evidently"}


def test_verdicts_say_met_unsettled_or_missed() -> None:
    assert Alarms((0,) * 100).verdict == "met"
    assert Alarms((0,) * 100).bound == pytest.approx(-math.log(0.05) / 100)
    assert Alarms((1, 0, 2, 0)).verdict == "unsettled"
    assert Alarms((1, 2) * 50).verdict == "MISSED"
    assert Delay((5.0,) * 20, 100).verdict(5.0) == "met"
    assert Delay((6.0,) * 20, 100).verdict(5.0) == "MISSED"
    assert Delay((1.0, 12.0), 100).verdict(5.0) == "unsettled"
    assert Delay((5.0,) * 19 + (math.nan,), 5).verdict(5.0) != "met"


def test_z_score_and_the_default_test_of_evidently_see_a_jump() -> None:
    rng = np.random.default_rng(4)
    reference = rng.standard_normal(2_000)
    for shift, is_seen in ((0.0, False), (4.0, True)):
        values = rng.standard_normal(600) + shift
        case = peers.Case(reference, values, np.arange(20, 601, 20))
        assert bool(peers.z_score(case).checks) == is_seen
    assert peers.evidently(case, is_share=False).checks == (4,)
    coins = peers.Case((reference > 0).astype(float), np.ones(100), np.array([100]))
    assert peers.evidently(coins, is_share=True).checks == (0,)


def test_rows_have_keys_of_their_own() -> None:
    keys = [row.key for row in rows()]
    assert len(set(keys)) == len(keys) >= 30
