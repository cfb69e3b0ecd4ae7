import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triageops.stats.bandit import top_two_weights


def drawn(means: list[float], errors: list[float], beta: float) -> list[float]:
    """The algorithm as it is defined: draw, play the best with beta, else draw again until another is best."""
    rng = np.random.default_rng(61)
    best = rng.normal(means, errors, (400_000, len(means))).argmax(axis=1)
    alpha = np.bincount(best, minlength=len(means)) / best.size
    played = beta * alpha
    for leader in range(len(means)):
        challengers = np.bincount(best[best != leader], minlength=len(means))
        played += (1 - beta) * alpha[leader] * challengers / challengers.sum()
    return [float(share) for share in played]


@pytest.mark.parametrize("beta", [0.5, 0.8])
@pytest.mark.parametrize(
    ("means", "errors"),
    [
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ([0.3, 0.5, 0.1, 0.45], [0.1, 0.05, 0.3, 0.2]),
        ([1.0, 1.5], [1.0, 0.2]),
        ([0.10, 0.11, 0.12], [0.0005, 0.02, 0.01]),
    ],
)
def test_top_two_weights_equal_the_algorithms_own_draws(
    means: list[float], errors: list[float], beta: float
) -> None:
    weights = top_two_weights(means, errors, floor=0, is_higher_better=True, beta=beta)
    assert np.array(weights) / 10_000 == pytest.approx(np.array(drawn(means, errors, beta)), abs=0.004)


def test_top_two_weights_lower_is_better_favours_the_lowest() -> None:
    # Another system's defect: with lower better, its best arm gets nothing and the two worst everything.
    assert top_two_weights([0, 1, 2], [0.1] * 3, floor=0, is_higher_better=False)[0] == 5000
    assert top_two_weights([0, 1, 2], [0.1] * 3, floor=0, is_higher_better=True)[2] == 5000
    assert top_two_weights([0, 1, 2], [0.5] * 3, floor=100, is_higher_better=False) == tuple(
        reversed(top_two_weights([0, 1, 2], [0.5] * 3, floor=100, is_higher_better=True))
    )


@pytest.mark.parametrize("gap", [1.0, 30.0, 1e3, 1e6])
def test_top_two_weights_clear_order_gives_half_to_the_best_and_half_to_the_next(gap: float) -> None:
    weights = top_two_weights([0.0, -5.0, -2 * gap - 5], [0.3] * 3, floor=0, is_higher_better=True)
    assert weights[0] == 5000
    assert weights[1] >= 4999


@pytest.mark.parametrize(("means", "errors"), [([1.0, 2.0], [1.0, 0.3]), ([5.0, 1e9], [1.0, 1.0])])
def test_top_two_weights_two_arms_are_always_half_and_half(means: list[float], errors: list[float]) -> None:
    assert top_two_weights(means, errors, floor=0, is_higher_better=True) == (5000, 5000)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)), min_size=2, max_size=6),
    st.integers(0, 1_600),
    st.booleans(),
)
def test_top_two_weights_any_arms_sum_to_all_and_keep_the_floor(
    arms: list[tuple[float, float]], floor: int, is_higher_better: bool
) -> None:
    means, errors = [mean for mean, _ in arms], [error for _, error in arms]
    weights = top_two_weights(means, errors, floor=floor, is_higher_better=is_higher_better)
    assert sum(weights) == 10_000
    assert min(weights) >= floor
    assert weights == top_two_weights(means, errors, floor=floor, is_higher_better=is_higher_better)


def test_top_two_weights_largest_floor_is_an_equal_split() -> None:
    assert top_two_weights([1, 2, 3, 9], [1] * 4, floor=2_500, is_higher_better=True) == (2_500,) * 4


def test_top_two_weights_scale_and_offset_do_not_matter() -> None:
    here = top_two_weights([0.1, 0.4, 0.2], [0.1, 0.2, 0.3], floor=50, is_higher_better=True)
    there = top_two_weights([1100, 1400, 1200], [100, 200, 300], floor=50, is_higher_better=True)
    assert np.abs(np.array(here) - there).max() <= 1


@pytest.mark.parametrize(
    ("means", "errors", "floor", "beta"),
    [
        ([1.0], [1.0], 0, 0.5),
        ([1.0, 2.0], [1.0], 0, 0.5),
        ([1.0, math.nan], [1.0, 1.0], 0, 0.5),
        ([1.0, 2.0], [1.0, 0.0], 0, 0.5),
        ([1.0, 2.0], [1.0, math.inf], 0, 0.5),
        ([1.0, 2.0], [1.0, 1.0], 5_001, 0.5),
        ([1.0, 2.0], [1.0, 1.0], -1, 0.5),
        ([1.0, 2.0], [1.0, 1.0], 0, 1.0),
    ],
)
def test_top_two_weights_impossible_inputs_are_refused(
    means: list[float], errors: list[float], floor: int, beta: float
) -> None:
    with pytest.raises(ValueError, match=r"arms|means need"):
        top_two_weights(means, errors, floor=floor, is_higher_better=True, beta=beta)
