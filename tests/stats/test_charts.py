"""Published tables, to the digits printed, as quoted with their papers in the documentation of R's spc 0.7.

Where the exact value, converged to 1e-10 here with panels of a third of the width as well, is not the printed one,
the test says so and by how much.
"""

import math
from itertools import pairwise

import numpy as np
import pytest

from triageops.stats import charts
from triageops.stats.charts import (
    crosier_arl,
    cusum_arl,
    cusum_h,
    ewma_arl,
    ewma_limit,
    matched,
    poisson_cusum_arl,
    siegmund_arl,
)


def assert_printed(value: float, printed: str) -> None:
    """Equal to the last digit printed: "168" is 167.5 to 168.5."""
    digits = len(printed.partition(".")[2])
    assert abs(value - float(printed)) <= 0.5001 * 10**-digits, f"{value} is not {printed}"


# Brook, Evans (1972), section 4.3: k = 0.5, h = 3, one-sided. Theirs is a Markov chain, here exact: 117.596, 3.749.
@pytest.mark.parametrize(("shift", "printed"), [(0.0, 117.59), (1.5, 3.75)])
def test_cusum_one_sided_equals_brook_and_evans(shift: float, printed: float) -> None:
    assert cusum_arl(shift, k=0.5, h=3) == pytest.approx(printed, abs=0.006)


# Waldmann (1986), tables 3, 1 and 5; its 117.4 is a bound: Brook and Evans, and spc, have 117.6.
@pytest.mark.parametrize(("shift", "printed"), [(-0.5, "1963"), (0.5, "17.35")])
def test_cusum_one_sided_equals_waldmann(shift: float, printed: str) -> None:
    assert_printed(cusum_arl(shift, k=0.5, h=3), printed)


def test_cusum_two_sided_equals_waldmann() -> None:
    # Table 6 has 65.4; exactly 65.4646.
    assert cusum_arl(-0.2, k=0.6, h=3, sides=2) == pytest.approx(65.4, abs=0.07)


# Lucas, Crosier (1982), table 1: k = 0.5, h = 4, two-sided; without and with a head start of h / 2.
@pytest.mark.parametrize(
    ("shift", "printed", "printed_fir"),
    [
        (0.0, "168", "149"),
        (0.25, "74.2", "62.7"),
        (0.5, "26.6", "20.1"),
        (0.75, "13.3", "8.97"),
        (1.0, "8.38", "5.29"),
        (1.5, "4.75", "2.86"),
        (2.0, "3.34", "2.01"),
        (2.5, "2.62", "1.59"),
        (4.0, "1.71", "1.07"),
        (5.0, "1.31", "1.01"),
    ],
)
def test_cusum_two_sided_equals_lucas_and_crosier(shift: float, printed: str, printed_fir: str) -> None:
    assert_printed(cusum_arl(shift, k=0.5, h=4, sides=2), printed)
    assert_printed(cusum_arl(shift, k=0.5, h=4, sides=2, head_start=2), printed_fir)


def test_cusum_two_sided_at_three_sd_is_lucas_and_crosiers_but_for_the_last_digit() -> None:
    assert_printed(cusum_arl(3.0, k=0.5, h=4, sides=2), "2.19")
    # Printed 1.32, exactly 1.3254.
    assert cusum_arl(3.0, k=0.5, h=4, sides=2, head_start=2) == pytest.approx(1.32, abs=0.006)


# Vance (1986), table 1: k = 0, h = 10, one-sided. At -0.25 it has 2071.51; exact is 2071.572, 3e-5 more.
@pytest.mark.parametrize(
    ("shift", "printed"),
    [
        (-0.125, "400.28"),
        (0.0, "124.66"),
        (0.125, "59.30"),
        (0.25, "36.71"),
        (0.5, "20.37"),
        (0.75, "14.06"),
        (1.0, "10.75"),
    ],
)
def test_cusum_without_reference_value_equals_vance(shift: float, printed: str) -> None:
    assert_printed(cusum_arl(shift, k=0, h=10), printed)


def test_cusum_drifting_away_equals_vance_to_4_digits() -> None:
    assert cusum_arl(-0.25, k=0, h=10) == pytest.approx(2071.51, rel=4e-5)


def test_cusum_equals_the_sas_manual_to_7_digits() -> None:
    # SAS/QC manual (1999), k = 0.25, h = 8, shift 2.5. SAS prints 4.1500836225; exact is 4.1500837261.
    assert cusum_arl(2.5, k=0.25, h=8) == pytest.approx(4.1500836225, abs=2e-7)
    assert cusum_arl(2.5, k=0.25, h=8, head_start=0.1) == pytest.approx(4.1061588131, abs=2e-7)
    assert cusum_arl(2.5, k=0.25, h=8, sides=2) == pytest.approx(4.1500826715, abs=2e-6)


# Crosier (1986), table 3: k = 0.5, h = 3.73.
@pytest.mark.parametrize(
    ("shift", "printed"),
    [
        (0.0, "168"),
        (0.25, "70.7"),
        (0.5, "25.1"),
        (0.75, "12.5"),
        (1.0, "7.92"),
        (1.5, "4.49"),
        (2.0, "3.17"),
        (3.0, "2.09"),
    ],
)
def test_crosier_equals_his_table(shift: float, printed: str) -> None:
    assert_printed(crosier_arl(shift, k=0.5, h=3.73), printed)
    assert crosier_arl(-shift, k=0.5, h=3.73) == pytest.approx(crosier_arl(shift, k=0.5, h=3.73), rel=1e-12)


# The project's own table of two-sided charts: run length in control, k, h and the run length at 0.25, 0.5 and 1 sd.
TABLE = [
    (168, 0.125, "9.434", ("54.8", "24.7", "11.5")),
    (168, 0.25, "6.530", ("58.4", "23.0", "9.4")),
    (168, 0.5, "4.002", ("74.3", "26.6", "8.4")),
    (370, 0.125, "12.083", ("75.1", "31.8", "14.6")),
    (370, 0.25, "8.008", ("83.8", "28.8", "11.4")),
    (370, 0.5, "4.774", ("121.6", "35.3", "9.9")),
    (500, 0.125, "13.150", ("83.4", "34.7", "15.8")),
    (500, 0.25, "8.585", ("94.8", "31.1", "12.2")),
    (500, 0.5, "5.071", ("145.5", "38.9", "10.5")),
    (1000, 0.125, "15.697", ("103", "41.4", "18.7")),
    (1000, 0.25, "9.931", ("123", "36.4", "14.0")),
    (1000, 0.5, "5.757", ("217", "47.9", "11.9")),
    (2016, 0.125, "18.363", ("124", "48.6", "21.7")),
    (2016, 0.25, "11.310", ("156", "41.9", "15.8")),
    (2016, 0.5, "6.455", ("321", "58.1", "13.3")),
    (8640, 0.125, "24.055", ("170", "63.7", "28.2")),
    (8640, 0.25, "14.200", ("236", "53.5", "19.7")),
    (8640, 0.5, "7.907", ("701", "82.3", "16.2")),
    (86_400, 0.125, "33.219", ("243", "88.2", "38.7")),
    (86_400, 0.25, "18.798", ("399", "71.9", "25.8")),
    (86_400, 0.5, "10.209", ("2304", "129", "20.8")),
    (1e6, 0.125, "43.008", ("321", "114", "49.9")),
    (1e6, 0.25, "23.695", ("618", "91.5", "32.3")),
    (1e6, 0.5, "12.657", ("7957", "191", "25.7")),
]


@pytest.mark.parametrize(("arl", "k", "h", "delays"), TABLE)
def test_cusum_h_two_sided_equals_the_table(arl: float, k: float, h: str, delays: tuple[str, ...]) -> None:
    found = cusum_h(arl, k=k, sides=2)
    # One unit of the last digit: the table was rounded from 4 digits.
    assert found == pytest.approx(float(h), abs=0.0011)
    assert cusum_arl(0.0, k=k, h=found, sides=2) == pytest.approx(arl, rel=1e-8)
    for shift, printed in zip((0.25, 0.5, 1.0), delays, strict=True):
        assert_printed(cusum_arl(shift, k=k, h=found, sides=2), printed)


# Lucas, Saccucci (1990), table 3: weight 0.5 and limit 3.071, weight 0.03 and limit 2.437.
@pytest.mark.parametrize(
    ("shift", "fast", "slow"),
    [
        (0.0, "500", "500"),
        (0.25, "255", "76.7"),
        (0.5, "88.8", "29.3"),
        (0.75, "35.9", "17.6"),
        (1.0, "17.5", "12.6"),
        (1.5, "6.53", "8.07"),
        (2.0, "3.63", "5.99"),
        (2.5, "2.50", "4.80"),
        (3.0, "1.93", "4.03"),
        (4.0, "1.34", "3.11"),
        (5.0, "1.07", "2.55"),
    ],
)
def test_ewma_equals_lucas_and_saccucci(shift: float, fast: str, slow: str) -> None:
    assert_printed(ewma_arl(shift, weight=0.5, limit=3.071), fast)
    assert_printed(ewma_arl(shift, weight=0.03, limit=2.437), slow)


# Crowder (1987), table 1: limit 2.
@pytest.mark.parametrize(
    ("shift", "fast", "slow"),
    [
        (0.0, "26.45", "127.53"),
        (0.25, "20.12", "43.94"),
        (0.5, "11.89", "18.97"),
        (0.75, "7.29", "11.64"),
        (1.0, "4.91", "8.38"),
        (4.0, "1.05", "2.15"),
    ],
)
def test_ewma_equals_crowder(shift: float, fast: str, slow: str) -> None:
    assert_printed(ewma_arl(shift, weight=0.5, limit=2), fast)
    assert_printed(ewma_arl(shift, weight=0.05, limit=2), slow)


def test_ewma_at_two_sd_is_crowders_but_for_the_last_digit() -> None:
    assert_printed(ewma_arl(2.0, weight=0.05, limit=2), "4.04")
    # Printed 1.94, exactly 1.94522.
    assert ewma_arl(2.0, weight=0.5, limit=2) == pytest.approx(1.94, abs=0.006)


def test_ewma_equals_the_sas_manual_and_waldmann() -> None:
    assert_printed(ewma_arl(1.0, weight=0.25, limit=3), "11.154267016")  # SAS/QC manual (1999)
    # Waldmann (1986), table 1: limits +-2 of the statistic itself.
    assert_printed(ewma_arl(0.0, weight=0.75, limit=2 * math.sqrt(1.25 / 0.75)), "104.0")
    assert_printed(ewma_arl(0.0, weight=0.5, limit=2 * math.sqrt(1.5 / 0.5)), "1952")


def test_ewma_limit_inverts_and_weight_1_is_shewharts_chart() -> None:
    limit = ewma_limit(370.4, weight=1.0)
    assert limit == pytest.approx(3, abs=1e-4)
    assert ewma_arl(0.0, weight=0.05, limit=ewma_limit(8640, weight=0.05)) == pytest.approx(8640)
    assert ewma_limit(8640, weight=0.05) == pytest.approx(3.585, abs=6e-4)  # the project's table of detectors
    assert ewma_arl(1.0, weight=0.1, limit=2.7, head_start=1.35) < ewma_arl(1.0, weight=0.1, limit=2.7)


# Lucas (1985), tables 2 to 5: k = 0.25, h = 10, mean 0.25; head start h / 2.
@pytest.mark.parametrize(
    ("direction", "head_start", "printed"),
    [("up", 0, "438"), ("up", 5, "333"), ("down", 0, "437"), ("down", 5, "318")],
)
def test_poisson_cusum_equals_lucas(direction: charts.Direction, head_start: int, printed: str) -> None:
    found = poisson_cusum_arl(0.25, k=0.25, h=10, head_start=head_start, direction=direction)
    assert_printed(found, printed)


def test_poisson_cusum_that_needs_one_event_waits_geometrically() -> None:
    # Any count of 1 or more reaches h at once: 1 / P(x > 0).
    assert poisson_cusum_arl(0.3, k=0.5, h=0.5) == pytest.approx(1 / -math.expm1(-0.3), rel=1e-12)


def test_cusum_simulated_runs_agree() -> None:
    rng = np.random.default_rng(61)
    lengths = []
    for _ in range(2000):
        up = down = count = 0.0
        while max(up, down) <= 4:
            x = rng.normal(0.5)
            up, down, count = max(0.0, up + x - 0.5), max(0.0, down - x - 0.5), count + 1
        lengths.append(count)
    error = float(np.std(lengths)) / math.sqrt(len(lengths))
    assert np.mean(lengths) == pytest.approx(cusum_arl(0.5, k=0.5, h=4, sides=2), abs=4 * error)


@pytest.mark.parametrize(
    ("shift", "k", "h"), [(0.0, 0.5, 5), (0.5, 0.5, 5), (1.0, 0.25, 12), (-0.25, 0.125, 20)]
)
def test_siegmunds_approximation_is_near(shift: float, k: float, h: float) -> None:
    assert siegmund_arl(shift, k=k, h=h) == pytest.approx(cusum_arl(shift, k=k, h=h), rel=0.03)


def test_cusum_finer_panels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cusum_arl(-0.25, k=0, h=10), ewma_arl(0.3, weight=0.05, limit=3.0), crosier_arl(0.2, k=0.3, h=6)
    monkeypatch.setattr(charts, "_PANEL_WIDTH", 1.0)
    after = cusum_arl(-0.25, k=0, h=10), ewma_arl(0.3, weight=0.05, limit=3.0), crosier_arl(0.2, k=0.3, h=6)
    assert after == pytest.approx(before, rel=1e-11)


def test_cusum_h_grows_with_the_run_length() -> None:
    lines = [cusum_h(arl, k=0.25) for arl in (5, 50, 500, 5000)]
    assert all(a < b for a, b in pairwise(lines))


@pytest.mark.parametrize(
    "call",
    [
        lambda: cusum_arl(0.0, k=0.5, h=0),
        lambda: cusum_arl(0.0, k=0.5, h=4, head_start=5),
        lambda: cusum_arl(0.0, k=-0.5, h=4, sides=2),
        lambda: cusum_arl(0.0, k=0.5, h=4, sides=3),  # type: ignore[arg-type]
        lambda: crosier_arl(0.0, k=-0.5, h=4),
        lambda: cusum_h(1.1, k=0.5),
        lambda: ewma_arl(0.0, weight=0, limit=3),
        lambda: ewma_arl(0.0, weight=0.5, limit=3, head_start=4),
        lambda: poisson_cusum_arl(0.0, k=1, h=3),
        lambda: poisson_cusum_arl(1.0, k=1, h=3, direction="left"),  # type: ignore[arg-type]
        lambda: poisson_cusum_arl(1.0, k=0.001, h=99),
        lambda: matched(lambda x: x + 2, 1.0, start=1.0),
    ],
)
def test_misuse_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
