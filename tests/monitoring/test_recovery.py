"""When is it over: enough good judgements, for long enough, that together prove it; silence proves nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.monitors.deviation import Deviation, Deviations
from monitoring.monitors.recovery import Recovery
from triageops.stats.moments import Moments

MARGIN, SD = 0.1, 0.1


def off_by(excess: float, n: int = 50, *, is_strict: bool = True) -> Deviations:
    """One side, of records that differ by SD."""
    return (Deviation(Moments(n, excess, n * SD**2), MARGIN, float(n), is_strict),)


def observed(*shown: Deviations, n_min: int = 20) -> Recovery:
    recovery = Recovery()
    for number, one in enumerate(shown):
        recovery = recovery.observe(one, at=300.0 * number, n_min=n_min)
    return recovery


def test_small_buckets_wait_until_they_can_be_judged_together() -> None:
    recovery = observed(*[off_by(0.0, 5)] * 9)
    assert (recovery.in_band_count, recovery.began_at, recovery.run[0].excess.n) == (2, 0.0, 40)
    assert (recovery.waiting[0].excess.n, recovery.waiting_since) == (5, 8 * 300.0)


def test_bad_judgement_starts_from_nothing() -> None:
    assert observed(off_by(0.0), off_by(0.0), off_by(0.2)) == Recovery()
    recovery = observed(off_by(0.0), off_by(0.2), off_by(0.0))
    assert (recovery.in_band_count, recovery.began_at) == (1, 600.0)


def test_one_bad_side_is_enough_to_start_from_nothing() -> None:
    both = off_by(0.0)[0], off_by(0.2)[0]
    assert observed(off_by(0.0) * 2, both) == Recovery()


def test_bucket_that_says_nothing_changes_nothing() -> None:
    recovery = observed(off_by(0.0))
    assert recovery.observe((), at=300.0, n_min=20) == recovery
    assert Recovery().observe((), at=0.0, n_min=20) == Recovery()


def test_complete_needs_judgements_time_and_proof() -> None:
    recovery = observed(*[off_by(0.0)] * 3)
    assert recovery.is_complete(until=900.0, count=3, hold_seconds=900.0)
    assert not recovery.is_complete(until=900.0, count=4, hold_seconds=900.0)
    assert not recovery.is_complete(until=899.0, count=3, hold_seconds=900.0)
    assert not Recovery().is_complete(until=1e9, count=0, hold_seconds=0.0)
    unproven = observed(*[off_by(0.045, 2)] * 3, n_min=1)
    assert not unproven.is_complete(until=900.0, count=3, hold_seconds=900.0)


@pytest.mark.parametrize(("is_strict", "count"), [(True, 0), (False, 3)])
def test_noise_around_nothing_is_no_relapse_unless_healthy_values_lie_on_the_good_side(
    is_strict: bool, count: int
) -> None:
    # The band is 0.05, and of 4 records chance alone gives 0.058.
    shown = [off_by(excess, 4, is_strict=is_strict) for excess in (0.055, -0.05, 0.055)]
    assert observed(*shown, n_min=1).in_band_count == count


@pytest.mark.parametrize(
    ("is_strict", "good", "count", "is_credible"),
    [
        (True, 1, 3, True),
        (False, 2, 3, False),
        (False, 3, 3, True),
        (False, 5, 12, False),
        (False, 6, 12, True),
        (False, 2, 1, False),
    ],
)
def test_way_back_is_credible_after_the_first_good_judgement_of_a_fixed_level_only(
    is_strict: bool, good: int, count: int, is_credible: bool
) -> None:
    recovery = observed(*[off_by(0.0, is_strict=is_strict)] * good)
    assert recovery.is_credible(count=count) is is_credible
    assert not Recovery().is_credible(count=1)


def test_something_a_little_off_is_seldom_taken_for_on_its_way_back() -> None:
    random = np.random.default_rng(1)
    recovery, is_recovering, count = Recovery(), False, 0
    for number in range(3000):
        excess = float(random.normal(0.15, SD / np.sqrt(4)))
        recovery = recovery.observe(off_by(excess, 4, is_strict=False), at=300.0 * number, n_min=1)
        if recovery.in_band_count == 0:
            is_recovering = False
        elif recovery.is_credible(count=3) and not is_recovering:
            is_recovering, count = True, count + 1
    assert count <= 12


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(-0.2, 0.2), st.booleans()), max_size=30))
def test_recovery_is_the_same_after_being_stored_and_read(buckets: list[tuple[int, float, bool]]) -> None:
    kept = stored = Recovery()
    for number, (n, excess, is_strict) in enumerate(buckets):
        shown = off_by(excess, n, is_strict=is_strict)
        kept = kept.observe(shown, at=float(number), n_min=20)
        stored = Recovery.from_json(json.loads(json.dumps(stored.as_json())))
        stored = stored.observe(shown, at=float(number), n_min=20)
    assert kept == stored


@pytest.mark.parametrize(
    "state",
    [
        {},
        {
            "in_band_count": 2,
            "began_at": 0.0,
            "run": [50, 0.9, 0.1],
            "waiting": [0, 0.0, 0.0],
            "waiting_since": None,
        },
    ],
)
def test_what_an_earlier_release_wrote_is_a_recovery_that_has_not_begun(state: dict[str, object]) -> None:
    assert Recovery.from_json(state) == Recovery()
