"""Amounts: heavy-tailed cost, with past values (CUPED), and totals that go on growing."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.random import Generator

from benchmarks.simulations import rules
from benchmarks.simulations.arms import arriving_looks, look, split
from benchmarks.simulations.rules import ALPHA, ALWAYS_VALID, GROUP_SEQUENTIAL, LOOKS, Looks
from benchmarks.simulations.scenario import Goal, Scenario

UNITS = 10_000
SIGMA = 2.0
CAP = float(np.exp(SIGMA * rules.z_of(0.99)))
"""One unit in a hundred costs more."""
MOST = Goal(ALPHA)


def cost(rng: Generator, share: float, cap: float | None) -> Mapping[str, int | None]:
    """Lognormal: with sigma 2 the dearest one percent of the units makes more than a third of the total."""
    values = rng.lognormal(0, SIGMA, UNITS)
    if cap is not None:
        values = np.minimum(values, cap)
    is_treated = rng.random(UNITS) < share
    looks = Looks(arriving_looks(values[:, None], is_treated, LOOKS), UNITS)
    return (
        rules.ours(looks)
        | {"confidence sequence, plug-in variance": rules.plug_in_sequence(looks)}
        | rules.elsewhere(looks)
    )


def with_past(rng: Generator, units: int, rho: float, effect: float = 0.0) -> tuple[Looks, Looks]:
    """The same units plain and adjusted; three in ten have no past, and another level."""
    past = rng.normal(10, 1, units)
    is_new = rng.random(units) < 0.3
    is_treated = rng.random(units) < 0.5
    values = rho * (past - 10) + np.sqrt(1 - rho**2) * rng.normal(0, 1, units) - 0.5 * is_new
    values += effect * is_treated
    rows = np.column_stack([values, np.where(is_new, 0.0, past), is_new])
    return (
        Looks(arriving_looks(rows[:, :1], is_treated, LOOKS), units),
        Looks(arriving_looks(rows, is_treated, LOOKS), units),
    )


def growing(rng: Generator, late_per_day: int = 40) -> Mapping[str, int | None]:
    """Totals for each user, open-ended; half of the users came on the first day, the others one day after another."""
    users = 2 * LOOKS * late_per_day
    came = np.concatenate([np.zeros(users // 2, dtype=int), np.repeat(np.arange(LOOKS), late_per_day)])
    is_treated = rng.random(users) < 0.5
    habit = rng.gamma(50.0, 0.02, users)
    days = np.arange(LOOKS)
    amounts = rng.poisson(habit[:, None] * (days >= came[:, None]))
    totals = amounts.cumsum(axis=1).astype(float)
    window = 7
    at_window = np.minimum(came + window - 1, LOOKS - 1)
    first_week = totals[np.arange(users), at_window]
    open_ended, cohort = [], []
    for day in range(LOOKS):
        is_there = came <= day
        open_ended.append(look(split([totals[:, day]], is_there, is_treated), "mean"))
        cohort.append(look(split([first_week], came + window - 1 <= day, is_treated), "mean"))
    looks = Looks(open_ended, users)
    mature = int((came + window - 1 < LOOKS).sum())
    fractions = tuple(float(x) for x in np.cumsum(np.bincount(came, minlength=LOOKS)) / users)
    return (
        rules.ours(looks)
        | {
            "group sequential, first 7 days of a user": rules.group_sequential(Looks(cohort, mature)),
            "group sequential in users, not information": rules.by_units(looks, fractions),
        }
        | rules.elsewhere(looks)
    )


def adjusted(rng: Generator) -> Mapping[str, int | None]:
    _, looks = with_past(rng, UNITS, 0.7)
    return rules.ours(looks) | rules.elsewhere(looks)


def scenarios() -> list[Scenario]:
    ours = dict.fromkeys((ALWAYS_VALID, GROUP_SEQUENTIAL), MOST)
    found = []
    for name, share in (("50/50", 0.5), ("90/10", 0.1)):
        for cap, words in ((CAP, "capped at its 99th percentile"), (None, "not capped")):
            key = f"cost-{'capped' if cap else 'raw'}-{name}"
            title = f"cost, lognormal σ = 2, {words}, {name}"
            found.append(Scenario(key, title, partial(cost, share=share, cap=cap), 1_000, LOOKS, ours))
    goals = ours | {"group sequential, first 7 days of a user": MOST}
    return [
        *found,
        Scenario(
            "cuped", "mean, CUPED with ρ = 0.7, 30 % of units without a past", adjusted, 1_000, LOOKS, ours
        ),
        Scenario("growing", "totals that grow, half of the users from day 1", growing, 1_000, LOOKS, goals),
    ]
