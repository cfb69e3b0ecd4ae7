"""Streams of samples and metrics for the tests of monitor kinds."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from monitoring.monitors.kind import Metric
from monitoring.monitors.sample import Sample
from triageops.stats.histogram import Bins, Histogram, UniformBins
from triageops.stats.moments import Moments

LENGTH = 300
SCORE = UniformBins(0.0, 1.0)
QUALITY = Metric("quality", bounds=(0.0, 1.0), is_higher_better=True, shape="score")
ERRORS = Metric("errors", bounds=(0.0, 1.0), is_higher_better=False, shape="share")
SUCCESSES = Metric("successes", bounds=(0.0, 1.0), is_higher_better=True, shape="share")
COST = Metric("cost", is_higher_better=False, shape="amount")
ARRIVALS = Metric("arrivals", shape="volume")
TRIAGE = Metric("triage", bounds=(-2.0, 2.0), shape="score")


def sampled(number: int, values: Sequence[float] | np.ndarray, bins: Bins = SCORE) -> Sample:
    """What bucket `number` shows of these values."""
    if not len(values):
        return Sample(number * LENGTH, LENGTH)
    histogram = {bins.name: dict(Histogram.of(values, bins).counts)}
    return Sample.of_row(number * LENGTH, LENGTH, Moments.of(values), histogram)


def shared(number: int, successes: int, n: int) -> Sample:
    return Sample.of_shares(number * LENGTH, LENGTH, successes, n)


def beta(rng: Generator, n: int, shift: float = 0.0) -> np.ndarray:
    """Beta(8, 2) scores; shift in standard deviations."""
    return np.clip(rng.beta(8, 2, n) + 0.12 * shift, 0.0, 1.0)


def against(sample: Sample, control: Sample) -> Sample:
    return replace(sample, against=control)
