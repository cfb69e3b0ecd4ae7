"""What three designs need, side by side: fixed (one look at the end), group sequential, always valid.

The variance is that of units, as the analysis will see it: a user with many answers is one unit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from experiments.analysis.inference import SPENT_SHARE
from experiments.analysis.question import is_proportion
from experiments.models import Design, Experiment, ExperimentMetric, Holdout
from experiments.planning.behaviour import LEAST, Behaviour, behaviour
from triageops.rest import InvalidInput
from triageops.stats.power import Effects, Sizes, detectable_effect, sample_size
from triageops.wording import number, share

Designs = TypeVar("Designs", Sizes, Effects)
MOST_UNITS = 10**12
LARGEST = 10.0
"""An effect of so many standard deviations of one unit needs no experiment."""
_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 56)


@dataclass(frozen=True)
class Needed:
    """Units in all arms together, and days, for one effect."""

    effect: float
    units: Sizes
    days: Sizes


@dataclass(frozen=True)
class Curve:
    """What can be found after so many days. effects: for a fixed, a group sequential and an always valid design."""

    days: int
    units: int
    effects: Effects


@dataclass(frozen=True)
class Plan:
    """behaviour, alpha of one comparison, what the effect needs (None without one), and what time can find."""

    behaviour: Behaviour
    alpha: float
    power: float
    needed: Needed | None
    curve: tuple[Curve, ...]


def plan(
    experiment: Experiment,
    metric: ExperimentMetric,
    *,
    effect: float | None,
    power: float = 0.8,
    now: datetime,
    is_anew: bool = False,
) -> Plan:
    """What the experiment needs; effect None: only what time can find.

    is_anew: from the facts as they are, not as they were up to ten minutes ago. Raises TooLittle, and InvalidInput for an
    effect or a power that no plan can be made for.
    """
    _refuse_no_effect(effect, metric)
    if not 0.5 <= power <= 0.99:
        raise InvalidInput("The power is out of range.", field="power", fix="Send 0.5 to 0.99.")
    seen = behaviour(experiment, metric, now, is_anew=is_anew)
    _refuse_too_large(effect, metric, seen)
    arms = _arms(experiment)
    family = max(1, experiment.metrics.exclude(role="guardrail").count() * arms.treatment_count)
    alpha = experiment.alpha / family
    taken_in = _share_taken_in(experiment)
    needed = None
    if effect is not None:
        units = _units(effect, seen, arms, alpha, power)
        needed = Needed(effect, units, _map(units, lambda n: _days_until(n / taken_in, seen)))
    curve = []
    for days in _DAYS:
        n = int(seen.reached(days) * taken_in)
        pair = int(n * arms.pair_share)
        if pair >= 2 * LEAST:
            curve.append(Curve(days, n, _effects(pair, seen, arms, alpha, power)))
    return Plan(seen, alpha, power, needed, tuple(curve))


@dataclass(frozen=True)
class _Arms:
    """pair_share: of all units, the control and the smallest treatment; treatment_share: of these, the treatment."""

    treatment_count: int
    treatment_share: float
    pair_share: float


def _arms(experiment: Experiment) -> _Arms:
    """The smallest arm decides how long it takes."""
    weights = list(experiment.variants.values_list("is_control", "weight_bp"))
    treated = [weight for is_control, weight in weights if not is_control and weight] or [5_000]
    control = next((weight for is_control, weight in weights if is_control and weight), 5_000)
    smallest = min(treated)
    return _Arms(len(treated), smallest / (smallest + control), (smallest + control) / 10_000)


def _days_until(units: float, seen: Behaviour) -> int:
    """Whole days until so many units have come, at the present pace."""
    if units > seen.reach[-1]:
        return math.ceil(seen.days + (units - seen.reach[-1]) / seen.new_per_day)
    return next(
        day for day in range(1, math.ceil(seen.days) + 1) if seen.reached(min(day, seen.days)) >= units
    )


def _share_taken_in(experiment: Experiment) -> float:
    """Of the units that the targeting fits, by coverage, layer and holdout."""
    holdout = Holdout.objects.first() if experiment.obeys_holdout else None
    kept = 1 - holdout.share_bp / 10_000 if holdout else 1.0
    layer = experiment.layer_share_bp / 10_000 if experiment.layer_id else 1.0
    return max(1, experiment.coverage_bp) / 10_000 * layer * max(kept, 0.0001)


def _refuse_no_effect(effect: float | None, metric: ExperimentMetric) -> None:
    if effect is not None and not 0 < effect < math.inf:
        raise InvalidInput(
            f"An effect of {effect:g} is no size to find: it must be above 0.",
            field="effect",
            fix=f"Send the smallest difference of {metric.name} that would be worth acting on, whichever its direction.",
        )


def _refuse_too_large(effect: float | None, metric: ExperimentMetric, seen: Behaviour) -> None:
    if effect is None:
        return
    if is_proportion(metric) and effect > (most := max(seen.value, 1 - seen.value)):
        raise InvalidInput(
            f"{metric.name} is {share(seen.value)} now: it cannot differ by {number(100 * effect)} points.",
            field="effect",
            fix=f"Send a difference of shares, at most {number(most)}; 0.02 is two points.",
        )
    deviation = math.sqrt(seen.variance)
    if effect > LARGEST * deviation:
        raise InvalidInput(
            f"An effect of {number(effect)} is more than {LARGEST:.0f} times the spread of one unit "
            f"({number(deviation)}): it needs no experiment.",
            field="effect",
            fix=f"Send a difference in the unit of {metric.name}.",
        )


def _units(effect: float, seen: Behaviour, arms: _Arms, alpha: float, power: float) -> Sizes:
    """Of all arms together."""
    try:
        sizes = _as_analysed(
            alpha,
            partial(
                sample_size,
                effect,
                variance_c=seen.variance,
                variance_t=seen.variance,
                share_t=arms.treatment_share,
                power=power,
            ),
        )
    except ValueError:
        sizes = None
    if sizes is None or sizes.always_valid > MOST_UNITS:
        raise InvalidInput(
            f"An effect of {effect:g} is too small for any sample.",
            field="effect",
            fix="Send a difference that would be worth acting on, in the metric's own unit.",
        )
    return _map(sizes, lambda n: math.ceil(n / arms.pair_share))


def _effects(pair: int, seen: Behaviour, arms: _Arms, alpha: float, power: float) -> Effects:
    return _as_analysed(
        alpha,
        partial(
            detectable_effect,
            pair,
            variance_c=seen.variance,
            variance_t=seen.variance,
            share_t=arms.treatment_share,
            power=power,
        ),
    )


def _as_analysed(alpha: float, ask: Callable[..., Designs]) -> Designs:
    """For all designs; the group sequential one spends less than alpha, as its looks do."""
    spending = ask(alpha=SPENT_SHARE * alpha)
    return replace(ask(alpha=alpha), group_sequential=spending.group_sequential)


def _map(sizes: Sizes, change: Callable[[int], int]) -> Sizes:
    return Sizes(change(sizes.fixed), change(sizes.group_sequential), change(sizes.always_valid))


def planned_units(found: Plan, design: str) -> int | None:
    """Units that the experiment's own design needs; None without an effect, and for a bandit."""
    if found.needed is None:
        return None
    return {
        Design.ALWAYS_VALID: found.needed.units.always_valid,
        Design.GROUP_SEQUENTIAL: found.needed.units.group_sequential,
    }.get(Design(design))
