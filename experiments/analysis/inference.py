"""From one difference to what may be claimed of it, at this look and at every look. Pure: no database, no clock.

Two designs. *Always valid*: an e-value in information time, a p-value that only falls, a confidence sequence; look when you
like, stop when you like. *Group sequential*: alpha t^2 is spent up to information fraction t, and a look counts when the
information has grown by COUNTED_GROWTH of the plan; more power at the planned sample, and none after it.

The test uses the standard error under "no difference" (pooled for proportions); what was tuned at the first look stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from triageops.stats.compare import Contrast
from triageops.stats.group_sequential import boundaries
from triageops.stats.interval import Interval
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
COUNTED_GROWTH = 0.02
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


def finding(contrast: Contrast, plan: Plan, *, former_p: float = 1.0) -> Finding:
    """What this look says. former_p: the smallest always-valid p of the looks before."""
    se, effect = contrast.null_se, contrast.effect
    log_e = log_e_value(effect, se, plan.tau2)
    sequence = confidence_sequence(effect, contrast.interval_se, plan.tau2, plan.alpha)
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
    log_e = log_e_value_greater(effect, contrast.null_se, plan.tau2, null=margin)
    low = lower_bound(effect, contrast.interval_se, plan.tau2, plan.alpha)
    return Harm(log_e, low, log_e >= -math.log(plan.alpha))


def counts_as_look(past: Sequence[float], fraction: float) -> bool:
    """Whether a group sequential look at this information fraction is worth some of the error that may be spent."""
    if past and past[-1] >= 1:
        return False
    return fraction >= 1 or fraction >= (past[-1] if past else 0.0) + COUNTED_GROWTH


def next_boundary(past: Sequence[float], fraction: float, alpha: float) -> float | None:
    """|z| that this look needs; None when it decides nothing. past: fractions of the looks that counted."""
    if not counts_as_look(past, fraction):
        return None
    return boundaries([*past, fraction], alpha)[-1]


def repeated_interval(effect: float, se: float, boundary: float) -> Interval:
    """The interval that goes with a group sequential look: effects that its boundary would not reject."""
    return Interval(effect - boundary * se, effect + boundary * se)
