import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops.stats.multiple import bonferroni, e_bh, holm

PS = st.lists(st.floats(0, 1), max_size=12)


# pip install statsmodels==0.15.0; multipletests([...], 0.05, "holm")[1].tolist()
def test_holm_fixed_values_equal_statsmodels() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005, 0.2, 0.01]) == pytest.approx((0.05, 0.09, 0.09, 0.03, 0.2, 0.05))


@given(PS)
def test_holm_any_values_keep_their_order_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, ours, cruder in zip(p, adjusted, bonferroni(p), strict=True):
        assert raw <= ours <= cruder <= 1
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_bonferroni_known_values_are_multiplied_and_capped() -> None:
    assert bonferroni([0.01, 0.5, 0.0]) == pytest.approx((0.03, 1.0, 0.0))
    assert bonferroni([]) == holm([]) == ()


def test_e_bh_worked_example_rejects_the_largest_k() -> None:
    # m = 4, q = 0.1: thresholds 40, 20, 13.3, 10 for k = 1 to 4; the third saves the second (15 < 20).
    assert e_bh([math.log(e) for e in (15, 3, 14, 90)], 0.1) == {0, 2, 3}
    assert e_bh([math.log(e) for e in (15, 3, 13, 90)], 0.1) == {3}
    assert e_bh([math.log(10 + 1e-9)] * 4, 0.1) == {0, 1, 2, 3}
    assert e_bh([math.log(9.9)] * 4, 0.1) == frozenset()


def test_e_bh_infinite_evidence_is_a_discovery_and_none_is_not() -> None:
    assert e_bh([-math.inf, math.inf, 5000.0], 0.05) == {1, 2}
    assert e_bh([], 0.05) == frozenset()


@given(st.lists(st.floats(-10, 20), min_size=1, max_size=10), st.sampled_from([0.01, 0.05, 0.3]))
def test_e_bh_any_evidence_equals_bh_on_inverted_e_values(log_e: list[float], q: float) -> None:
    """By definition it is Benjamini and Hochberg's procedure on 1 / e."""
    p = [math.exp(-x) for x in log_e]
    thresholds = [x for x in p if x <= q * sum(y <= x for y in p) / len(p) * (1 - 1e-12)]
    limit = max(thresholds, default=-1.0)
    assert e_bh(log_e, q) >= {i for i, x in enumerate(p) if x <= limit}
    assert all(p[i] <= q * (1 + 1e-12) for i in e_bh(log_e, q))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_corrections_wrong_p_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError):
        holm([0.5, wrong])
    with pytest.raises(ValueError):
        bonferroni([wrong])


def test_e_bh_misuse_is_refused() -> None:
    with pytest.raises(ValueError):
        e_bh([1.0, math.nan], 0.05)
    for q in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError):
            e_bh([1.0], q)
