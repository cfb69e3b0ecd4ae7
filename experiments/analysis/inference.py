"""From one difference to what may be claimed of it, at this look and at every look. Pure: no database, no clock.

Two designs. *Always valid*: an e-value in information time, a p-value that only falls, a confidence sequence; look when you
like, stop when you like. *Group sequential*: SPENT_SHARE alpha t^2 is spent up to information fraction t, and a look counts when the
information has grown by COUNTED_GROWTH of the plan; more power at the planned sample, and none after it.

The test uses the standard error under "no difference" (see `tested_se`); what was tuned at the first look stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from triageops.stats.compare import Contrast
from triageops.stats.group_sequential import boundaries
from triageops.stats.sequential import (
    always_valid_p,
    confidence_sequence,
    log_e_value,
    log_e_value_greater,
    lower_bound,
    tuned_tau2,
)

LEAST_UNITS = 25
LEAST_EVENTS = 5
FIRST_COUNTED = 0.1
"""Before a tenth of the planned information, rare and heavy-tailed values are too skewed for bounds of four standard errors."""
COUNTED_GROWTH = 0.02
SPENT_SHARE = 0.95
"""Of alpha, by a group sequential design: the rest is for what the normal approximation and a guessed plan leave uncertain."""
DEFAULT_SAMPLE = 5_000
"""Units of the two arms at which an interval is tightest when nothing was planned."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison fixes at its first look. alpha: after correction. planned_information: 1 / se^2 at the end."""

    alpha: float
    tau2: float
    planned_information: float

    @classmethod
    def at_first_look(cls, *, se: float, n: int, planned_n: int | None, alpha: float, sides: int = 2) -> Plan:
        """Tuned for the information that the planned number of units (of the two arms) will bring."""
        information = (planned_n or DEFAULT_SAMPLE) / n / se**2
        return cls(alpha, tuned_tau2(alpha, information, sides=1 if sides == 1 else 2), information)


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison at one look. p: of this and all looks before. low, high: of the confidence sequence at alpha."""

    effect: float
    se: float
    information: float
    z: float
    log_e: float
    p: float
    low: float
    high: float


def is_ready(contrast: Contrast, *, is_proportion: bool) -> bool:
    """Whether the normal approximation may be trusted: enough units, and events where they are counted."""
    if min(contrast.n_treatment, contrast.n_control) < LEAST_UNITS:
        return False
    if not is_proportion:
        return True
    events = (
        contrast.n_treatment * contrast.value_treatment,
        contrast.n_control * contrast.value_control,
    )
    return (
        sum(events) >= 2 * LEAST_EVENTS
        and sum(
            (
                contrast.n_treatment * (1 - contrast.value_treatment),
                contrast.n_control * (1 - contrast.value_control),
            )
        )
        >= 2 * LEAST_EVENTS
    )


def tested_se(contrast: Contrast) -> float:
    """The standard error that is tested with: no smaller than the one with a variance that both arms share.

    A small arm that has not met its dear cases yet has a low mean and a low variance of its own, both at once; with that
    variance alone, lognormal costs (sigma 2) at 90/10 are claimed to differ in 10 % of experiments that have no effect.
    """
    return max(contrast.null_se, contrast.shared_se)


def finding(contrast: Contrast, plan: Plan, *, former_p: float = 1.0) -> Finding:
    """What this look says. former_p: the smallest always-valid p of the looks before."""
    se, effect = tested_se(contrast), contrast.effect
    log_e = log_e_value(effect, se, plan.tau2)
    sequence = confidence_sequence(effect, max(se, contrast.se), plan.tau2, plan.alpha)
    return Finding(
        effect=effect,
        se=se,
        information=1 / se**2,
        z=effect / se,
        log_e=log_e,
        p=min(former_p, always_valid_p(log_e)),
        low=sequence.low,
        high=sequence.high,
    )


@dataclass(frozen=True, slots=True)
class Harm:
    """One-sided evidence that a guardrail is worse by more than its margin. low: how much worse it is at least."""

    log_e: float
    low: float
    is_shown: bool


def harm(contrast: Contrast, plan: Plan, *, is_higher_better: bool, margin: float) -> Harm:
    """Harm is positive: a rise where lower is better, a fall where higher is."""
    effect = -contrast.effect if is_higher_better else contrast.effect
    se = tested_se(contrast)
    log_e = log_e_value_greater(effect, se, plan.tau2, null=margin)
    low = lower_bound(effect, max(se, contrast.se), plan.tau2, plan.alpha)
    return Harm(log_e, low, log_e >= -math.log(plan.alpha))


@dataclass(frozen=True, slots=True)
class Timed:
    """A group sequential look. clock: of the error that may be spent, 1 at the planned end. fraction: information / plan."""

    clock: float
    fraction: float


def timed(
    information: float, plan: Plan, *, planned_share: float | None, past: Sequence[Timed]
) -> Timed | None:
    """The look, if it counts as one; None while it is to wait. planned_share: units so far / planned units.

    The planned sample ends the experiment, not the information, which was guessed from the few units of the first look:
    one that is reached before waits for the sample, and one that is not reached by then is over all the same. How looks
    depend on each other is a matter of the information alone; where that did not grow, it is taken to grow as the clock
    did, which asks for more.
    """
    fraction = clock = information / plan.planned_information
    if planned_share is not None:
        if planned_share >= 1:
            clock = max(fraction, 1.0)
        elif fraction >= 1:
            return None
    if not past:
        return Timed(clock, fraction) if clock >= FIRST_COUNTED else None
    former = past[-1]
    if former.clock >= 1 or clock < min(1.0, former.clock + COUNTED_GROWTH):
        return None
    if fraction < former.fraction + COUNTED_GROWTH:
        fraction = former.fraction + max(COUNTED_GROWTH, clock - former.clock)
    return Timed(clock, fraction)


def boundary_of(past: Sequence[Timed], now: Timed, alpha: float) -> float | None:
    """|z| that this look needs; None when it decides nothing. past: the looks that counted before."""
    looks = [*past, now]
    clock = [one.clock for one in looks]
    return boundaries([one.fraction for one in looks], SPENT_SHARE * alpha, clock=clock)[-1]
