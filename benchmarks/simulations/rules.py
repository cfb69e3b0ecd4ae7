"""When a rule claims an effect: the product's own functions, and beside them what is done elsewhere.

A rule reads the looks of one experiment in order and returns the number of the first look that claims, from 0, or None.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from experiments.analysis import inference
from experiments.analysis.inference import Plan, Timed
from triageops.stats.compare import Contrast
from triageops.stats.group_sequential import boundaries, spent
from triageops.stats.sequential import log_e_value

ALPHA = 0.05
LOOKS = 28
ELSEWHERE_SAMPLE = 5_000
"""Units of both arms for which others tune a confidence sequence by default."""

ALWAYS_VALID = "always valid"
GROUP_SEQUENTIAL = "group sequential"


@dataclass(frozen=True, slots=True)
class Look:
    """compared: None while there is no answer. unit_count: of all arms, beside what was planned."""

    compared: Contrast | None
    unit_count: int


@dataclass(frozen=True, slots=True)
class Looks:
    """All looks of one comparison. planned: units of all arms at the end."""

    looks: Sequence[Look]
    planned: int
    is_proportion: bool = False

    def ready(self) -> Iterator[tuple[int, Contrast, int]]:
        """Number, comparison and units of each look that the product would judge."""
        for number, look in enumerate(self.looks):
            compared = look.compared
            if compared is not None and inference.is_ready(compared, is_proportion=self.is_proportion):
                yield number, compared, look.unit_count

    def plan(self, alpha: float = ALPHA, sides: int = 2) -> Plan | None:
        """As the product makes it, at the first look that is ready."""
        for _, compared, unit_count in self.ready():
            n = compared.n_treatment + compared.n_control
            planned = max(1, round(self.planned * n / unit_count))
            return Plan.at_first_look(
                se=inference.tested_se(compared), n=n, planned_n=planned, alpha=alpha, sides=sides
            )
        return None


def always_valid(looks: Looks, alpha: float = ALPHA) -> int | None:
    plan, p = looks.plan(alpha), 1.0
    if plan is None:
        return None
    for number, compared, _ in looks.ready():
        p = inference.finding(compared, plan, former_p=p).p
        if p <= alpha:
            return number
    return None


def group_sequential(looks: Looks, alpha: float = ALPHA) -> int | None:
    plan = looks.plan(alpha)
    past: list[Timed] = []
    if plan is None:
        return None
    for number, compared, unit_count in looks.ready():
        found = inference.finding(compared, plan)
        now = inference.timed(found.information, plan, planned_share=unit_count / looks.planned, past=past)
        if now is None:
            continue
        if abs(found.z) >= _least_boundary(now.clock, alpha):
            boundary = inference.boundary_of(past, now, alpha)
            if boundary is not None and abs(found.z) >= boundary:
                return number
        past.append(now)
    return None


def guardrail(looks: Looks, *, is_higher_better: bool, alpha: float = ALPHA) -> int | None:
    plan = looks.plan(alpha, sides=1)
    if plan is None:
        return None
    for number, compared, _ in looks.ready():
        if inference.harm(compared, plan, is_higher_better=is_higher_better, margin=0.0).is_shown:
            return number
    return None


def peeking(looks: Looks, critical: float, *, is_one_sided: bool = False) -> int | None:
    """A test for one look, at every look."""
    for number, compared, _ in looks.ready():
        z = compared.effect / compared.se
        if (z if is_one_sided else abs(z)) > critical:
            return number
    return None


def one_look(looks: Looks, critical: float) -> int | None:
    """The fixed design: only the last look counts."""
    compared = looks.looks[-1].compared
    is_claim = compared is not None and abs(compared.effect / compared.null_se) > critical
    return len(looks.looks) - 1 if is_claim else None


def plug_in_sequence(looks: Looks, alpha: float = ALPHA) -> int | None:
    """The same confidence sequence with each arm's own variance, tuned for 5 000 units, as others do it."""
    plan = None
    for number, compared, _ in looks.ready():
        n = compared.n_treatment + compared.n_control
        plan = plan or Plan.at_first_look(se=compared.se, n=n, planned_n=ELSEWHERE_SAMPLE, alpha=alpha)
        if log_e_value(compared.effect, compared.se, plan.tau2) >= -math.log(alpha):
            return number
    return None


def by_units(looks: Looks, fractions: tuple[float, ...], alpha: float = ALPHA) -> int | None:
    """Group sequential with the share of planned units taken for the share of information."""
    bounds = _boundaries(fractions, alpha)
    for number, compared, _ in looks.ready():
        bound = bounds[number]
        if bound is not None and abs(compared.effect / compared.null_se) >= bound:
            return number
    return None


def elsewhere(looks: Looks) -> dict[str, int | None]:
    """The two common ways to look every day."""
    return {
        "z > 1.96 at every look": peeking(looks, z_of(0.975)),
        "chance to win > 95 % at every look": peeking(looks, z_of(0.95)),
    }


def ours(looks: Looks) -> dict[str, int | None]:
    return {ALWAYS_VALID: always_valid(looks), GROUP_SEQUENTIAL: group_sequential(looks)}


def first(looks: int, is_claim: Callable[[int], bool]) -> int | None:
    return next((number for number in range(looks) if is_claim(number)), None)


def z_of(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _least_boundary(clock: float, alpha: float) -> float:
    """No boundary is below it, so most looks need no integration: P(|Z| >= b) is at most what is spent so far."""
    return -z_of(spent(clock, inference.SPENT_SHARE * alpha, "power2") / 2) - 1e-6


_boundaries = functools.cache(boundaries)
