"""Shares: frequent and rare events, even and uneven arms, a guardrail, and a change of weights."""

import math
from collections.abc import Callable, Mapping
from functools import partial

from numpy.random import Generator

from benchmarks.simulations import rules
from benchmarks.simulations.arms import Cells, Ints, binary, binary_looks, look, sizes
from benchmarks.simulations.rules import ALPHA, ALWAYS_VALID, GROUP_SEQUENTIAL, LOOKS, Look, Looks
from benchmarks.simulations.scenario import Goal, Scenario
from triageops.stats.exact import log_e_rare, log_e_rare_greater

UNITS = 20_000
EXACT = "exact e-test"
RATES = {"30%": 0.3, "2%": 0.02, "0.5%": 0.005}
MOST = Goal(ALPHA)


def equal_rates(rng: Generator, share: float, rate: float) -> Mapping[str, int | None]:
    n_t, n_c = sizes(rng, round(UNITS / LOOKS), share, LOOKS)
    x_t, x_c = rng.binomial(n_t, rate), rng.binomial(n_c, rate)
    looks = Looks(binary_looks(n_t, x_t, n_c, x_c), int(n_t.sum() + n_c.sum()), is_proportion=True)
    found = rules.ours(looks)
    if rate < 0.1:
        found[EXACT] = exact(x_t, x_c, share)
    return (
        found
        | {"confidence sequence, plug-in variance": rules.plug_in_sequence(looks)}
        | rules.elsewhere(looks)
    )


def exact(x_t: Ints, x_c: Ints, share: float) -> int | None:
    treated, control = x_t.cumsum().tolist(), x_c.cumsum().tolist()
    return rules.first(len(treated), lambda k: log_e_rare(treated[k], control[k], share) >= -math.log(ALPHA))


def guardrail(rng: Generator, share: float, rate: float) -> Mapping[str, int | None]:
    """Complaints: more of them is harm."""
    n_t, n_c = sizes(rng, round(UNITS / LOOKS), share, LOOKS)
    x_t, x_c = rng.binomial(n_t, rate), rng.binomial(n_c, rate)
    looks = Looks(binary_looks(n_t, x_t, n_c, x_c), int(n_t.sum() + n_c.sum()), is_proportion=True)
    treated, control = x_t.cumsum().tolist(), x_c.cumsum().tolist()
    return {
        "guardrail": rules.guardrail(looks, is_higher_better=False),
        "guardrail, exact": rules.first(
            LOOKS, lambda k: log_e_rare_greater(treated[k], control[k], share) >= -math.log(ALPHA)
        ),
        "z > 1.645 at every look": rules.peeking(looks, rules.z_of(0.95), is_one_sided=True),
    }


def weight_change(rng: Generator, per_look: int = 360) -> Mapping[str, int | None]:
    """Half and half on the first day at a base rate of 60 %, then 90/10 at 75 %; no effect on any day."""
    strata, pooled = [], []
    cells: Cells = {"t": [binary(0, 0), binary(0, 0)], "c": [binary(0, 0), binary(0, 0)]}
    for day in range(LOOKS):
        epoch, share, rate = (0, 0.5, 0.6) if day == 0 else (1, 0.9, 0.75)
        n = int(rng.binomial(per_look, share))
        for arm, units in (("t", n), ("c", per_look - n)):
            cells[arm][epoch] += binary(units, int(rng.binomial(units, rate)))
        strata.append(look(cells, "proportion"))
        pooled.append(look(_pooled(cells), "proportion"))
    ours = Looks(strata, per_look * LOOKS, is_proportion=True)
    naive = Looks(pooled, per_look * LOOKS, is_proportion=True)
    return rules.ours(ours) | {
        "one look, epochs": rules.one_look(ours, rules.z_of(0.975)),
        "one look, pooled": rules.one_look(naive, rules.z_of(0.975)),
        "confidence sequence, pooled": rules.plug_in_sequence(naive),
        "z > 1.96 at every look, pooled": rules.peeking(naive, rules.z_of(0.975)),
    }


def _pooled(cells: Cells) -> Cells:
    return {arm: [strata[0] + strata[1]] for arm, strata in cells.items()}


def one_run(rng: Generator, effect: float, rate: float = 0.3, units: int = 10_000) -> list[Look]:
    """The looks of one experiment, for a picture."""
    n_t, n_c = sizes(rng, units // LOOKS, 0.5, LOOKS)
    return binary_looks(n_t, rng.binomial(n_t, rate + effect), n_c, rng.binomial(n_c, rate))


def scenarios() -> list[Scenario]:
    found = []
    for name, share in (("50/50", 0.5), ("90/10", 0.1)):
        for percent, rate in RATES.items():
            goals = dict.fromkeys([ALWAYS_VALID, GROUP_SEQUENTIAL] + [EXACT] * (rate < 0.1), MOST)
            found.append(
                _scenario(
                    f"rate-{percent}-{name}",
                    f"event rate {percent.replace('%', ' %')}, {name}",
                    partial(equal_rates, share=share, rate=rate),
                    goals,
                )
            )
    for name, share in (("50/50", 0.5), ("90/10", 0.1)):
        goals = dict.fromkeys(("guardrail", "guardrail, exact"), MOST)
        title = f"one-sided guardrail, rate 2 %, {name}"
        found.append(_scenario(f"guardrail-{name}", title, partial(guardrail, share=share, rate=0.02), goals))
    goals = dict.fromkeys((ALWAYS_VALID, GROUP_SEQUENTIAL, "one look, epochs"), MOST)
    title = "weights 50/50 → 90/10 after day 1, base rate 60 % → 75 %"
    return [*found, _scenario("weight-change", title, weight_change, goals)]


def _scenario(
    key: str,
    title: str,
    draw: Callable[[Generator], Mapping[str, int | None]],
    goals: Mapping[str, Goal],
) -> Scenario:
    return Scenario(key, title, draw, 2_000, LOOKS, goals)
