import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triageops.stats.histogram import Bins, Histogram, LogBins, UniformBins, bins_named, pooled_quantiles

UNIT = UniformBins(0.0, 1.0)
LOG = LogBins(0.01)
LOG.index([1.0])  # computes the edges, which no single test's deadline should pay for
FINITE = st.floats(allow_nan=False, allow_infinity=False)
QUANTILE = st.floats(0, 1) | st.sampled_from([0.0, 0.07, 0.5, 0.95, 0.99, 1.0])


def assert_well_placed(scheme: Bins, value: float) -> None:
    """Inside its bin's own edges, and within the stated error of its middle, in exact arithmetic."""
    index = int(scheme.index([value])[0])
    lower, middle, upper = scheme.lower(index), scheme.middle(index), scheme.upper(index)
    assert lower <= value <= upper
    assert lower <= middle <= upper
    if isinstance(scheme, LogBins):
        assert abs(Fraction(middle) - Fraction(value)) <= Fraction(scheme.accuracy) * abs(Fraction(value))
    else:
        assert abs(Fraction(middle) - Fraction(value)) <= Fraction(scheme.error(value))


@settings(deadline=None)  # the first use of an accuracy computes its edges
@given(FINITE, st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_log_bins_any_double_is_within_the_stated_error(value: float, accuracy: float) -> None:
    assert_well_placed(LogBins(accuracy), value)


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7e308, sys.float_info.max]
)
def test_log_bins_extreme_doubles_are_within_the_stated_error(value: float) -> None:
    assert_well_placed(LOG, value)
    assert abs(int(LOG.index([value])[0])) < 2**31


def test_log_bins_every_edge_and_its_neighbours_are_within_the_stated_error() -> None:
    top = int(LOG.index([sys.float_info.max])[0])
    for index in [*range(1, 1_500), *range(1_500, top, 53), top - 1, top]:
        edge = LOG.upper(index)
        for value in (math.nextafter(edge, 0), edge, math.nextafter(edge, math.inf)):
            if 0 < value < math.inf:
                assert_well_placed(LOG, value)
        assert LOG.index([edge, -edge]).tolist() == [index, -index]


def test_log_bins_every_small_subnormal_is_within_the_stated_error() -> None:
    values = np.arange(1, 20_000) * 5e-324
    middles = np.array([LOG.middle(index) for index in LOG.index(values).tolist()])
    steps = np.rint(middles / 5e-324).astype(int)
    assert (100 * np.abs(steps - np.arange(1, 20_000)) <= np.arange(1, 20_000)).all()


@given(FINITE, FINITE)
def test_log_bins_larger_value_never_has_a_smaller_bin(a: float, b: float) -> None:
    low, high = LOG.index(sorted((a, b)))
    assert low <= high
    assert LOG.index([-a])[0] == -LOG.index([a])[0]


def test_log_bins_numbers_are_stable() -> None:
    # Stored rows carry these numbers: a change here needs a new scheme name and a data migration.
    numbers = LOG.index([0.001, 1.0, 60.0, -1.0, 0.0, sys.float_info.max]).tolist()
    assert numbers == [36783, 37129, 37333, -37129, 0, 72617]


@given(st.floats(0, 1), st.sampled_from([(0.0, 1.0), (1.0, 5.0), (-1.0, 1.0), (1e9, 1e9 + 1), (0.0, 1e-300)]))
def test_uniform_bins_any_value_is_within_the_stated_error(share: float, bounds: tuple[float, float]) -> None:
    low, high = bounds
    scheme = UniformBins(low, high)
    assert_well_placed(scheme, min(max(low + share * (high - low), low), high))
    width = (high - low) / 200
    assert scheme.error(low + width / 3) <= width / 2 + 2 * math.ulp(max(abs(low), abs(high)))


def test_uniform_bins_every_edge_and_its_neighbours_are_within_the_stated_error() -> None:
    for index in range(1, 201):
        edge = UNIT.upper(index)
        for value in (math.nextafter(edge, 0), edge, min(1.0, math.nextafter(edge, 2))):
            assert_well_placed(UNIT, value)


def test_uniform_bins_bounds_are_atoms_without_error() -> None:
    inside = [5e-324, 1e-9, 0.5, 1 - 1e-9, math.nextafter(1, 0)]
    assert UNIT.index([0.0, -0.0, 1.0, *inside]).tolist() == [0, 0, 201, 1, 1, 100, 200, 200]
    assert (UNIT.middle(0), UNIT.middle(201), UNIT.error(0.0), UNIT.error(1.0)) == (0.0, 1.0, 0.0, 0.0)
    assert (UNIT.lower(0), UNIT.upper(0), UNIT.lower(201), UNIT.upper(201)) == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("value", [-1e-12, 1.0000001, math.nan, math.inf])
def test_uniform_bins_value_outside_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        UNIT.index([0.5, value])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_log_bins_not_a_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no bin"):
        LOG.index([1.0, value])


@pytest.mark.parametrize(
    "bounds",
    [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (-1.7e308, 1.7e308), (1e16, 1e16 + 4)],
)
def test_uniform_bins_bounds_without_room_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"bounds|room"):
        UniformBins(*bounds)


@pytest.mark.parametrize("scheme", [UNIT, UniformBins(-2.5, 1e9), LOG, LogBins(0.05), UniformBins(1, 5)])
def test_bins_named_own_name_gives_the_scheme_back(scheme: Bins) -> None:
    assert bins_named(scheme.name) == scheme


def test_bins_names_are_the_stored_ones() -> None:
    assert (UniformBins(0, 1).name, UniformBins(-0.0, 1).name, LOG.name) == (
        "uniform:0.0:1.0",
        "uniform:0.0:1.0",
        "log:0.01",
    )


@pytest.mark.parametrize(
    "name", ["", "log", "log:x", "log:0", "log:nan", "uniform:0.0", "uniform:1:0", "kll:0.01", "log:0.01:1"]
)
def test_bins_named_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no bins named"):
        bins_named(name)


@pytest.mark.parametrize(("scheme", "index"), [(UNIT, -1), (UNIT, 202), (LOG, 10**6), (LOG, -(10**6))])
def test_bins_number_that_does_not_exist_is_refused(scheme: Bins, index: int) -> None:
    for edge in (scheme.lower, scheme.upper, scheme.middle):
        with pytest.raises(ValueError, match="no bin"):
            edge(index)


@given(st.lists(FINITE, min_size=1, max_size=80), QUANTILE)
def test_quantile_any_values_is_within_the_error_of_numpys_inverted_cdf(
    values: list[float], q: float
) -> None:
    truth = float(np.quantile(values, q, method="inverted_cdf"))
    estimate = Histogram.of(values, LOG).quantile(q)
    assert estimate is not None
    assert abs(Fraction(estimate) - Fraction(truth)) <= Fraction(0.01) * abs(Fraction(truth))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), QUANTILE)
def test_quantile_any_scores_is_within_the_error_of_numpys_inverted_cdf(
    values: list[float], q: float
) -> None:
    truth = float(np.quantile(values, q, method="inverted_cdf"))
    estimate = Histogram.of(values, UNIT).quantile(q)
    assert estimate is not None
    assert abs(estimate - truth) <= UNIT.error(truth)


@given(st.integers(1, 3_000), QUANTILE)
def test_quantile_of_atoms_equals_numpys_inverted_cdf_exactly(n: int, q: float) -> None:
    values = np.repeat([0.0, 1.0], [n // 3, n - n // 3])
    assert Histogram.of(values, UNIT).quantile(q) == np.quantile(values, q, method="inverted_cdf")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40), st.lists(FINITE, min_size=1, max_size=40), QUANTILE
)
def test_pooled_quantiles_mixed_schemes_are_within_the_larger_error(
    a: list[float], b: list[float], q: float
) -> None:
    truth = float(np.quantile(a + b, q, method="inverted_cdf"))
    (estimate,) = pooled_quantiles([Histogram.of(a, UNIT), Histogram.of(b, LOG)], [q])
    assert estimate is not None
    # The larger error of the two schemes; a bound is no atom any more once schemes are mixed.
    allowed = max(Fraction(UNIT.error(0.5)), Fraction(0.01) * abs(Fraction(truth)))
    assert abs(Fraction(estimate) - Fraction(truth)) <= allowed


@given(st.lists(FINITE, max_size=50), st.integers(0, 50))
def test_histogram_split_anywhere_adds_up_exactly(values: list[float], cut: int) -> None:
    whole = Histogram.of(values, LOG)
    assert Histogram.of(values[:cut], LOG) + Histogram.of(values[cut:], LOG) == whole
    assert whole.n == len(values)


def test_histogram_other_bins_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Histogram.of([0.5], UNIT) + Histogram.of([0.5], LOG)


def test_histogram_negative_count_is_refused_and_zero_count_dropped() -> None:
    assert Histogram(UNIT, {3: 0, 4: 1}) == Histogram(UNIT, {4: 1})
    with pytest.raises(ValueError, match="negative"):
        Histogram(UNIT, {3: -1})


def test_quantile_without_values_is_no_answer() -> None:
    assert Histogram.of([], LOG).quantile(0.5) is None
    assert pooled_quantiles([], [0.1, 0.9]) == [None, None]


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_quantile_outside_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="quantiles"):
        Histogram.of([1.0], LOG).quantile(q)


def test_log_bins_another_processor_feature_set_gives_the_same_numbers() -> None:
    # numpy picks other code for other processors; the numbers must not depend on it.
    code = (
        "import numpy as np; from triageops.stats.histogram import LogBins; "
        "x = np.random.default_rng(5).lognormal(0, 40, 20_000); print(hash(LogBins().index(x).tobytes()))"
    )
    plain = {**os.environ, "PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": ""}
    reduced = {**plain, "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"}
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True, check=True
        )
        for env in (plain, reduced)
    ]
    assert runs[0].stdout == runs[1].stdout
