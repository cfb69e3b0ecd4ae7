"""Published tables, as quoted with their papers in the documentation of R's spc 0.7."""

import math

import numpy as np
import pytest

from triageops.stats.spread_charts import (
    variance_cusum_arl,
    variance_cusum_h,
    variance_ewma_arl,
    variance_ewma_limit,
)


# Knoth (2006), table 1, column coll63: k = 1.46, h = 10, df = 1.
@pytest.mark.parametrize(
    ("sd", "printed"),
    [
        (1.0, 260.7369),
        (1.1, 90.1319),
        (1.2, 43.6867),
        (1.3, 26.2916),
        (1.4, 18.1231),
        (1.5, 13.6268),
        (2.0, 5.9904),
    ],
)
def test_variance_cusum_equals_knoth(sd: float, printed: float) -> None:
    # Four decimals; at 1.3 exact is 26.29165, on the edge of the rounding.
    assert variance_cusum_arl(sd, k=1.46, h=10, df=1) == pytest.approx(printed, abs=6e-5)


# Knoth (2006), table 4: weight 0.15, df = 4, barrier at 1.
@pytest.mark.parametrize(
    ("sd", "printed"),
    [
        (1.0, "100.0"),
        (1.01, "85.3"),
        (1.03, "63.5"),
        (1.05, "48.7"),
        (1.1, "27.9"),
        (1.2, "12.9"),
        (1.3, "7.86"),
        (1.4, "5.57"),
        (1.5, "4.30"),
        (2.0, "2.11"),
    ],
)
def test_variance_ewma_with_a_barrier_equals_knoth(sd: float, printed: str) -> None:
    found = variance_ewma_arl(sd, weight=0.15, limit=2.4831, df=4, barrier=1.0)
    assert found == pytest.approx(float(printed), abs=0.5001 * 10 ** -len(printed.partition(".")[2]))


def test_variance_ewma_with_a_barrier_at_an_edge_of_rounding_is_knoths_but_for_the_last_digit() -> None:
    # Printed 73.4; exactly 73.3489 with the limit's printed digits, 73.3497 with the limit that gives 100.
    found = variance_ewma_arl(1.02, weight=0.15, limit=2.4831, df=4, barrier=1.0)
    assert found == pytest.approx(73.4, abs=0.052)


def test_variance_ewma_without_a_barrier_equals_knoth() -> None:
    # Knoth (2005), table 1: 249.9997; simulated there 249.9892 +- 0.008.
    found = variance_ewma_arl(1.0, weight=0.025, limit=1.661865, df=1)
    assert found == pytest.approx(249.9997, abs=6e-5)


def test_variance_charts_designs_invert_the_run_length() -> None:
    h = variance_cusum_h(260.7369, k=1.46, df=1)
    assert h == pytest.approx(10, abs=1e-5)
    limit = variance_ewma_limit(100.0, weight=0.15, df=4, barrier=1.0)
    assert limit == pytest.approx(2.4831, abs=1e-4)


def test_variance_charts_head_start_and_many_degrees_of_freedom() -> None:
    assert variance_cusum_arl(1.5, k=1.46, h=10, df=1, head_start=5) < variance_cusum_arl(
        1.5, k=1.46, h=10, df=1
    )
    rng = np.random.default_rng(62)
    lengths = []
    for _ in range(1500):
        c = count = 0.0
        while c <= 0.6:
            c, count = max(0.0, c + rng.chisquare(19) / 19 * 1.1 - 1.15), count + 1
        lengths.append(count)
    error = float(np.std(lengths)) / math.sqrt(len(lengths))
    assert np.mean(lengths) == pytest.approx(
        variance_cusum_arl(math.sqrt(1.1), k=1.15, h=0.6, df=19), abs=4 * error
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: variance_cusum_arl(0.0, k=1, h=3, df=1),
        lambda: variance_cusum_arl(1.0, k=0, h=3, df=1),
        lambda: variance_cusum_arl(1.0, k=1, h=3, df=0.5),
        lambda: variance_ewma_arl(1.0, weight=1.0, limit=3, df=1),
        lambda: variance_ewma_arl(1.0, weight=0.1, limit=3, df=1, barrier=1.1),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
