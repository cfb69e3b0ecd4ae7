"""How many units an experiment needs, from how this product's own units behaved in the last 30 days.

The variance is that of units, as the analysis will see it: a user with many answers is one unit. Three designs side by
side: fixed (one look at the end), group sequential, always valid.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import connection

from experiments.analysis.question import is_proportion
from experiments.exposures.facts import earlier
from experiments.models import Design, Experiment, ExperimentMetric, Holdout, MetricType, Per
from experiments.outcomes import Outcome, contribution
from triageops.rest import Conflict, InvalidInput
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Kind, estimate
from triageops.stats.power import Effects, Sizes, detectable_effect, sample_size

WINDOW = timedelta(days=30)
SAMPLE = 3_000
LEAST = 30


class TooLittle(Conflict):
    """There is nothing that could be planned from."""

    type = "too-little-to-plan"
    title = "There are too few units to plan from"


@dataclass(frozen=True)
class Behaviour:
    """How units behaved: value of the metric, variance of one unit in the metric's unit, squared; units a day."""

    unit_count: int
    value: float
    variance: float
    units_per_day: float


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


def behaviour(metric: ExperimentMetric, now: datetime) -> Behaviour:
    """From a sample of the units of the last 30 days. Raises TooLittle."""
    since = now - WINDOW
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT unit), min(occurred_at) FROM feedback_response"
            " WHERE occurred_at >= %s AND occurred_at < %s AND unit <> ''",
            [since, now],
        )
        total, first_at = cursor.fetchone()
        if total < LEAST:
            raise TooLittle(
                f"In the last 30 days {total} units were seen; planning needs {LEAST}.",
                fix="Record responses with their unit for a while.",
            )
        cursor.execute(
            "SELECT unit FROM feedback_response WHERE occurred_at >= %s AND occurred_at < %s AND unit <> ''"
            " GROUP BY unit ORDER BY md5(unit) LIMIT %s",
            [since, now, SAMPLE],
        )
        wanted = [(row[0], since, now) for row in cursor.fetchall()]
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        said = earlier(cursor, wanted, int(cursor.fetchone()[0]))
    outcome = Outcome(metric.source, metric.per == Per.RESPONSE, metric.worth or 0.0)
    rows = []
    for found in said.values():
        total_sum, divisor = map(sum, zip(*(contribution([outcome], one) for one in found), strict=True))
        # A unit without any value of the metric says nothing of it.
        if divisor:
            rows.append((total_sum, divisor))
    if len(rows) < LEAST:
        raise TooLittle(
            f"{len(rows)} units had a value of {metric.name} in the last 30 days; planning needs {LEAST}.",
            fix="Record what the metric is made of, or choose another one.",
        )
    value, variance = _moments(metric, rows)
    days = max(1.0, (now - max(first_at, since)) / timedelta(days=1))
    return Behaviour(len(rows), value, variance, total * len(rows) / max(1, len(said)) / days)


def _moments(metric: ExperimentMetric, rows: Sequence[tuple[float, float]]) -> tuple[float, float]:
    kind: Kind
    if metric.kind in {MetricType.RATIO, MetricType.QUANTILE}:
        kind, columns = "ratio", [list(row) for row in rows]
    elif is_proportion(metric):
        kind, columns = "proportion", [[float(row[0] > 0)] for row in rows]
    else:
        cap = math.inf if metric.cap is None else metric.cap
        kind, columns = "mean", [[min(row[0], cap)] for row in rows]
    found = estimate({"all": [CoMoments.of(columns)]}, kind, is_adjusted=False).arms["all"]
    if found.value is None or not found.standard_error:
        raise TooLittle(
            f"No value of {metric.name} was recorded in the last 30 days, or all were the same.",
            fix="Record what the metric is made of, or choose another one.",
        )
    return found.value, found.standard_error**2 * len(rows)


def plan(
    experiment: Experiment,
    metric: ExperimentMetric,
    *,
    effect: float | None,
    power: float = 0.8,
    now: datetime,
) -> Plan:
    """What the experiment needs; effect None: only what time can find. Raises TooLittle."""
    seen = behaviour(metric, now)
    weights = sorted(experiment.variants.values_list("is_control", "weight_bp"), key=lambda row: -row[0])
    treated = [weight for is_control, weight in weights if not is_control and weight] or [5_000]
    control = next((weight for is_control, weight in weights if is_control and weight), 5_000)
    family = max(1, experiment.metrics.exclude(role="guardrail").count() * len(treated))
    alpha = experiment.alpha / family
    # The smallest arm decides how long it takes.
    smallest = min(treated)
    share_t, pair_share = smallest / (smallest + control), (smallest + control) / 10_000
    taken_in = _share_taken_in(experiment)
    ask = partial(
        sample_size,
        variance_c=seen.variance,
        variance_t=seen.variance,
        share_t=share_t,
        alpha=alpha,
        power=power,
    )
    find = partial(
        detectable_effect,
        variance_c=seen.variance,
        variance_t=seen.variance,
        share_t=share_t,
        alpha=alpha,
        power=power,
    )
    needed = None
    if effect:
        sizes = _sizes(ask, abs(effect))
        units = _map(sizes, lambda n: math.ceil(n / pair_share))
        daily = seen.units_per_day * taken_in
        needed = Needed(effect, units, _map(units, lambda n: math.ceil(n / daily)))
    curve = []
    for days in (1, 2, 3, 5, 7, 10, 14, 21, 28, 42, 56):
        n = int(seen.units_per_day * taken_in * days)
        pair = int(n * pair_share)
        if pair >= 2 * LEAST:
            curve.append(Curve(days, n, find(pair)))
    return Plan(seen, alpha, power, needed, tuple(curve))


def _share_taken_in(experiment: Experiment) -> float:
    """Of all units, by coverage, layer and holdout; what the targeting leaves out is not known before."""
    holdout = Holdout.objects.first() if experiment.obeys_holdout else None
    kept = 1 - holdout.share_bp / 10_000 if holdout else 1.0
    layer = experiment.layer_share_bp / 10_000 if experiment.layer_id else 1.0
    return max(1, experiment.coverage_bp) / 10_000 * layer * max(kept, 0.0001)


def _sizes(ask: Callable[[float], Sizes], effect: float) -> Sizes:
    try:
        return ask(effect)
    except ValueError:
        raise InvalidInput(
            f"An effect of {effect:g} is too small, or too large, for any sample.",
            field="effect",
            fix="Send a difference that would be worth acting on, in the metric's own unit.",
        ) from None


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


def design_effect_note(metric: ExperimentMetric) -> str:
    """What the plan stands on, for quantiles: their own variance is not known before."""
    if metric.kind == MetricType.QUANTILE:
        return "Planned as if for the mean: a quantile needs more units, the more the further out it is."
    return ""
