"""Five arms and three metrics: the chance that anything at all is claimed."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.random import Generator

from benchmarks.simulations import rules
from benchmarks.simulations.arms import Array, Ints
from benchmarks.simulations.rules import ALPHA, GROUP_SEQUENTIAL, LOOKS, Look, Looks
from benchmarks.simulations.scenario import Goal, Scenario
from experiments.analysis import inference
from experiments.analysis.inference import Finding, Plan
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Kind, contrast, estimate
from triageops.stats.multiple import e_bh, holm

ARMS = 5
UNITS = 15_000
METRICS: tuple[Kind, ...] = ("proportion", "mean", "mean")
HOLM = "always valid, Holm"
E_BH = "always valid, e-BH"
ALL_SEQUENTIAL = f"{GROUP_SEQUENTIAL}, α / 12"


def five_arms(rng: Generator) -> Mapping[str, int | None]:
    """Success, cost and score of the same units; nothing differs."""
    comparisons = compared(rng)
    alpha = ALPHA / len(comparisons)
    p, log_e = np.ones((LOOKS, len(comparisons))), np.full((LOOKS, len(comparisons)), -np.inf)
    for i, looks in enumerate(comparisons):
        plan = looks.plan(alpha)
        for number, found in () if plan is None else findings(looks, plan):
            p[number:, i], log_e[number, i] = found.p, found.log_e
    return {
        HOLM: rules.first(LOOKS, lambda k: min(holm(p[k].tolist())) <= ALPHA),
        E_BH: rules.first(LOOKS, lambda k: bool(e_bh(log_e[k].tolist(), ALPHA))),
        ALL_SEQUENTIAL: earliest(rules.group_sequential(looks, alpha) for looks in comparisons),
        "always valid, not corrected": earliest(map(rules.always_valid, comparisons)),
        "z > 1.96 at every look": earliest(rules.peeking(looks, rules.z_of(0.975)) for looks in comparisons),
    }


def findings(looks: Looks, plan: Plan) -> Iterator[tuple[int, Finding]]:
    p = 1.0
    for number, one, _ in looks.ready():
        found = inference.finding(one, plan, former_p=p)
        p = found.p
        yield number, found


def compared(rng: Generator) -> list[Looks]:
    """Each metric of each of four treatments with the control, over all looks."""
    arm = rng.integers(ARMS, size=UNITS)
    talent = rng.normal(0, 1, UNITS)
    values = (
        (rng.random(UNITS) < 1 / (1 + np.exp(-0.5 - talent))).astype(float),
        rng.lognormal(0, 1, UNITS),
        talent + rng.normal(0, 1, UNITS),
    )
    found = []
    for kind, column in zip(METRICS, values, strict=True):
        looks = list(_looks(kind, column, arm))
        is_proportion = kind == "proportion"
        found += [Looks([row[i] for row in looks], UNITS, is_proportion) for i in range(ARMS - 1)]
    return found


def _looks(kind: Kind, column: Array, arm: Ints) -> Iterator[list[Look]]:
    kept = {str(i): CoMoments.empty(1) for i in range(ARMS)}
    for part, owner in zip(np.array_split(column, LOOKS), np.array_split(arm, LOOKS), strict=True):
        kept = {key: cell + CoMoments.of(part[owner == int(key), None]) for key, cell in kept.items()}
        found = estimate({key: [cell] for key, cell in kept.items()}, kind, is_adjusted=False)
        unit_count = sum(cell.n for cell in kept.values())
        yield [Look(contrast(found, str(i), "0"), unit_count) for i in range(1, ARMS)]


def earliest(numbers: Iterator[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def scenarios() -> list[Scenario]:
    goals = dict.fromkeys((HOLM, E_BH, ALL_SEQUENTIAL), Goal(ALPHA))
    return [Scenario("5-arms", "5 arms × 3 metrics, any claim", five_arms, 400, LOOKS, goals)]
