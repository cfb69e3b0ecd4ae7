"""The reference numbers: python -m pip install --target /tmp/ref statsmodels==0.15.0, then PYTHONPATH=/tmp/ref
python with

import numpy as np, statsmodels.api as sm
from statsmodels.stats.proportion import proportions_ztest
i = np.arange(60); den = 1 + i * 7 % 5; num = (i * 37 % 11) * den % 13 + i % 2
print("proportions", proportions_ztest([31, 260], [1000, 9000])[0])
for k in (i % 2 == 0, i % 2 == 1):
    y, users = np.repeat(num[k] / den[k], den[k]), np.repeat(i[k], den[k])
    f = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": users})
    print("ratio", f.params[0], f.bse[0])
new = (i % 5 == 0) * 1.0; pre = np.where(new == 1, 0, i * 29 % 31); y = num + 0.7 * pre + 3 * (i % 2)
f = sm.OLS(y, np.column_stack([np.ones(60), i % 2, pre, new])).fit(cov_type="HC1")
print("ancova", f.params, f.bse)
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Cell, Contrast, Kind, contrast, estimate

Array = NDArray[np.float64]

# One deterministic data set of 60 users, used here and in the commands above.
USER = np.arange(60)
ARM = USER % 2
DEN: Array = (1 + USER * 7 % 5).astype(np.float64)
NUM: Array = (USER * 37 % 11) * DEN % 13 + ARM
NEW = (USER % 5 == 0).astype(float)
PRE = np.where(NEW == 1, 0.0, USER * 29 % 31)
AFTER = NUM + 0.7 * PRE + 3 * ARM


def two_arms(*columns: Array) -> dict[str, list[CoMoments]]:
    rows = np.column_stack(columns)
    return {"control": [CoMoments.of(rows[ARM == 0])], "treatment": [CoMoments.of(rows[ARM == 1])]}


def zeros_and_ones(n: int, ones: int) -> CoMoments:
    return CoMoments(n, (ones / n,), ((ones * (1 - ones / n),),))


def compared(arms: dict[str, list[CoMoments]], kind: Kind, *, is_adjusted: bool = False) -> Contrast:
    result = contrast(estimate(arms, kind, is_adjusted=is_adjusted), "treatment", "control")
    assert result is not None
    return result


def test_contrast_means_equal_scipys_welch_test() -> None:
    expected = stats.ttest_ind(NUM[ARM == 1], NUM[ARM == 0], equal_var=False)
    result = compared(two_arms(NUM), "mean")
    assert result.effect == pytest.approx(NUM[ARM == 1].mean() - NUM[ARM == 0].mean())
    assert result.effect / result.se == pytest.approx(expected.statistic, rel=1e-12)
    assert result.se == result.null_se == result.interval_se
    assert (result.n_treatment, result.n_control, result.dropped_count, result.covariance) == (30, 30, 0, 0.0)
    assert result.se == pytest.approx(math.hypot(result.se_treatment, result.se_control))


def test_contrast_means_with_one_variance_equal_scipys_students_test() -> None:
    expected = stats.ttest_ind(NUM[ARM == 1], NUM[ARM == 0], equal_var=True)
    result = compared(two_arms(NUM), "mean")
    assert result.effect / result.shared_se == pytest.approx(expected.statistic, rel=1e-12)


def test_contrast_proportions_equal_statsmodels_pooled_test() -> None:
    arms = {"treatment": [zeros_and_ones(1_000, 31)], "control": [zeros_and_ones(9_000, 260)]}
    result = compared(arms, "proportion")
    assert result.effect / result.null_se == pytest.approx(0.37678933463686176, rel=1e-12)
    plug_in = 0.031 * 0.969 / 999 + 260 / 9_000 * (8_740 / 9_000) / 8_999
    assert result.se == pytest.approx(math.sqrt(plug_in), rel=1e-12)
    assert result.interval_se == max(result.se, result.null_se) == result.se


def test_contrast_ratios_equal_statsmodels_cluster_robust_regression() -> None:
    result = compared(two_arms(NUM, DEN), "ratio")
    assert result.value_control == pytest.approx(1.7222222222222223, rel=1e-12)
    assert result.se_control == pytest.approx(0.28731190234232795, rel=1e-12)
    assert result.value_treatment == pytest.approx(2.244444444444443, rel=1e-12)
    assert result.se_treatment == pytest.approx(0.2575017973341, rel=1e-12)
    assert result.se == pytest.approx(math.hypot(0.28731190234232795, 0.2575017973341), rel=1e-12)


def test_estimate_adjusted_mean_equals_statsmodels_ancova() -> None:
    arms = two_arms(AFTER, PRE, NEW)
    estimates = estimate(arms, "mean", is_adjusted=True)
    assert estimates.theta == pytest.approx((0.7372535878532962, -0.4795147635444825), rel=1e-10)
    result = compared(arms, "mean", is_adjusted=True)
    assert result.effect == pytest.approx(4.566666666666681, rel=1e-12)
    # The regression also pays for its four coefficients and for the arms' difference in covariates.
    assert result.se == pytest.approx(1.0057940880999439, rel=0.03)
    plain = compared(arms, "mean")
    assert result.se < 0.7 * plain.se
    assert estimates.variance_reduction == pytest.approx(1 - (result.se / plain.se) ** 2, rel=0.02)
    assert result.se**2 == pytest.approx(
        result.se_treatment**2 + result.se_control**2 - 2 * result.covariance, rel=1e-12
    )


def test_estimate_adjusted_ratio_equals_regression_on_linearised_units() -> None:
    pre_den = np.where(NEW == 1, 0.0, 1 + USER % 3)
    arms = two_arms(AFTER, DEN, PRE, pre_den, NEW)
    estimates = estimate(arms, "ratio", is_adjusted=True)
    outcome, ratio = np.empty(60), {}
    for arm in (0, 1):
        k = arm == ARM
        ratio[arm] = AFTER[k].sum() / DEN[k].sum()
        outcome[k] = (AFTER[k] - ratio[arm] * DEN[k]) / DEN[k].mean()
    covariates = np.column_stack([PRE - PRE.sum() / pre_den.sum() * pre_den, NEW])
    design = np.column_stack([1 - ARM, ARM, covariates])
    slopes = np.linalg.lstsq(design, outcome)[0][2:]
    assert estimates.theta == pytest.approx(tuple(slopes), rel=1e-9)
    left = outcome - covariates @ slopes
    result = compared(arms, "ratio", is_adjusted=True)
    moved = (covariates[ARM == 1].mean(axis=0) - covariates[ARM == 0].mean(axis=0)) @ slopes
    assert result.effect == pytest.approx(ratio[1] - ratio[0] - moved, rel=1e-9)
    assert result.se**2 == pytest.approx(sum(left[k == ARM].var(ddof=1) / 30 for k in (0, 1)), rel=1e-9)


def test_contrast_of_strata_averages_by_the_two_arms_units() -> None:
    rng = np.random.default_rng(5)
    samples = [[rng.normal(1, 1, 10), rng.normal(0, 2, 30)], [rng.normal(9, 3, 50), rng.normal(7, 1, 10)]]
    arms = {
        "treatment": [CoMoments.of(t[:, None]) for t, _ in samples],
        "control": [CoMoments.of(c[:, None]) for _, c in samples],
        "other": [CoMoments.of(rng.normal(0, 1, (500, 1))), CoMoments.empty(1)],
    }
    result = compared(arms, "mean")
    differences = [t.mean() - c.mean() for t, c in samples]
    variances = [t.var(ddof=1) / t.size + c.var(ddof=1) / c.size for t, c in samples]
    assert result.effect == pytest.approx(0.4 * differences[0] + 0.6 * differences[1])
    assert result.se == pytest.approx(math.sqrt(0.16 * variances[0] + 0.36 * variances[1]))
    assert result.effect == pytest.approx(result.value_treatment - result.value_control)
    # With one variance in each stratum, that of both arms (weighted as the docstring says).
    alike = [
        (t.size * t.var(ddof=1) + c.size * c.var(ddof=1)) / (t.size + c.size) * (1 / t.size + 1 / c.size)
        for t, c in samples
    ]
    assert result.shared_se == pytest.approx(math.sqrt(0.16 * alike[0] + 0.36 * alike[1]))
    estimates = estimate(arms, "mean", is_adjusted=False)
    assert estimates.variance_reduction is None
    assert estimates.theta == ()
    treatment, other = estimates.arms["treatment"], estimates.arms["other"]
    assert treatment.value == pytest.approx((540 * samples[0][0].mean() + 60 * samples[1][0].mean()) / 600)
    assert other.value == pytest.approx(arms["other"][0].mean[0])  # the only stratum that it is in
    assert (treatment.n, other.n) == (60, 500)


def test_contrast_null_error_of_strata_is_pooled_within_each() -> None:
    arms = {
        "treatment": [zeros_and_ones(100, 50), zeros_and_ones(100, 1)],
        "control": [zeros_and_ones(300, 130), zeros_and_ones(1_500, 30)],
    }
    p = [180 / 400, 31 / 1_600]
    expected = 0.2**2 * p[0] * (1 - p[0]) * (1 / 100 + 1 / 300) + 0.8**2 * p[1] * (1 - p[1]) * (
        1 / 100 + 1 / 1_500
    )
    assert compared(arms, "proportion").null_se == pytest.approx(math.sqrt(expected), rel=1e-12)


def test_contrast_adjusted_proportion_scales_the_null_error() -> None:
    outcome = (np.median(AFTER) < AFTER).astype(float)
    arms = two_arms(outcome, PRE, NEW)
    adjusted, plain = compared(arms, "proportion", is_adjusted=True), compared(arms, "proportion")
    reduction = estimate(arms, "proportion", is_adjusted=True).variance_reduction
    assert reduction is not None
    assert 0.1 < reduction < 0.9
    assert adjusted.null_se == pytest.approx(plain.null_se * math.sqrt(1 - reduction), rel=1e-12)


def test_contrast_strata_without_two_units_of_both_are_dropped_and_counted() -> None:
    good, single, empty = CoMoments.of([[1.0], [2.0], [4.0]]), CoMoments.of([[900.0]]), CoMoments.empty(1)
    with_bad = {"treatment": [good, single, empty, good], "control": [good, good, good, single]}
    result = compared(with_bad, "mean")
    assert result.effect == 0.0
    assert result.dropped_count == (1 + 3) + 3 + (3 + 1)
    assert (result.n_treatment, result.n_control) == (3, 3)
    cell = estimate(with_bad, "mean", is_adjusted=False).arms["treatment"].strata[1]
    assert cell == Cell(1, None, 0.0, 0.0, 0.0, 0.0)


def test_contrast_other_arms_do_not_matter_without_adjustment_and_share_theta_with_it() -> None:
    arms = two_arms(AFTER, PRE, NEW)
    more = {**arms, "third": [CoMoments.of(np.column_stack([5 * PRE, PRE, NEW]))]}
    assert compared(arms, "mean") == compared(more, "mean")
    estimates = estimate(more, "mean", is_adjusted=True)
    pairs = [("treatment", "control"), ("third", "control"), ("third", "treatment")]
    first, second, third = (contrast(estimates, *pair) for pair in pairs)
    assert first is not None
    assert second is not None
    assert third is not None
    assert third.effect == pytest.approx(second.effect - first.effect, rel=1e-12)
    assert second.value_control == pytest.approx(first.value_control, rel=1e-12)


CONSTANT = CoMoments.of(np.full((50, 1), 0.1))
MORE = CoMoments.of(np.full((50, 1), 0.3))


@pytest.mark.parametrize(
    ("kind", "treatment", "control"),
    [
        ("mean", CONSTANT, MORE),
        ("mean", CoMoments.empty(1), CONSTANT),
        ("mean", CoMoments.of([[1.0]]), CoMoments.of([[1.0], [2.0]])),
        ("proportion", zeros_and_ones(50, 0), zeros_and_ones(70, 0)),
        ("proportion", zeros_and_ones(50, 50), zeros_and_ones(70, 70)),
        ("proportion", zeros_and_ones(50, 50), zeros_and_ones(70, 0)),
        ("ratio", CoMoments.of([[1.0, 0.0], [2.0, 0.0]]), CoMoments.of([[1.0, 1.0], [2.0, 1.0]])),
        ("ratio", CoMoments.of([[1.0, 1e-308], [2.0, 1e-308]]), CoMoments.of([[1.0, 1.0], [2.0, 1.0]])),
        # A database sums the squares of a constant to a little more than nothing.
        ("mean", CoMoments(50, (0.1,), ((1e-28,),)), CoMoments(50, (0.1,), ((3e-28,),))),
        # Three times the denominator, always: what is left of the variance is rounding.
        ("ratio", CoMoments.of([[0.3, 0.1], [2.1, 0.7]]), CoMoments.of([[0.7, 0.7], [3.1, 3.1]])),
    ],
)
def test_contrast_without_spread_or_units_is_no_answer(
    kind: Kind, treatment: CoMoments, control: CoMoments
) -> None:
    estimates = estimate({"t": [treatment], "c": [control]}, kind, is_adjusted=False)
    assert contrast(estimates, "t", "c") is None


def test_contrast_no_strata_is_no_answer() -> None:
    estimates = estimate({"t": [], "c": []}, "mean", is_adjusted=True)
    assert contrast(estimates, "t", "c") is None
    assert estimates.variance_reduction is None
    assert estimates.arms["t"].value is estimates.arms["t"].standard_error is None


def test_estimate_huge_offset_changes_no_error() -> None:
    here, there = two_arms(AFTER, PRE, NEW), two_arms(AFTER + 1e9, PRE + 1e9, NEW)
    for is_adjusted in (False, True):
        a, b = (
            compared(here, "mean", is_adjusted=is_adjusted),
            compared(there, "mean", is_adjusted=is_adjusted),
        )
        assert b.effect == pytest.approx(a.effect, abs=1e-5)
        assert b.se == pytest.approx(a.se, rel=1e-6)


@pytest.mark.parametrize("new", [0.0, 1.0])
def test_estimate_nobody_or_everybody_new_leaves_that_covariate_out(new: float) -> None:
    pre = np.where(new, 0.0, PRE + 1)
    result = estimate(two_arms(AFTER, pre, np.full(60, new)), "mean", is_adjusted=True)
    assert result.theta[1] == 0.0
    if new:
        plain = compared(two_arms(AFTER), "mean")
        adjusted = contrast(result, "treatment", "control")
        assert adjusted is not None
        assert (adjusted.effect, adjusted.se) == pytest.approx((plain.effect, plain.se), rel=1e-12)
        assert result.variance_reduction == 0.0


def test_estimate_past_that_only_says_who_is_new_is_used_once() -> None:
    # All others had 7.3 before: both covariates say the same, and any split of theta gives one answer.
    twice = two_arms(AFTER, 7.3 * (1 - NEW), NEW)
    once = two_arms(AFTER, np.zeros(60), NEW)
    one, other = compared(once, "mean", is_adjusted=True), compared(twice, "mean", is_adjusted=True)
    assert (other.effect, other.se) == pytest.approx((one.effect, one.se), rel=1e-10)
    assert all(abs(slope) < 10 for slope in estimate(twice, "mean", is_adjusted=True).theta)


def test_estimate_adjusted_unequal_arms_with_unequal_slopes_have_the_errors_of_their_parts() -> None:
    """Each adjusted value as a sum over arms of independent means, with a regression of its own."""
    rng = np.random.default_rng(6)
    samples, shares = {}, {"treatment": 10 / 100, "control": 60 / 100, "third": 30 / 100}
    for slope, (key, share) in zip((3.0, -0.5, 1.0), shares.items(), strict=True):
        past = rng.normal(5, 2, round(100 * share))
        samples[key] = np.column_stack([slope * past + rng.normal(0, 1, past.size), past, 0 * past])
    arms = {key: [CoMoments.of(rows)] for key, rows in samples.items()}
    estimates = estimate(arms, "mean", is_adjusted=True)
    y, x = (np.concatenate([rows[:, i] - rows[:, i].mean() for rows in samples.values()]) for i in (0, 1))
    theta = (x @ y) / (x @ x)
    assert estimates.theta == pytest.approx((theta, 0.0), rel=1e-10)
    outcome = {key: rows[:, 0] for key, rows in samples.items()}
    past_part = {key: theta * rows[:, 1] for key, rows in samples.items()}

    def weight(arm: str, other: str) -> Array:
        """What the units of `other` add to the adjusted value of `arm`."""
        own: Array = outcome[other] - past_part[other] if arm == other else np.zeros(1)
        part: Array = shares[other] * past_part[other] + own
        return part

    for arm in shares:
        expected = sum(weight(arm, b).var(ddof=1) / weight(arm, b).size for b in shares)
        error = estimates.arms[arm].standard_error
        assert error is not None
        assert error**2 == pytest.approx(expected, rel=1e-10)
    result = contrast(estimates, "treatment", "control")
    assert result is not None
    common = sum(np.cov(weight("treatment", b), weight("control", b))[0, 1] / outcome[b].size for b in shares)
    assert result.covariance == pytest.approx(common, rel=1e-10)


def test_estimate_only_new_units_in_a_ratio_is_not_adjusted() -> None:
    none = np.zeros(60)
    adjusted = compared(two_arms(NUM, DEN, none, none, np.ones(60)), "ratio", is_adjusted=True)
    plain = compared(two_arms(NUM, DEN), "ratio")
    assert (adjusted.effect, adjusted.se) == pytest.approx((plain.effect, plain.se), rel=1e-12)


def test_estimate_outcome_equal_to_its_past_has_no_variance_left() -> None:
    estimates = estimate(two_arms(PRE, PRE, NEW), "mean", is_adjusted=True)
    assert estimates.variance_reduction == pytest.approx(1.0, abs=1e-12)
    assert contrast(estimates, "treatment", "control") is None


@pytest.mark.parametrize(
    ("kind", "rows", "is_adjusted"),
    [
        ("mean", [[1.0, 2.0]], False),
        ("mean", [[1.0]], True),
        ("ratio", [[1.0]], False),
        ("ratio", [[1.0, 2.0]], True),
        ("proportion", [[0.0], [2.0]], False),
        ("proportion", [[0.0], [0.5]], False),
        ("median", [[0.0]], False),
    ],
)
def test_estimate_wrong_columns_or_values_are_refused(
    kind: Kind, rows: list[list[float]], is_adjusted: bool
) -> None:
    with pytest.raises(ValueError, match=r"columns|zeros and ones|kind of metric"):
        estimate({"t": [CoMoments.of(rows)]}, kind, is_adjusted=is_adjusted)


def test_estimate_and_contrast_wrong_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="strata"):
        estimate({}, "mean", is_adjusted=False)
    with pytest.raises(ValueError, match="strata"):
        estimate({"t": [CONSTANT], "c": []}, "mean", is_adjusted=False)
    estimates = estimate({"t": [CONSTANT], "c": [MORE]}, "mean", is_adjusted=False)
    with pytest.raises(ValueError, match="itself"):
        contrast(estimates, "t", "t")
    with pytest.raises(KeyError):
        contrast(estimates, "t", "unknown")
