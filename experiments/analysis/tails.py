"""Quantiles of a look: p95 of latency and the like, by turning the distribution function round, with units as clusters."""

from collections.abc import Mapping, Sequence

from experiments.analysis.inference import LEAST_UNITS
from experiments.analysis.quantiles import Thresholds, thresholds
from experiments.analysis.question import Estimate, Question
from experiments.models import Better, ExperimentMetric, Role, Variant
from triageops.stats.comoments import CoMoments
from triageops.stats.quantile import QuantileEstimate, cdf_point, difference, quantile_sequence
from triageops.stats.sequential import confidence_sequence

Counts = Mapping[int, Mapping[int, int]]


def estimates_of(asked: Question, metric: ExperimentMetric, slot: int, counts: Counts) -> list[Estimate]:
    """The quantile in every arm, the control first. counts: units of each arm (variant id) in each epoch."""
    level = metric.quantile or 0.5
    found = thresholds(asked.experiment.pk, asked.phase, slot, level)
    control = asked.control
    everyone = _weights(counts, [variant.pk for variant in asked.variants if variant.weight_bp])
    rows = []
    for variant in sorted(asked.variants, key=lambda variant: not variant.is_control):
        n = sum(counts.get(variant.pk, {}).values())
        row = Estimate(metric.key, variant.key, n=n)
        one = _sequence(asked, metric, variant, found, level, everyone, counts)
        if one is not None:
            row.value, row.value_low, row.value_high = one.value, one.low, one.high
        if variant.pk != control.pk:
            # Within the epochs that both have, so that weights that were changed bias nothing.
            pair = _weights(counts, [variant.pk, control.pk])
            treated = _sequence(asked, metric, variant, found, level, pair, counts)
            other = _sequence(asked, metric, control, found, level, pair, counts)
            _compare(metric, row, treated, other, asked.alpha_of(metric))
        rows.append(row)
    return rows


def _weights(counts: Counts, arms: Sequence[int]) -> dict[int, int]:
    """Epoch -> units of these arms, where each of them has at least two."""
    epochs = {epoch for arm in arms for epoch in counts.get(arm, {})}
    found = {}
    for epoch in sorted(epochs):
        own = [counts.get(arm, {}).get(epoch, 0) for arm in arms]
        if min(own) >= 2:
            found[epoch] = sum(own)
    return found


def _sequence(
    asked: Question,
    metric: ExperimentMetric,
    variant: Variant,
    found: Mapping[int, Thresholds],
    level: float,
    weights: Mapping[int, int],
    counts: Counts,
) -> QuantileEstimate | None:
    nothing = CoMoments.empty(2)
    points = []
    for threshold, by_epoch in found.get(variant.pk, []):
        strata = [by_epoch.get(epoch, nothing) for epoch in weights]
        point = cdf_point(threshold, strata, list(weights.values()))
        if point is not None:
            points.append(point)
    crossing = next((point for point in points if point.share >= level), None)
    n = sum(counts.get(variant.pk, {}).values())
    if n < LEAST_UNITS or crossing is None or crossing.se <= 0:
        return None
    # Each of two arms at half the error rate: together their difference keeps all of it.
    alpha = asked.alpha_of(metric) / 2
    n_all = sum(sum(own.values()) for own in counts.values())
    plan = asked.plan(
        metric.key,
        variant.key,
        se=crossing.se,
        n=n,
        planned_n=asked.planned_pair(n, n_all),
        alpha=alpha,
    )
    multiplier = confidence_sequence(0.0, crossing.se, plan.tau2, alpha).high / crossing.se
    return quantile_sequence(points, level, multiplier)


def _compare(
    metric: ExperimentMetric,
    row: Estimate,
    treated: QuantileEstimate | None,
    control: QuantileEstimate | None,
    alpha: float,
) -> None:
    if treated is None or control is None:
        return
    found = difference(treated, control)
    row.effect, row.low, row.high = found.effect, found.low, found.high
    row.details |= {"value_control": control.value, "alpha": alpha}
    if control.value:
        scale = abs(control.value)
        row.details["relative"] = {
            "lift": found.effect / scale,
            "low": found.low / scale,
            "high": found.high / scale,
        }
    if metric.role == Role.GUARDRAIL:
        at_least = found.low if metric.better == Better.LOWER else -found.high
        row.details["harm_at_least"] = at_least
        row.verdict = "harm" if at_least > metric.margin else "ok"
    elif found.low > 0 or found.high < 0:
        row.details["claimed"] = 1.0 if found.low > 0 else -1.0
