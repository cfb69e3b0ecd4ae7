"""Sample ratio mismatch: 60 daily checks of 300 new units over three arms that should be 50/30/20."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.random import Generator

from benchmarks.simulations import rules
from benchmarks.simulations.scenario import Goal, Scenario
from triageops.stats.exact import srm
from triageops.stats.segments import chi_square_survival

CHECKS = 60
PER_DAY = 300
SHARES = (50.0, 30.0, 20.0)
OURS = "sequential, E ≥ 1000"


def checks(rng: Generator, real: Sequence[float]) -> Mapping[str, int | None]:
    daily = rng.multinomial(PER_DAY, np.array(real) / sum(real), CHECKS)
    counts = daily.cumsum(axis=0)
    expected = counts.sum(axis=1, keepdims=True) * np.array(SHARES) / sum(SHARES)
    chi_square = ((counts - expected) ** 2 / expected).sum(axis=1).tolist()
    rows = counts.tolist()
    p = [chi_square_survival(x, len(SHARES) - 1) for x in chi_square]
    return {
        OURS: rules.first(CHECKS, lambda day: srm([(rows[day], SHARES)]).is_mismatch),
        "chi-square, p < 0.001 at every check": rules.first(CHECKS, lambda day: p[day] < 0.001),
        "chi-square, p < 0.01 at every check": rules.first(CHECKS, lambda day: p[day] < 0.01),
        "chi-square, p < 0.05 at every check": rules.first(CHECKS, lambda day: p[day] < 0.05),
    }


def scenarios() -> list[Scenario]:
    return [
        Scenario(
            "srm-none",
            "SRM check, no mismatch",
            partial(checks, real=SHARES),
            20_000,
            CHECKS,
            {OURS: Goal(0.001)},
        ),
        Scenario(
            "srm-45/32/23",
            "SRM check, 45/32/23 instead of 50/30/20",
            partial(checks, real=(45.0, 32.0, 23.0)),
            4_000,
            CHECKS,
            {OURS: Goal(0.99, is_most=False)},
        ),
    ]
