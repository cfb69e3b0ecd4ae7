"""p95 of latency per request, users as clusters, by turning the distribution function round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.simulations import rules
from benchmarks.simulations.arms import Array, Ints
from benchmarks.simulations.rules import ALPHA, ALWAYS_VALID, LOOKS
from benchmarks.simulations.scenario import Goal, Scenario
from experiments.analysis.inference import LEAST_UNITS, Plan
from triageops.stats.comoments import CoMoments
from triageops.stats.histogram import LogBins
from triageops.stats.quantile import CdfPoint, QuantileEstimate, cdf_point, difference, quantile_sequence
from triageops.stats.sequential import confidence_sequence

LEVEL = 0.95
CANDIDATES = 48
PER_DAY = 40
BINS = LogBins()


@dataclass(frozen=True, slots=True)
class Requests:
    """user, day and value of each request."""

    user: Ints
    day: Ints
    value: Array

    def until(self, day: int, is_in_arm: NDArray[np.bool_]) -> "Requests":
        kept = (self.day <= day) & is_in_arm[self.user]
        return Requests(self.user[kept], self.day[kept], self.value[kept])


def requests(rng: Generator) -> Requests:
    """40 new users a day, back on 30 % of the days; a user is slow (log, standard deviation 0.4) or not."""
    n = PER_DAY * LOOKS
    came = np.repeat(np.arange(LOOKS), PER_DAY)
    active = (rng.random((n, LOOKS)) < 0.3) & (np.arange(LOOKS) >= came[:, None])
    active[np.arange(n), came] = True
    user, day = np.nonzero(active)
    value = np.exp(rng.normal(0, 0.4, n)[user] + rng.normal(6.5, 0.5, user.size))
    return Requests(user, day, value)


def points(found: Requests) -> list[CdfPoint]:
    """The distribution at the bins around the quantile."""
    index = BINS.index(found.value)
    bins, counts = np.unique(index, return_counts=True)
    at = int(np.searchsorted(counts.cumsum(), LEVEL * index.size))
    kept = bins[max(0, at - CANDIDATES // 2) :][:CANDIDATES]
    _, unit = np.unique(found.user, return_inverse=True)
    asked = np.bincount(unit).astype(float)
    rows = np.zeros((asked.size, kept.size + 1))
    np.add.at(rows, (unit, np.searchsorted(kept, index)), 1.0)
    below = rows.cumsum(axis=1)[:, : kept.size]
    made = [
        cdf_point(BINS.upper(bin_index), [CoMoments.of(np.column_stack([below[:, i], asked]))], [1.0])
        for i, bin_index in enumerate(kept.tolist())
    ]
    return [point for point in made if point is not None]


def sequence(found: Requests, plan: Plan | None, share: float) -> tuple[QuantileEstimate | None, Plan | None]:
    """One arm's quantile; its plan is made at the first look. share: of the planned units that are there."""
    n = np.unique(found.user).size
    if n < LEAST_UNITS:
        return None, plan
    made = points(found)
    crossing = next((point for point in made if point.share >= LEVEL), None)
    if crossing is None or crossing.se <= 0:
        return None, plan
    # Each arm at half the error rate: together their difference keeps all of it.
    alpha = ALPHA / 2
    plan = plan or Plan.at_first_look(se=crossing.se, n=n, planned_n=round(n / share), alpha=alpha)
    multiplier = confidence_sequence(0.0, crossing.se, plan.tau2, alpha).high / crossing.se
    return quantile_sequence(made, LEVEL, multiplier), plan


def p95(rng: Generator) -> Mapping[str, int | None]:
    found = requests(rng)
    is_treated = rng.random(PER_DAY * LOOKS) < 0.5
    plans: dict[bool, Plan | None] = {True: None, False: None}
    claims: list[bool] = []
    naive: list[bool] = []
    for day in range(LOOKS):
        made: dict[bool, QuantileEstimate | None] = {}
        for arm in (True, False):
            part = found.until(day, is_treated == arm)
            made[arm], plans[arm] = sequence(part, plans[arm], (day + 1) / LOOKS)
        treated, control = made[True], made[False]
        is_claim = False
        if treated is not None and control is not None:
            both = difference(treated, control)
            is_claim = both.low > 0 or both.high < 0
        claims.append(is_claim)
        naive.append(_by_request([found.until(day, is_treated == arm).value for arm in (True, False)]))
    return {
        ALWAYS_VALID: rules.first(LOOKS, claims.__getitem__),
        "order statistics by request, at every look": rules.first(LOOKS, naive.__getitem__),
    }


def _by_request(values: Sequence[Array]) -> bool:
    """Whether two quantiles differ by 1.96 standard errors that take requests for independent."""
    middles, errors = [], []
    for arm in values:
        half = rules.z_of(0.975) * np.sqrt(LEVEL * (1 - LEVEL) / arm.size)
        low, middle, high = np.quantile(arm, [LEVEL - half, LEVEL, min(1.0, LEVEL + half)])
        middles.append(middle)
        errors.append((high - low) / 2)
    return bool(abs(middles[0] - middles[1]) > np.hypot(*errors))


def scenarios() -> list[Scenario]:
    goals = {ALWAYS_VALID: Goal(ALPHA)}
    return [Scenario("p95", "p95 of latency, users return on 30 % of the days", p95, 150, LOOKS, goals)]
