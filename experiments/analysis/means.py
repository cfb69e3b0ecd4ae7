"""Means, proportions and ratios of a look: values of the arms, differences from the control, and what may be claimed."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from experiments.analysis import inference
from experiments.analysis.inference import Finding, Plan, Timed
from experiments.analysis.question import Estimate, Question, is_proportion
from experiments.analysis.sums import Measure, Sums
from experiments.models import Better, ExperimentMetric, MetricType, Role
from triageops.stats import exact
from triageops.stats.bayes import posterior
from triageops.stats.comoments import CoMoments
from triageops.stats.compare import Contrast, Estimates, contrast, estimate
from triageops.stats.lift import relative

_Z95 = NormalDist().inv_cdf(0.975)
PRIOR_SHARE = 0.2
"""Standard deviation of the prior of the Bayesian panel, as a share of the control's value."""


def estimates_of(asked: Question, metric: ExperimentMetric, one: Measure, sums: Sums) -> list[Estimate]:
    """The metric in every arm: the control first, each other arm with its difference from it."""
    arms = by_key(asked, one, sums)
    found = estimate(arms, one.kind, is_adjusted=one.is_adjusted)
    rows: list[Estimate] = []
    for variant in sorted(asked.variants, key=lambda variant: not variant.is_control):
        row = _of_arm(metric, variant.key, found)
        if not variant.is_control:
            compared = contrast(found, variant.key, asked.control.key)
            _compare(asked, metric, row, compared, arms, sums.unit_count)
            row.details["others"] = _others(asked, metric, row.variant, rows, found)
        rows.append(row)
    return rows


def _others(
    asked: Question, metric: ExperimentMetric, key: str, before: Sequence[Estimate], found: Estimates
) -> list[dict[str, Any]]:
    """Differences from the other treatments, for reading: tuned and corrected as the one from the control."""
    plan = asked.plans.get((metric.key, key))
    if plan is None or metric.kind == MetricType.RARE:
        return []
    rows = []
    for other in before:
        compared = None if other.variant == asked.control.key else contrast(found, key, other.variant)
        if compared is not None and inference.is_ready(compared, is_proportion=is_proportion(metric)):
            one = inference.finding(compared, plan)
            rows.append(
                {
                    "variant": other.variant,
                    "effect": one.effect,
                    "se": one.se,
                    "low": one.low,
                    "high": one.high,
                }
            )
    return rows


def by_key(asked: Question, one: Measure, sums: Sums) -> dict[str, tuple[CoMoments, ...]]:
    """Variant key -> moments of each epoch; an arm without units has empty ones."""
    nothing = (CoMoments.empty(len(one.columns)),) * len(sums.epochs)
    return {variant.key: sums.of[one.key].get(variant.pk, nothing) for variant in asked.variants}


def _of_arm(metric: ExperimentMetric, key: str, found: Estimates) -> Estimate:
    arm = found.arms[key]
    row = Estimate(metric.key, key, n=arm.n, value=arm.value)
    if arm.value is not None and arm.standard_error is not None:
        row.value_low = arm.value - _Z95 * arm.standard_error
        row.value_high = arm.value + _Z95 * arm.standard_error
        row.details["value_se"] = arm.standard_error
    if found.variance_reduction is not None:
        row.details["variance_reduction"] = found.variance_reduction
        row.details["theta"] = list(found.theta)
    return row


def _compare(
    asked: Question,
    metric: ExperimentMetric,
    row: Estimate,
    compared: Contrast | None,
    arms: Mapping[str, Sequence[CoMoments]],
    unit_count: int,
) -> None:
    former = asked.former.get((metric.key, row.variant))
    row.p_any = None if former is None else former.p_any
    carried = (
        {} if former is None else {name: former.details[name] for name in _CARRIED if name in former.details}
    )
    row.details |= carried
    if metric.kind == MetricType.RARE:
        _rare(asked, metric, row, arms)
    if compared is None:
        return
    row.effect, row.se = compared.effect, inference.tested_se(compared)
    row.details |= {
        "dropped_count": compared.dropped_count,
        "value_control": compared.value_control,
        "n_control": compared.n_control,
    }
    if metric.kind == MetricType.RARE:
        _rare_difference(row, compared)
        return
    if not inference.is_ready(compared, is_proportion=is_proportion(metric)):
        return
    n_pair = compared.n_treatment + compared.n_control
    plan = asked.plan(
        metric.key,
        row.variant,
        se=inference.tested_se(compared),
        n=n_pair,
        planned_n=asked.planned_pair(n_pair, unit_count),
        alpha=asked.alpha_of(metric),
        sides=1 if metric.role == Role.GUARDRAIL else 2,
    )
    found = inference.finding(compared, plan, former_p=1.0 if row.p_any is None else row.p_any)
    _take(row, found)
    _read(row, compared, found, metric)
    if metric.role == Role.GUARDRAIL:
        _guard(row, compared, plan, metric)
    elif asked.is_group_sequential:
        _group_sequential(asked, row, plan, found, unit_count)


_CARRIED = ("counted", "fractions", "claimed", "claimed_at")
"""What a look hands on to the next one, so that no look reads all before it."""


def _take(row: Estimate, found: Finding) -> None:
    row.information, row.z, row.log_e = found.information, found.z, found.log_e
    row.p_any, row.low, row.high = found.p, found.low, found.high


def _read(row: Estimate, compared: Contrast, found: Finding, metric: ExperimentMetric) -> None:
    """For reading, not for deciding: the relative lift, and the Bayesian panel."""
    width = (found.high - found.low) / 2 / compared.interval_se
    lift = relative(compared, width)
    if lift is not None:
        row.details["relative"] = {"lift": lift.lift, "low": lift.low, "high": lift.high}
    prior_sd = PRIOR_SHARE * abs(compared.value_control)
    if prior_sd > 0:
        said = posterior(
            compared.effect, compared.se, prior_sd=prior_sd, is_higher_better=metric.is_higher_better
        )
        row.details["bayes"] = {
            "chance_to_win": said.chance_to_win,
            "expected_loss": said.expected_loss_treatment,
            "prior_sd": prior_sd,
        }


def _guard(row: Estimate, compared: Contrast, plan: Plan, metric: ExperimentMetric) -> None:
    found = inference.harm(
        compared, plan, is_higher_better=metric.better == Better.HIGHER, margin=metric.margin
    )
    row.log_e = found.log_e
    row.details |= {"harm_at_least": found.low, "alpha": plan.alpha}
    row.verdict = "harm" if found.is_shown else "ok"


def _group_sequential(asked: Question, row: Estimate, plan: Plan, found: Finding, unit_count: int) -> None:
    past, planned = _counted(row.details), asked.experiment.planned_sample
    now = inference.timed(
        found.information, plan, planned_share=unit_count / planned if planned else None, past=past
    )
    row.details["fraction"] = found.information / plan.planned_information
    if now is None:
        return
    row.boundary = inference.boundary_of(past, now, plan.alpha)
    row.details["counted"] = [[one.clock, one.fraction] for one in (*past, now)]
    if row.boundary is not None and abs(found.z) >= row.boundary:
        _claim(asked, row)


def _counted(details: Mapping[str, Any]) -> list[Timed]:
    # Looks written before clock and information were told apart have "fractions", which were both.
    pairs = details.get("counted") or [[one, one] for one in details.get("fractions", [])]
    return [Timed(clock, fraction) for clock, fraction in pairs]


def _claim(asked: Question, row: Estimate) -> None:
    if "claimed" not in row.details and row.effect:
        row.details["claimed"] = math.copysign(1.0, row.effect)
        row.details["claimed_at"] = asked.now.isoformat()


def _rare(
    asked: Question, metric: ExperimentMetric, row: Estimate, arms: Mapping[str, Sequence[CoMoments]]
) -> None:
    """The exact e-test on units with the event; evidence of epochs with other weights adds up."""
    log_e, log_e_harm = 0.0, 0.0
    totals: dict[str, int] = {"x_t": 0, "x_c": 0, "n_t": 0, "n_c": 0}
    epochs = []
    for at, treated, control in _epochs_of(asked, row.variant, arms):
        x_t, x_c = round(treated.n * treated.mean[0]), round(control.n * control.mean[0])
        epochs.append(exact.Events(x_t, x_c, at))
        totals["x_t"] += x_t
        totals["x_c"] += x_c
        totals["n_t"] += treated.n
        totals["n_c"] += control.n
        log_e += exact.log_e_rare(x_t, x_c, at)
        log_e_harm += (
            exact.log_e_rare_greater(x_t, x_c, at)
            if metric.better == Better.LOWER
            else exact.log_e_rare_greater(x_c, x_t, 1 - at)
        )
    row.details["events"] = totals
    if not totals["x_t"] + totals["x_c"] or not totals["n_t"] or not totals["n_c"]:
        return
    alpha = asked.alpha_of(metric)
    row.log_e = log_e_harm if metric.role == Role.GUARDRAIL else log_e
    row.p_any = min(1.0 if row.p_any is None else row.p_any, math.exp(-max(0.0, row.log_e)))
    ratio = exact.rate_ratio_sequence(epochs, alpha=alpha)
    if ratio is not None:
        row.details["ratio"] = {
            "low": ratio.low,
            "high": ratio.high if math.isfinite(ratio.high) else None,
        }
    if metric.role == Role.GUARDRAIL:
        row.details["alpha"] = alpha
        row.verdict = "harm" if log_e_harm >= -math.log(alpha) else "ok"


def _epochs_of(
    asked: Question, variant: str, arms: Mapping[str, Sequence[CoMoments]]
) -> list[tuple[float, CoMoments, CoMoments]]:
    """(share of the arm among the two by the weights, its moments, the control's) for each epoch with both."""
    weights = {epoch.number: epoch.weights for epoch in asked.epochs}
    control = asked.control.key
    found = []
    for number, treated, other in zip(asked.strata, arms[variant], arms[control], strict=True):
        own, rest = weights[number].get(variant, 0), weights[number].get(control, 0)
        if own and rest and treated.n + other.n:
            found.append((own / (own + rest), treated, other))
    return found


def _rare_difference(row: Estimate, compared: Contrast) -> None:
    ratio: dict[str, Any] = row.details.get("ratio", {})
    control = compared.value_control
    if ratio:
        row.low = control * (ratio["low"] - 1)
        row.high = None if ratio["high"] is None else control * (ratio["high"] - 1)
        if control > 0:
            row.details["relative"] = {
                "lift": compared.effect / control,
                "low": ratio["low"] - 1,
                "high": None if ratio["high"] is None else ratio["high"] - 1,
            }
