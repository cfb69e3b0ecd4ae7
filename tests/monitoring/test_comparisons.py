from datetime import timedelta

import numpy as np
import pytest

from monitoring.chart_cells import ChartCell, chart_cells
from monitoring.comparisons import compare
from monitoring.models import Marker
from tests.monitoring.factories import bucket_at, close, make_incident
from tests.monitoring.learners import LEARNT, fill, learnt
from triageops.stats.histogram import Histogram, LogBins, UniformBins

SCORE = UniformBins(0.0, 1.0)


def test_chart_cells_have_round_edges_and_shares_that_sum_to_one() -> None:
    random = np.random.default_rng(1)
    now = Histogram.of(np.clip(random.normal(0.6, 0.1, 5_000), 0, 1), SCORE)
    before = Histogram.of(np.clip(random.normal(0.7, 0.1, 5_000), 0, 1), SCORE)
    cells = chart_cells(now, before)
    assert 10 <= len(cells) <= 28
    assert sum(cell.current for cell in cells) == pytest.approx(1)
    assert sum(cell.reference for cell in cells) == pytest.approx(1)
    assert all(round(edge * 20, 6).is_integer() for cell in cells for edge in (cell.low, cell.high) if edge)


def test_chart_cells_of_a_long_tail_are_wider_where_values_are_larger() -> None:
    values = np.random.default_rng(1).lognormal(0, 2, 20_000)
    histogram = Histogram.of(values, LogBins())
    cells = chart_cells(histogram, histogram)
    assert 10 <= len(cells) <= 30
    assert [cell.low for cell in cells][:1] == [None]
    assert sum(cell.current for cell in cells) == pytest.approx(1)
    widths = [cell.high / cell.low for cell in cells if cell.low and cell.high]
    assert max(widths) < 4


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_chart_cells_of_any_size_and_sign_hold_everything(scale: float) -> None:
    random = np.random.default_rng(3)
    a, b = (Histogram.of(random.normal(0, scale, 3_000), LogBins()) for _ in range(2))
    cells = chart_cells(a, b)
    assert 10 <= len(cells) <= 30
    assert sum(cell.current for cell in cells) == pytest.approx(1)


def test_chart_cells_of_a_share_are_its_two_values() -> None:
    now, before = Histogram(SCORE, {0: 3, 201: 1}), Histogram(SCORE, {0: 1, 201: 1})
    assert chart_cells(now, before) == (ChartCell(0.0, 0.0, 0.75, 0.5), ChartCell(1.0, 1.0, 0.25, 0.5))


def test_chart_cells_keep_bounds_apart_from_what_is_near_them() -> None:
    random = np.random.default_rng(2)
    one = Histogram.of(np.concatenate([random.uniform(0.2, 0.999, 900), np.ones(100)]), SCORE)
    assert chart_cells(one, one)[-1] == ChartCell(1.0, 1.0, 0.1, 0.1)


@pytest.mark.django_db
def test_comparison_of_what_was_learnt_is_within_chance() -> None:
    fill(0, LEARNT + 100)
    monitor = learnt()
    close(LEARNT + 99)
    found = compare(monitor, "all", bucket_at(LEARNT + 100))
    assert found is not None
    assert found.psi is not None
    assert found.ks is not None
    assert found.wasserstein is not None
    assert (found.current.n, found.reference.n, found.is_since_onset) == (2_000, 6_000, False)
    for measure in (found.psi, found.ks, found.wasserstein):
        assert 0 <= measure.value < 1.3 * measure.null_quantile


@pytest.mark.django_db
def test_comparison_after_a_shift_has_its_size() -> None:
    fill(0, LEARNT)
    fill(LEARNT, LEARNT + 100, mean=0.6)
    monitor = learnt()
    close(LEARNT + 99)
    found = compare(monitor, "all", bucket_at(LEARNT + 100))
    assert found is not None
    assert found.psi is not None
    assert found.ks is not None
    assert found.wasserstein is not None
    assert found.wasserstein.value == pytest.approx(1, abs=0.1)
    assert found.psi.value > 10 * found.psi.null_quantile
    median = next(pair for pair in found.quantiles if pair.q == 0.5)
    assert (median.current, median.reference) == pytest.approx((0.6, 0.7), abs=0.01)


@pytest.mark.django_db
def test_comparison_during_an_incident_is_of_its_time_alone() -> None:
    fill(0, LEARNT + 100)
    monitor = learnt()
    close(LEARNT + 99)
    make_incident(monitor, onset_at=bucket_at(LEARNT + 90), opened_at=bucket_at(LEARNT + 95))
    found = compare(monitor, "all", bucket_at(LEARNT + 100))
    assert found is not None
    assert (found.current.n, found.is_since_onset) == (200, True)


@pytest.mark.django_db
def test_comparison_leaves_out_what_a_marker_covers() -> None:
    fill(0, LEARNT + 100)
    monitor = learnt()
    close(LEARNT + 99)
    start = bucket_at(LEARNT + 10)
    Marker.objects.create(kind="deploy", name="4.2", starts_at=start, ends_at=start + timedelta(minutes=50))
    found = compare(monitor, "all", bucket_at(LEARNT + 100))
    assert found is not None
    assert found.current.n == 1_800


@pytest.mark.django_db
def test_comparison_of_a_slice_and_of_the_rest_is_of_their_records() -> None:
    for model, mean in (("a", 0.7), ("b", 0.8), ("c", 0.6)):
        fill(0, LEARNT + 50, mean=mean, model=model)
    monitor = learnt(split_by=["model"], max_slices=2)
    close(LEARNT + 49)
    now = bucket_at(LEARNT + 50)
    named, rest = compare(monitor, "model=a", now), compare(monitor, "other", now)
    assert named is not None
    assert rest is not None
    assert named.current.mean == pytest.approx(0.7, abs=0.01)
    assert rest.current.mean == pytest.approx(0.6, abs=0.01)
    assert rest.reference.mean == pytest.approx(0.6, abs=0.01)


@pytest.mark.django_db
def test_comparison_with_another_variant_is_of_the_same_time() -> None:
    for variant in ("a", "b"):
        fill(0, LEARNT, variant=variant)
        fill(LEARNT, LEARNT + 50, mean=0.5, variant=variant)
    monitor = learnt(where={"variant": "a"}, reference_mode="variant", control={"variant": "b"})
    close(LEARNT + 49)
    found = compare(monitor, "all", bucket_at(LEARNT + 50))
    assert found is not None
    assert found.wasserstein is not None
    assert found.is_compared
    assert found.reference.mean is not None
    assert found.reference.mean < 0.68
    assert found.reference.mean == pytest.approx(found.current.mean, abs=0.01)
    assert found.wasserstein.value < 0.2


@pytest.mark.django_db
def test_comparison_is_none_without_records_or_reference() -> None:
    fill(0, LEARNT)
    monitor = learnt()
    assert compare(monitor, "all", bucket_at(LEARNT)) is None
    assert compare(monitor, "model=z", bucket_at(LEARNT)) is None
    monitor.reference = None
    assert compare(monitor, "all", bucket_at(LEARNT)) is None
