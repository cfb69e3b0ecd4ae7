"""A real effect: what each rule finds with the sample that gives the fixed design a power of 80 %."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.random import Generator

from benchmarks.simulations import amounts, rules
from benchmarks.simulations.arms import binary_looks
from benchmarks.simulations.rules import GROUP_SEQUENTIAL, LOOKS, Looks
from benchmarks.simulations.scenario import Goal, Scenario
from triageops.stats.power import detectable_effect

UNITS = 10_000
RATE = 0.3
ENOUGH = Goal(0.75, is_most=False)


def smallest_effect(rate: float, share: float) -> float:
    """The rise of a rate that the fixed design finds with a power of 80 %; variances are those of both rates."""
    effect = 0.0
    for _ in range(20):
        raised = rate + effect
        effect = detectable_effect(
            UNITS, variance_c=rate * (1 - rate), variance_t=raised * (1 - raised), share_t=share
        ).fixed
    return effect


def proportion(rng: Generator, share: float, effect: float) -> Mapping[str, int | None]:
    per_look = np.diff(np.linspace(0, UNITS, LOOKS + 1).round().astype(int))
    n_t = rng.binomial(per_look, share)
    n_c = per_look - n_t
    x_t, x_c = rng.binomial(n_t, RATE + effect), rng.binomial(n_c, RATE)
    return _rules(Looks(binary_looks(n_t, x_t, n_c, x_c), UNITS, is_proportion=True))


def cuped(rng: Generator, effect: float) -> Mapping[str, int | None]:
    plain, adjusted = amounts.with_past(rng, UNITS, 0.7, effect)
    return _rules(plain) | {f"{rule}, CUPED": number for rule, number in rules.ours(adjusted).items()}


def _rules(looks: Looks) -> dict[str, int | None]:
    return rules.ours(looks) | {
        "one look at the end": rules.one_look(looks, rules.z_of(0.975)),
        "z > 1.96 at every look": rules.peeking(looks, rules.z_of(0.975)),
    }


def scenarios() -> list[Scenario]:
    goals = {GROUP_SEQUENTIAL: ENOUGH}
    found = []
    for name, share in (("50/50", 0.5), ("90/10", 0.1)):
        effect = smallest_effect(RATE, share)
        title = f"power: 30 % → {100 * (RATE + effect):.2f} %, {name}"
        found.append(
            Scenario(
                f"power-{name}", title, partial(proportion, share=share, effect=effect), 3_000, LOOKS, goals
            )
        )
    variance = 1 + 0.25 * 0.3 * 0.7
    effect = detectable_effect(UNITS, variance_c=variance, variance_t=variance).fixed
    title = "power: a mean, CUPED with ρ = 0.7"
    found.append(Scenario("power-cuped", title, partial(cuped, effect=effect), 1_000, LOOKS, goals))
    return found
