"""Users who come back: ratios for each request, with and without past values, and p95 of latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.simulations import rules
from benchmarks.simulations.arms import Array, binary, look, split
from benchmarks.simulations.rules import ALPHA, ALWAYS_VALID, GROUP_SEQUENTIAL, LOOKS, Looks
from benchmarks.simulations.scenario import Goal, Scenario

PER_DAY = 40
PAST_DAYS = 14
MOST = Goal(ALPHA)


@dataclass(frozen=True, slots=True)
class Users:
    """successes, requests: (users, looks), totals up to each look. past: (successes, requests, is new)."""

    successes: Array
    requests: Array
    past: tuple[Array, Array, Array]
    is_treated: NDArray[np.bool_]


def users(rng: Generator, activity: float) -> Users:
    """40 new users a day, each with a success rate of their own (logit, standard deviation 0.9)."""
    n = PER_DAY * LOOKS
    came = np.repeat(np.arange(LOOKS), PER_DAY)
    rate = 1 / (1 + np.exp(-rng.normal(0.4, 0.9, n)))
    active = (rng.random((n, LOOKS)) < activity) & (np.arange(LOOKS) >= came[:, None])
    active[np.arange(n), came] = True
    requests = active * (1 + rng.poisson(1.0, (n, LOOKS)))
    successes = rng.binomial(requests, rate[:, None])
    is_new = rng.random(n) < 0.3
    earlier = ~is_new * (1 + rng.poisson(2 * activity * PAST_DAYS, n))
    return Users(
        successes.cumsum(axis=1).astype(float),
        requests.cumsum(axis=1).astype(float),
        (rng.binomial(earlier, rate).astype(float), earlier.astype(float), is_new.astype(float)),
        rng.random(n) < 0.5,
    )


def per_request(rng: Generator, activity: float) -> Mapping[str, int | None]:
    found = users(rng, activity)
    by_user, by_request, adjusted = [], [], []
    for day in range(LOOKS):
        successes, requests = found.successes[:, day], found.requests[:, day]
        is_there = requests > 0
        by_user.append(look(split([successes, requests], is_there, found.is_treated), "ratio"))
        cells = split([successes, requests, *found.past], is_there, found.is_treated)
        adjusted.append(look(cells, "ratio", is_adjusted=True))
        totals = {
            arm: [binary(int(requests[own].sum()), int(successes[own].sum()))]
            for arm, own in (("t", found.is_treated), ("c", ~found.is_treated))
        }
        by_request.append(look(totals, "proportion"))
    planned = PER_DAY * LOOKS
    ours, cuped = Looks(by_user, planned), Looks(adjusted, planned)
    naive = Looks(by_request, planned, is_proportion=True)
    return rules.ours(ours) | {
        f"{ALWAYS_VALID}, CUPED": rules.always_valid(cuped),
        f"{GROUP_SEQUENTIAL}, CUPED": rules.group_sequential(cuped),
        "one look, by request": rules.one_look(naive, rules.z_of(0.975)),
        "confidence sequence, by request": rules.plug_in_sequence(naive),
        "z > 1.96 at every look, by request": rules.peeking(naive, rules.z_of(0.975)),
        "z > 1.96 at every look, by user": rules.peeking(ours, rules.z_of(0.975)),
    }


def scenarios() -> list[Scenario]:
    names = (ALWAYS_VALID, GROUP_SEQUENTIAL, f"{ALWAYS_VALID}, CUPED", f"{GROUP_SEQUENTIAL}, CUPED")
    return [
        Scenario(key, title, partial(per_request, activity=activity), 800, LOOKS, dict.fromkeys(names, MOST))
        for key, title, activity in (
            ("returning-daily", "success per request, users return every day", 1.0),
            ("returning-30%", "success per request, users return on 30 % of the days", 0.3),
        )
    ]
