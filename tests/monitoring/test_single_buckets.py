"""One bucket by itself: what its surprise is worth, that nothing usual is a signal too often, and that spikes are found."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats

from monitoring.monitors import reference as references
from monitoring.monitors.drift import Detector, DistributionDrift, RateDrift, VolumeDrift, alone, anomaly
from monitoring.monitors.reference import RateReference, ScoreReference, Tolerance, VolumeReference
from monitoring.monitors.sample import Sample
from monitoring.monitors.single import (
    NO_EXTREMES,
    Extremes,
    Spread,
    most_surprising,
    surprise_of_count,
    surprise_of_share,
)
from triageops.stats.histogram import Bins, Histogram, LogBins, UniformBins
from triageops.stats.moments import Moments

LENGTH = 300
EXACT = Tolerance(shift=0.0, stretch=1.0, ratio=0.0)
WIDE, UNIT, POSITIVE = UniformBins(-12.0, 12.0), UniformBins(0.0, 1.0), LogBins(0.01)
LEARNT, LIVE = 600, 2_000

Values = Callable[[Generator, int, int], np.ndarray]
"""(generator, buckets, size) -> (buckets, size)."""


def alike(icc: float) -> Values:
    """N(0, 1) with an intraclass correlation."""
    return lambda rng, count, size: (
        math.sqrt(icc) * rng.normal(size=(count, 1)) + math.sqrt(1 - icc) * rng.normal(size=(count, size))
    )


def bursts(rng: Generator, count: int, size: int) -> np.ndarray:
    return rng.normal(size=(count, size)) + 1.5 * (rng.random((count, 1)) < 0.01)


STREAMS: dict[str, tuple[Bins, Values]] = {
    "normal": (WIDE, alike(0.0)),
    "Beta(8, 2)": (UNIT, lambda rng, count, size: rng.beta(8, 2, (count, size))),
    "Beta(10, 1)": (UNIT, lambda rng, count, size: rng.beta(10, 1, (count, size))),
    "latency": (POSITIVE, lambda rng, count, size: rng.lognormal(0, 0.8, (count, size))),
    "ICC 0.05": (WIDE, alike(0.05)),
    "ICC 0.2": (WIDE, alike(0.2)),
    "bursts": (WIDE, bursts),
}


def sampled(number: int, values: np.ndarray, scheme: Bins) -> Sample:
    inside = values.clip(scheme.low, scheme.high) if isinstance(scheme, UniformBins) else values
    counts = dict(Histogram.of(inside, scheme).counts)
    return Sample.of_row(number * LENGTH, LENGTH, Moments.of(inside), {scheme.name: counts})


def learnt(rng: Generator, name: str, size: int, count: int = LEARNT) -> DistributionDrift:
    scheme, values = STREAMS[name]
    samples = [sampled(number, one, scheme) for number, one in enumerate(values(rng, count, size))]
    return DistributionDrift(ScoreReference.learnt(samples, EXACT))


@pytest.mark.parametrize("name", STREAMS)
def test_single_buckets_of_a_stream_that_stays_keep_their_share_of_the_budget(name: str) -> None:
    """Each bucket may be a signal with a chance of 1 in 500: a fifth of a budget of one false alarm in 100 checks."""
    found, chance = 0, 1 / 500
    for seed in range(5):
        rng = np.random.default_rng(seed)
        detector = learnt(rng, name, 20)
        scheme, values = STREAMS[name]
        for number, one in enumerate(values(rng, LIVE, 20)):
            found += detector.single(sampled(LEARNT + number, one, scheme))[0] >= -math.log(chance)  # type: ignore[index]
    assert found <= stats.binom.ppf(0.99, 5 * LIVE, chance)


def test_single_buckets_of_shares_and_volumes_that_stay_keep_their_share_of_the_budget() -> None:
    found, chance = {"share": 0, "volume": 0}, 1 / 500
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shares = rng.beta(2, 18, LEARNT + LIVE)  # an intraclass correlation of 0.05
        several = [
            Sample.of_shares(number * LENGTH, LENGTH, int(rng.binomial(40, share)), 40)
            for number, share in enumerate(shares)
        ]
        counts = rng.negative_binomial(10, 10 / 60, LEARNT + LIVE)
        arrived = [Sample(number * LENGTH, LENGTH, int(count)) for number, count in enumerate(counts)]
        rate = RateDrift(RateReference.learnt(several[:LEARNT], EXACT))
        volume = VolumeDrift(VolumeReference.learnt(arrived[:LEARNT], EXACT))
        found["share"] += sum(rate.single(one)[0] >= -math.log(chance) for one in several[LEARNT:])  # type: ignore[index]
        found["volume"] += sum(volume.single(one)[0] >= -math.log(chance) for one in arrived[LEARNT:])  # type: ignore[index]
    assert max(found.values()) <= stats.binom.ppf(0.99, 5 * LIVE, chance)


@pytest.mark.parametrize("icc", [0.05, 0.2])
@pytest.mark.parametrize(("size", "count"), [(20, 1_000), (200, 1_000), (3_000, 300)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_spike_is_found_in_its_own_bucket_however_alike_its_records_are(
    icc: float, size: int, count: int, sign: int
) -> None:
    """15.6 nats: one false alarm in 1.2 million buckets, which bets to the power of a bucket's worth never reach."""
    rng = np.random.default_rng(2)
    detector = learnt(rng, f"ICC {icc:g}", size, count)
    noise = rng.normal(size=size) * math.sqrt(1 - icc)
    bucket = noise - noise.mean()
    log_e, label = detector.single(sampled(count, bucket + sign * 10 * math.sqrt(icc), WIDE)) or (0.0, "")
    assert log_e >= 15.6
    assert label == ("up" if sign > 0 else "down")
    found, _ = detector.single(sampled(count, bucket + sign * 2 * math.sqrt(icc), WIDE)) or (1.0, "")
    assert found == 0.0
    if icc == 0.2:
        nearer, _ = detector.single(sampled(count, bucket + sign * 6 * math.sqrt(icc), WIDE)) or (0.0, "")
        assert nearer >= 9.9


def test_spike_that_bets_cannot_tell_is_told_by_its_own_probability() -> None:
    rng = np.random.default_rng(1)
    detector = learnt(rng, "ICC 0.2", 3_000, 300)
    spike = sampled(300, rng.normal(size=3_000) + 10 * math.sqrt(0.2), WIDE)
    increments = detector.increments(spike)
    assert anomaly(increments)[0] < 15.6
    assert alone(detector, spike, increments) == detector.single(spike)
    assert alone(detector, spike, increments)[0] > 15.6


def test_burst_that_the_reference_has_shown_is_no_signal() -> None:
    rng = np.random.default_rng(3)
    usual = [sampled(number, one, WIDE) for number, one in enumerate(alike(0.0)(rng, LEARNT, 20))]
    bucket = rng.normal(size=20)
    burst = sampled(LEARNT, bucket + 2.0, WIDE)
    calm = DistributionDrift(ScoreReference.learnt(usual, EXACT))
    seen = DistributionDrift(
        ScoreReference.learnt([*usual[:-1], sampled(LEARNT - 1, bucket + 2.1, WIDE)], EXACT)
    )
    assert (calm.single(burst) or (0.0, ""))[0] > 20
    assert (seen.single(burst) or (1.0, ""))[0] == 0.0


def test_volume_that_is_five_times_as_large_or_zero_is_a_signal_by_itself() -> None:
    rng = np.random.default_rng(4)
    usual = [Sample(number * LENGTH, LENGTH, int(n)) for number, n in enumerate(rng.poisson(40, 1_000))]
    volume = VolumeDrift(VolumeReference.learnt(usual, Tolerance(ratio=0.2)))
    for n, label in ((200, "up"), (0, "down")):
        log_e, told = volume.single(Sample(10**6, LENGTH, n)) or (0.0, "")
        assert (log_e >= 15.6, told) == (True, label)
    for n in (30, 40, 55):
        assert (volume.single(Sample(10**6, LENGTH, n)) or (1.0, ""))[0] == 0.0
    only_up = VolumeDrift(volume.reference, "up")
    assert (only_up.single(Sample(10**6, LENGTH, 0)) or (1.0, ""))[0] == 0.0
    rare = [Sample(number * LENGTH, LENGTH, int(n)) for number, n in enumerate(rng.poisson(1, 1_000))]
    seldom = VolumeDrift(VolumeReference.learnt(rare, Tolerance(ratio=0.2)))
    assert (seldom.single(Sample(10**6, LENGTH, 0)) or (1.0, ""))[0] == 0.0


def test_metric_that_never_varied_leaves_single_buckets_to_the_bets() -> None:
    same = [sampled(number, np.full(20, 0.3), UNIT) for number in range(100)]
    detector = DistributionDrift(ScoreReference.learnt(same, EXACT))
    json.dumps(references.as_json(detector.reference), allow_nan=False)
    other = sampled(100, np.full(20, 0.4), UNIT)
    assert detector.single(other) is None
    assert alone(detector, other, detector.increments(other))[0] == anomaly(detector.increments(other))[0]
    none = [Sample(number * LENGTH, LENGTH, 0) for number in range(100)]
    silent = VolumeDrift(VolumeReference.learnt(none, EXACT))
    assert (silent.single(Sample(10**6, LENGTH, 3)) or (1.0, ""))[0] < 5


def test_share_that_jumps_in_one_bucket_is_a_signal_by_itself() -> None:
    rng = np.random.default_rng(5)
    usual = [
        Sample.of_shares(number * LENGTH, LENGTH, int(rng.binomial(3_000, share)), 3_000)
        for number, share in enumerate(rng.beta(1.9, 17.1, 1_000))
    ]
    rate = RateDrift(RateReference.learnt(usual, Tolerance(ratio=0.1)))
    spike = Sample.of_shares(10**6, LENGTH, 2_800, 3_000)
    assert alone(rate, spike, rate.increments(spike)) >= (15.6, "up")
    assert rate.single(Sample(10**6, LENGTH)) is None


def test_reference_without_what_single_buckets_need_leaves_them_to_the_bets() -> None:
    rng = np.random.default_rng(6)
    shares = [Sample.of_shares(n * LENGTH, LENGTH, int(rng.binomial(20, 0.2)), 20) for n in range(100)]
    counts = [Sample(n * LENGTH, LENGTH, int(rng.poisson(9))) for n in range(100)]
    detectors: list[tuple[Detector, Sample]] = []
    for one, sample in (
        (learnt(rng, "normal", 20).reference, sampled(0, rng.normal(size=20), WIDE)),
        (RateReference.learnt(shares, EXACT), shares[0]),
        (VolumeReference.learnt(counts, EXACT), counts[0]),
    ):
        state = json.loads(json.dumps(references.as_json(one)))
        assert references.from_json(state) == one
        del state["extremes"]
        state.pop("spread", None)
        old = references.from_json(state)
        assert old.extremes == NO_EXTREMES
        detector: Detector = (
            DistributionDrift(old)
            if isinstance(old, ScoreReference)
            else RateDrift(old)
            if isinstance(old, RateReference)
            else VolumeDrift(old)
        )
        detectors.append((detector, sample))
    for detector, sample in detectors:
        increments = detector.increments(sample)
        log_e, bet = anomaly(increments)
        assert alone(detector, sample, increments) == (log_e, detector.labels[bet])


@pytest.mark.parametrize(
    ("k", "n", "share", "icc"),
    [(10, 20, 0.1, 0.1), (400, 3_000, 0.1, 0.05), (10, 50, 0.02, 0.0), (20, 20, 0.3, 0.2)],
)
def test_surprise_of_a_share_is_the_tail_of_scipy_and_a_little_less(
    k: int, n: int, share: float, icc: float
) -> None:
    size = 1 / icc - 1 if icc else 0.0
    law = stats.betabinom(n, share * size, (1 - share) * size) if icc else stats.binom(n, share)
    found = surprise_of_share(k, n, share, icc, "up")
    assert -law.logsf(k - 1) - 0.35 <= found <= -law.logsf(k - 1) + 1e-9
    assert surprise_of_share(n - k, n, 1 - share, icc, "down") == pytest.approx(found)
    assert surprise_of_share(k, n, share, icc, "down") == 0.0


@pytest.mark.parametrize(
    ("k", "mean", "dispersion"),
    [
        (100, 20, 0.0),
        (100, 20, 0.05),
        (0, 20, 0.05),
        (3, 20, 0.0),
        (0, 20, 1.5),
        (5_000, 1_000, 0.1),
        (100, 1_000, 0.1),
    ],
)
def test_surprise_of_a_count_is_the_tail_of_scipy_and_a_little_less(
    k: int, mean: float, dispersion: float
) -> None:
    law = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)) if dispersion else stats.poisson(mean)
    exact = -law.logsf(k - 1) if k > mean else -law.logcdf(k)
    found = surprise_of_count(k, mean, dispersion, "up" if k > mean else "down")
    assert exact - 0.2 <= found <= exact + 1e-9
    assert surprise_of_count(k, mean, dispersion, "down" if k > mean else "up") == 0.0


def test_surprise_of_a_mean_is_students_tail_or_more_likely_a_gammas() -> None:
    even = Spread(1.0, 0.5, 50, (0.1,), skewness=-1.0)
    sd = math.sqrt(1 / 4 + 0.5 + 0.01)
    assert even.surprise(6.0, 4, 0, "up") == pytest.approx(-stats.t.logsf(6 / sd, 50))
    assert even.surprise(-6.0, 4, 0, "up") == 0.0
    leaning = Spread(1.0, 0.0, 10**6, (0.0,), skewness=0.8)
    exact = -stats.gamma(4 / 0.64, loc=-2 / 0.8, scale=0.8 / 2).logsf(6.0)
    assert exact - 1 <= leaning.surprise(6.0, 1, 0, "up") <= exact
    assert Spread(1.0, 0.5, 50, (0.1,), ignored=6.0).surprise(5.9, 4, 0, "up") == 0.0
    assert Spread(0.0, 0.0, 50, (0.0,)).surprise(0.1, 4, 0, "up") == 0.0
    assert math.isfinite(even.surprise(1e300, 4, 0, "up"))


def test_what_a_reference_has_shown_is_no_signal_and_heavy_tails_count_for_less() -> None:
    calm, wild = Extremes(3.0, 8.0, 1_000), Extremes(3.0, 28.0, 1_000)
    assert calm.guarded(8.0, "up") == 0.0
    assert calm.guarded(9.0, "up") == calm.guarded(9.0, "down") == 9.0
    assert wild.guarded(28.0, "up") == 0.0
    assert wild.guarded(4 * 28.0, "up") == pytest.approx(2 * math.log(1_000))
    assert most_surprising({"down": 0.0, "up": 9.0}, calm) == (9.0 - math.log(2), "up")
    assert most_surprising({"up": 9.0}, calm) == (9.0, "up")
