"""The reference numbers of heterogeneity: python -m pip install --target /tmp/ref statsmodels==0.15.0, then
PYTHONPATH=/tmp/ref python with

import numpy as np
from statsmodels.stats.meta_analysis import combine_effects
r = combine_effects(np.array([0.1, 0.3, -0.2, 0.05]), np.array([0.1, 0.2, 0.15, 0.05]) ** 2)
print(r.q, r.test_homogeneity().pvalue)
"""

import math

import numpy as np
import pytest
from scipy import stats

from triageops.stats.segments import chi_square_survival, heterogeneity, simpson


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 33, 100])
@pytest.mark.parametrize("x", [1e-9, 0.1, 1.0, 3.84, 25.0, 110.0, 700.0])
def test_chi_square_survival_equals_scipy(degrees: int, x: float) -> None:
    assert chi_square_survival(x, degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-11)


def test_chi_square_survival_ends_are_certain() -> None:
    assert chi_square_survival(0, 3) == 1.0
    assert chi_square_survival(math.inf, 3) == 0.0


@pytest.mark.parametrize(("x", "degrees"), [(-1.0, 2), (math.nan, 2), (1.0, 0)])
def test_chi_square_survival_impossible_inputs_are_refused(x: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="degrees"):
        chi_square_survival(x, degrees)


def test_heterogeneity_equals_statsmodels() -> None:
    found = heterogeneity([0.1, 0.3, -0.2, 0.05], [0.1, 0.2, 0.15, 0.05])
    assert found is not None
    assert found.q == pytest.approx(4.590243902439024, rel=1e-12)
    assert found.p_value == pytest.approx(0.20438060836925473, rel=1e-12)
    assert found.degrees == 3


def test_heterogeneity_equal_effects_have_uniform_p_values() -> None:
    rng = np.random.default_rng(71)
    errors = [0.5, 1.0, 2.0, 0.1]
    found = [heterogeneity(rng.normal(3, errors).tolist(), errors) for _ in range(800)]
    assert stats.kstest([f.p_value for f in found if f is not None], "uniform").pvalue > 0.01


def test_heterogeneity_scale_of_the_errors_cannot_overflow() -> None:
    found = heterogeneity([1e-200, 3e-200], [1e-200, 1e-200])
    assert found is not None
    assert found.q == pytest.approx(2.0)


@pytest.mark.parametrize("count", [0, 1])
def test_heterogeneity_fewer_than_two_segments_is_no_answer(count: int) -> None:
    assert heterogeneity([1.0] * count, [1.0] * count) is None


@pytest.mark.parametrize(
    ("effects", "errors"), [([1.0, 2.0], [1.0]), ([1.0, math.nan], [1, 1]), ([1.0, 2.0], [1, 0])]
)
def test_heterogeneity_impossible_inputs_are_refused(effects: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match=r"zip|finite"):
        heterogeneity(effects, errors)


def share_difference(t: tuple[int, int], c: tuple[int, int]) -> tuple[float, float]:
    p, q = t[0] / t[1], c[0] / c[1]
    return p - q, math.sqrt(p * (1 - p) / t[1] + q * (1 - q) / c[1])


def test_simpson_kidney_stones_are_the_paradox_beyond_their_noise() -> None:
    # Charig et al. (1986): open surgery is better for small and large stones, and worse for all together.
    overall, _ = share_difference((273, 350), (289, 350))
    segments = [share_difference((81, 87), (234, 270)), share_difference((192, 263), (55, 80))]
    assert overall < 0 < min(effect for effect, _ in segments)
    # Of 700 patients, the average of both is 1.99 standard errors.
    assert simpson(overall, segments, z=1.96)
    assert not simpson(overall, segments, z=2.0)


def test_simpson_mirrored_effects_give_the_same_answer() -> None:
    assert simpson(0.1, [(-0.2, 0.05), (-0.3, 0.05)])
    assert simpson(-0.1, [(0.2, 0.05), (0.3, 0.05)])


def test_simpson_one_small_noisy_segment_neither_makes_nor_hides_it() -> None:
    assert simpson(0.1, [(-0.2, 0.05), (-0.3, 0.05), (0.4, 2.0)])
    assert not simpson(0.1, [(0.2, 0.05), (0.3, 0.05), (-4.0, 2.0)])


def test_simpson_a_segment_that_truly_agrees_is_no_paradox() -> None:
    assert not simpson(0.1, [(-0.2, 0.01), (-0.3, 0.01), (0.4, 0.1)])


@pytest.mark.parametrize("segments", [[], [(-1.0, 0.1)]])
def test_simpson_fewer_than_two_segments_are_none(segments: list[tuple[float, float]]) -> None:
    assert not simpson(1.0, segments)
    assert not simpson(0.0, [(-1.0, 0.1), (-1.0, 0.1)])


@pytest.mark.parametrize(
    ("overall", "segments", "z"),
    [
        (math.nan, [(1.0, 1.0)], 2),
        (1.0, [(1.0, 0.0)], 2),
        (1.0, [(math.inf, 1.0)], 2),
        (1.0, [(1.0, 1.0)], 0),
    ],
)
def test_simpson_impossible_inputs_are_refused(
    overall: float, segments: list[tuple[float, float]], z: float
) -> None:
    with pytest.raises(ValueError, match=r"finite|overall"):
        simpson(overall, segments, z)
