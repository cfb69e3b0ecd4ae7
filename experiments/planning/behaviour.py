"""How the units that an experiment could take in behaved in the last 30 days, for one metric.

From a sample of units at a bounded cost (sampling.py, reading.py), kept for ten minutes.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np
import redis
from django.core.cache import cache
from django.db import connection

from experiments.analysis.question import is_proportion
from experiments.models import Experiment, ExperimentMetric, MetricType, Per
from experiments.outcomes import Outcome
from experiments.planning import moments
from experiments.planning.moments import Spread, Unit
from experiments.planning.population import Latest, Population, latest, taken_in
from experiments.planning.reading import read
from experiments.planning.sampling import Window, draw
from experiments.planning.thinning import Member
from triageops.rest import Conflict

WINDOW = timedelta(days=30)
LEAST = 30
KEEP_SECONDS = 600


class TooLittle(Conflict):
    """There is nothing that could be planned from."""

    type = "too-little-to-plan"
    title = "There are too few units to plan from"


@dataclass(frozen=True)
class Behaviour:
    """How units behaved: value of the metric, variance of one unit in the metric's unit, squared; units a day.

    reach: units with a value in the last 1, 2, ... days, and last in all `days`, as an experiment that began then would have
    met them. new_per_day: at the end of what was seen, in its last quarter. until: facts up to then. variance_error: relative
    standard error of the variance.
    """

    unit_count: int
    value: float
    variance: float
    variance_error: float
    units_per_day: float
    days: float
    reach: tuple[float, ...]
    new_per_day: float
    population: Population
    until: datetime

    def reached(self, days: float) -> float:
        """Units within so many days. Beyond what was seen, as many new ones a day come as in its last quarter."""
        known = np.array([0.0, *range(1, len(self.reach)), self.days])
        if days <= self.days:
            return float(np.interp(days, known, [0.0, *self.reach]))
        return self.reach[-1] + self.new_per_day * (days - self.days)


def behaviour(
    experiment: Experiment, metric: ExperimentMetric, now: datetime, *, is_anew: bool = False
) -> Behaviour:
    """As it was at most ten minutes ago; is_anew: as it is. Raises TooLittle."""
    name = _name(experiment, metric)
    kept = None if is_anew else _kept(name)
    if kept is None:
        kept = measured(experiment, metric, now)
        _keep(name, kept)
    return kept


def _kept(name: str) -> Behaviour | None:
    try:
        text = cache.get(name)
        return None if text is None else msgspec.json.decode(text, type=Behaviour)
    except (redis.RedisError, OSError, msgspec.MsgspecError):
        # Without Redis, or kept by another version of this program: it costs a second.
        return None


def _keep(name: str, found: Behaviour) -> None:
    try:
        cache.set(name, msgspec.json.encode(found).decode(), KEEP_SECONDS)
    except (redis.RedisError, OSError):
        return


def _name(experiment: Experiment, metric: ExperimentMetric) -> str:
    """What decides how units behaved: the metric's definition, and who could take part."""
    definition = [metric.source, metric.kind, metric.per, metric.worth, metric.cap]
    population = [experiment.pk, experiment.unit_kind, experiment.unit_attribute, experiment.targeting]
    text = msgspec.json.encode([definition, population], order="deterministic")
    return f"power:{hashlib.sha256(text).hexdigest()}"


def measured(experiment: Experiment, metric: ExperimentMetric, now: datetime, *, seed: int = 0) -> Behaviour:
    """From the facts as they are. seed: of the drawing. Raises TooLittle."""
    with connection.cursor() as cursor:
        drawn = draw(cursor, Window(now - WINDOW, now), seed=seed)
        seen = latest(cursor, list(drawn.units), drawn.window)
        units = {unit: one for unit, one in drawn.units.items() if unit in seen}
        fitting, population = taken_in(experiment, units, seen)
        _refuse_few(drawn.units, fitting, experiment)
        outcome = Outcome(metric.source, metric.per == Per.RESPONSE, metric.worth or 0.0)
        units_read = read(cursor, drawn, fitting, outcome, power=0.0 if is_proportion(metric) else 0.5)
        cursor.execute(
            "SELECT min(occurred_at) FROM feedback_response WHERE occurred_at >= %s", [drawn.window.since]
        )
        first_at = cursor.fetchone()[0]
    rows = [unit for unit in units_read if unit.read[:, 1].sum() > 0]
    spread = _spread(metric, rows)
    # A unit without any value of the metric says nothing of it, and will not count.
    has_value = sum(unit.weight for unit in rows) / sum(unit.weight for unit in units_read)
    days = max(1.0, Window(first_at, now).days)
    reach = tuple(has_value * number for number in _reach(fitting, seen, now, days))
    return Behaviour(
        unit_count=len(rows),
        value=spread.value,
        variance=spread.variance,
        variance_error=spread.error,
        units_per_day=reach[-1] / days,
        days=days,
        reach=reach,
        new_per_day=has_value * _new_per_day(fitting, seen, now, days),
        population=population,
        until=now,
    )


def _refuse_few(drawn: Mapping[str, Member], fitting: Mapping[str, Member], experiment: Experiment) -> None:
    if len(drawn) < LEAST:
        raise TooLittle(
            f"In the last 30 days {len(drawn)} units were seen; planning needs {LEAST}.",
            fix="Record responses with their unit for a while.",
        )
    if len(fitting) < LEAST:
        raise TooLittle(
            f"Of {len(drawn)} units that were looked at, {experiment.key} could take in {len(fitting)}; "
            f"planning needs {LEAST}.",
            fix="Make the targeting wider, or record responses of such units for a while.",
        )


def _reach(
    units: Mapping[str, Member], seen: Mapping[str, Latest], now: datetime, days: float
) -> list[float]:
    """Units with a response in the last 1, 2, ... days, and in all days."""
    ages = np.array([(now - seen[unit].at) / timedelta(days=1) for unit in units])
    weights = np.array([one.weight for one in units.values()])
    ends = [*range(1, math.ceil(days)), days + 1]
    return [float(weights[ages <= end].sum()) for end in ends]


def _new_per_day(
    units: Mapping[str, Member], seen: Mapping[str, Latest], now: datetime, days: float
) -> float:
    """Units a day that had their first response in the last quarter."""
    quarter = timedelta(days=days / 4)
    new = math.fsum(one.weight for unit, one in units.items() if seen[unit].first_at > now - quarter)
    # Where nobody new came, half a unit is what could have been missed.
    return max(new, 0.5) / (days / 4)


def _spread(metric: ExperimentMetric, rows: Sequence[Unit]) -> Spread:
    if len(rows) < LEAST:
        raise TooLittle(
            f"{len(rows)} units had a value of {metric.name} in the last 30 days; planning needs {LEAST}.",
            fix="Record what the metric is made of, or choose another one.",
        )
    if metric.kind in {MetricType.RATIO, MetricType.QUANTILE}:
        found = moments.ratio(rows)
    elif is_proportion(metric):
        found = moments.proportion(rows)
    else:
        found = moments.mean(rows, math.inf if metric.cap is None else metric.cap)
    if found is None or not 0 < found.variance < math.inf:
        raise TooLittle(
            f"All values of {metric.name} in the last 30 days were the same.",
            fix="Record what the metric is made of, or choose another one.",
        )
    return found
