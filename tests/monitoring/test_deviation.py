"""How far a bucket is off, on every side: what is in band, what is off for sure, and what is settled."""

import json
import math

import numpy as np
import pytest

from monitoring.monitors.deviation import Deviation, merged, of_level, of_scores, of_share, of_volume
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance, VolumeReference
from monitoring.monitors.sample import Sample
from tests.monitoring.kinds import LENGTH, beta, sampled, shared
from triageops.stats.moments import Moments

RNG = np.random.default_rng(1)
SCORES = ScoreReference.learnt(
    [sampled(number, beta(RNG, 30)) for number in range(500)], Tolerance(shift=0.2)
)
SHARES = RateReference.learnt(
    [shared(number, int(RNG.binomial(50, 0.1)), 50) for number in range(500)], Tolerance(ratio=0.3)
)
COUNTS = VolumeReference.learnt(
    [Sample(number * LENGTH, LENGTH, int(RNG.poisson(50))) for number in range(500)], Tolerance(ratio=0.2)
)


def side(excess: float, n: int = 100, *, sd: float = 0.1, is_strict: bool = False) -> Deviation:
    return Deviation(Moments(n, excess, n * sd**2), 0.1, float(n), is_strict)


@pytest.mark.parametrize(
    ("excess", "n", "is_strict", "expected"),
    [
        # Of 100 records the error is 0.01: what is in doubt lies between half the margin and some errors above it.
        (0.05, 100, False, (True, False, True)),
        (0.06, 100, False, (False, False, True)),
        (0.09, 100, False, (False, False, False)),
        (0.2, 100, False, (False, True, False)),
        (-1.0, 100, False, (True, False, True)),
        # Of 4 it is 0.06: what is not strict gets the benefit of the doubt, and proves nothing.
        (0.055, 4, False, (True, False, False)),
        (0.055, 4, True, (False, True, False)),
        (0.05, 4, True, (True, False, False)),
        (0.0, 1, False, (True, False, False)),
        # Of one record no error is known: no excuse, and no proof.
        (0.06, 1, False, (False, False, False)),
        (9.0, 1, False, (False, False, False)),
    ],
)
def test_side_is_in_band_off_or_settled(
    excess: float, n: int, is_strict: bool, expected: tuple[bool, bool, bool]
) -> None:
    found = side(excess, n, is_strict=is_strict)
    assert (found.is_in_band, found.is_off, found.is_settled) == expected


def test_records_that_are_worth_little_settle_later() -> None:
    assert side(0.0).is_settled
    assert not Deviation(Moments(100, 0.0, 1.0), 0.1, 1.0).is_settled
    assert math.isinf(Deviation(Moments(100, 0.0, 1.0), 0.1, 0.0).error)


def test_sides_add_up_by_records() -> None:
    found = side(0.1, 30) + Deviation(Moments(10, 0.3, 0.1), 0.5, 7.0)
    assert (found.excess.n, found.worth) == (40, 37.0)
    assert found.excess.mean == pytest.approx(0.15)
    assert found.margin == pytest.approx(0.2)
    nothing = Deviation(Moments(0, 0.0, 0.0), 0.1, 0.0)
    assert nothing + nothing == nothing
    assert (side(0.1, is_strict=True) + side(0.1, is_strict=True)).is_strict
    assert Deviation.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_parts_are_merged_side_by_side() -> None:
    one, other = side(0.1), side(-0.1)
    assert merged([]) == ()
    assert merged([(one, other)]) == (one, other)
    assert merged([(), (one, other), (one, other)]) == (one + one, other + other)
    with pytest.raises(ValueError):
        merged([(one, other), (one,)])


def test_scores_of_a_shift_deviate_on_its_sides_only() -> None:
    rng = np.random.default_rng(2)
    usual, lower = (sampled(0, beta(rng, 4_000, shift)) for shift in (0.0, -1.0))
    up, down, wider, narrower, top, bottom = of_scores(SCORES, "both", usual)
    assert all(one.is_settled for one in (up, down, wider, narrower, top, bottom))
    up, down, *_, top, bottom = of_scores(SCORES, "both", lower)
    assert (up.is_settled, top.is_settled) == (True, True)
    assert (down.is_off, bottom.is_off) == (True, True)
    assert len(of_scores(SCORES, "down", lower)) == 4
    assert of_scores(SCORES, "both", Sample(0, LENGTH)) == ()


@pytest.mark.parametrize(
    ("successes", "expected"), [(1_000, (True, True)), (1_500, (False, True)), (600, (True, False))]
)
def test_share_deviates_on_the_side_where_it_is(successes: int, expected: tuple[bool, bool]) -> None:
    found = of_share(SHARES, "both", shared(0, successes, 10_000))
    assert tuple(one.is_settled for one in found) == expected
    assert tuple(not one.is_off for one in found) == expected
    assert of_share(SHARES, "up", shared(0, successes, 10_000)) == found[:1]
    assert of_share(SHARES, "both", Sample(0, LENGTH)) == ()


def test_few_records_without_any_success_do_not_settle_a_share() -> None:
    assert not of_share(SHARES, "up", shared(0, 0, 3))[0].is_settled
    assert of_share(SHARES, "up", shared(0, 0, 300))[0].is_settled


def test_volume_deviates_by_the_part_of_what_was_expected_and_silence_by_all_of_it() -> None:
    up, down = of_volume(COUNTS, "both", Sample(0, LENGTH, 75))
    assert (up.excess.mean, down.excess.mean) == pytest.approx((0.5, -0.5), abs=0.03)
    silent = of_volume(COUNTS, "down", Sample(0, LENGTH))
    assert silent[0].excess.mean == 1.0
    assert merged([silent] * 5)[0].is_off


@pytest.mark.parametrize(
    ("n", "expected"),
    # Half of the margin is 5 records of 50; chance alone makes 7, and three times that are beyond the margin for sure.
    [
        (50, (True, False)),
        (46, (True, False)),
        (40, (False, False)),
        (20, (False, False)),
        (15, (False, True)),
    ],
)
def test_bucket_of_a_volume_has_the_error_that_was_learnt_and_no_slack(
    n: int, expected: tuple[bool, bool]
) -> None:
    (down,) = of_volume(COUNTS, "down", Sample(0, LENGTH, n))
    assert (down.is_in_band, down.is_off) == expected
    assert down.error == pytest.approx(math.sqrt(COUNTS.inflation * (1 / 50 + COUNTS.dispersion)), rel=0.05)
    assert not down.is_settled


def test_buckets_of_a_volume_that_wobble_more_than_was_learnt_have_the_larger_error() -> None:
    shown = merged([of_volume(COUNTS, "down", Sample(0, LENGTH, n)) for n in (20, 80) * 8])
    assert shown[0].error == pytest.approx(0.62 / 4, rel=0.1)
    assert Deviation.from_json(json.loads(json.dumps(shown[0].as_json()))) == shown[0]


def test_side_that_an_earlier_release_wrote_can_be_read() -> None:
    assert Deviation.from_json(side(0.05).as_json()[:6]) == side(0.05)


@pytest.mark.parametrize(("worse", "excess"), [("lower", 0.1), ("higher", -0.1)])
def test_level_deviates_towards_the_worse_side_strictly(worse: str, excess: float) -> None:
    (found,) = of_level(0.9, 0.05, worse, sampled(0, [0.7, 0.9]))
    assert found.excess.mean == pytest.approx(excess)
    assert found.is_strict
    assert of_level(0.9, 0.05, worse, Sample(0, LENGTH)) == ()
