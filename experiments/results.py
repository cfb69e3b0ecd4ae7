"""Everything that is known of an experiment's outcome, as plain data: REST gives it, and the page shows nothing else."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from experiments.analysis.decision import next_steps
from experiments.analysis.wording import amount, between, style_of
from experiments.lifecycle import next_step
from experiments.models import (
    AllocationEpoch,
    Decision,
    Experiment,
    ExperimentMetric,
    Look,
    LookEstimate,
    Role,
    Variant,
)
from experiments.scheduling import ramp_waits_for
from feedback import stats

MOST_LOOKS = 300
"""Of the looks over time: the last ones, thinned when there are more."""

SERVICE_METRICS = ("latency_seconds", "cost", "error")


def results(experiment: Experiment, now: datetime) -> dict[str, Any]:
    """The last look with all its numbers, the looks before it, epochs, and what the variants cost; JSON-able."""
    found = last_look(experiment)
    metrics = _metrics(experiment)
    return found | {
        "look_count": experiment.looks.filter(phase=found["phase"]).count(),
        "service": _service(experiment, _variants(experiment), now),
        "history": _history(experiment, found["phase"], metrics),
        "epochs": [_epoch(epoch) for epoch in experiment.epochs.order_by("number")],
        "ramp": _ramp(experiment, now),
    }


def last_look(experiment: Experiment) -> dict[str, Any]:
    """The part of `results` that the decision rests on: three queries, when variants and metrics are read already."""
    variants, metrics = _variants(experiment), _metrics(experiment)
    phases = experiment.epochs.order_by("-number").values_list("phase", flat=True)
    phase = phases.first() or 0
    last = experiment.looks.filter(phase=phase).first()
    rows = [] if last is None else list(last.estimates.all())
    return {
        "experiment": experiment.key,
        "state": experiment.state,
        "phase": phase,
        "decision": _decision(experiment, last),
        "looked_at": last and last.at.isoformat(),
        "look_seconds": last and last.seconds,
        "units": last.unit_count if last else 0,
        "planned_sample": experiment.planned_sample,
        "progress": _progress(experiment, last),
        "design": experiment.design,
        "alpha": experiment.alpha,
        "correction": experiment.correction,
        "variants": [_variant(variant, rows, last) for variant in variants],
        "metrics": [_metric(metric, variants, rows) for metric in metrics],
        "health": last.health["checks"] if last else [],
        "traffic": last.health["traffic"] if last else [],
        "segments": last.segments if last else [],
    }


def _variants(experiment: Experiment) -> list[Variant]:
    return sorted(experiment.variants.all(), key=lambda variant: variant.position)


def _metrics(experiment: Experiment) -> list[ExperimentMetric]:
    return sorted(experiment.metrics.all(), key=lambda metric: (metric.position, metric.pk))


def _decision(experiment: Experiment, last: Look | None) -> dict[str, str]:
    following = next_step(experiment)
    if last is None:
        return {"decision": "wait", "variant": "", "sentence": "Nobody has looked yet.", "next": following}
    return {
        "decision": last.decision,
        "variant": last.variant,
        "sentence": last.sentence,
        "next": next_steps(Decision(last.decision)) if experiment.is_running else following,
    }


def _progress(experiment: Experiment, last: Look | None) -> float | None:
    """Share of the planned sample, in [0, 1]; None without a plan."""
    if not experiment.planned_sample or last is None:
        return None
    return min(1.0, last.unit_count / experiment.planned_sample)


def _variant(variant: Variant, rows: Sequence[LookEstimate], last: Look | None) -> dict[str, Any]:
    units = (
        0
        if last is None
        else sum(one["units"] for one in last.health["traffic"] if one["variant"] == variant.key)
    )
    return {
        "key": variant.key,
        "is_control": variant.is_control,
        "weight_bp": variant.weight_bp,
        "version": variant.version,
        "config_hash": variant.config_hash,
        "units": units,
    }


def _metric(
    metric: ExperimentMetric, variants: Sequence[Variant], rows: Sequence[LookEstimate]
) -> dict[str, Any]:
    of = {row.variant: row for row in rows if row.metric == metric.key}
    return {
        "key": metric.key,
        "name": metric.name,
        "role": metric.role,
        "type": metric.kind,
        "source": metric.source,
        "better": metric.better,
        "margin": metric.margin,
        "style": style_of(metric),
        "quantile": metric.quantile,
        "arms": [_arm(metric, variant, of[variant.key]) for variant in variants if variant.key in of],
    }


def _arm(metric: ExperimentMetric, variant: Variant, row: LookEstimate) -> dict[str, Any]:
    details = row.details
    return {
        "variant": row.variant,
        "is_control": variant.is_control,
        "n": row.n,
        "value": row.value,
        "value_low": row.value_low,
        "value_high": row.value_high,
        "value_se": details.get("value_se"),
        "effect": row.effect,
        "se": row.se,
        "low": row.low,
        "high": row.high,
        "information": row.information,
        "z": row.z,
        "log_e": row.log_e,
        "p_any": row.p_any,
        "p_corrected": row.p_corrected,
        "boundary": row.boundary,
        "verdict": row.verdict,
        "relative": details.get("relative"),
        "bayes": details.get("bayes"),
        "harm_at_least": details.get("harm_at_least"),
        "accepted": details.get("accepted"),
        "since_resume": details.get("since_resume"),
        "variance_reduction": details.get("variance_reduction"),
        "information_fraction": details.get("fraction"),
        "dropped_count": details.get("dropped_count", 0),
        "events": details.get("events"),
        "rate_ratio": details.get("ratio"),
        "others": details.get("others", []),
        "text": _text(metric, row),
    }


def _text(metric: ExperimentMetric, row: LookEstimate) -> str:
    """“-6.3 points (-9.1 to -3.6 points)”; empty without an effect."""
    if row.effect is None:
        return ""
    interval = between(row.low, row.high, metric)
    return f"{amount(row.effect, metric)} ({interval})" if interval else amount(row.effect, metric)


def _service(experiment: Experiment, variants: Sequence[Variant], now: datetime) -> list[dict[str, Any]]:
    """What the answers of each variant cost and how long they took, from the rollups: for reading, not for deciding."""
    if experiment.started_at is None:
        return []
    # Whole hours: a window that begins within one would read its fine buckets for weeks.
    start = experiment.started_at.replace(minute=0, second=0, microsecond=0)
    window = stats.Window(start, min(now, experiment.stopped_at or now) + timedelta(minutes=15))
    found = stats.quality_stats(
        window, stats.Cut({"experiment": experiment.key}, ["variant"]), SERVICE_METRICS
    )
    of = {(one.metric, one.group[0]): one for one in found}
    lines = []
    for variant in variants:
        latency, cost, error = (of.get((name, variant.key)) for name in SERVICE_METRICS)
        lines.append(
            {
                "variant": variant.key,
                "responses": error.n if error else 0,
                "error_rate": error.moments.mean if error and error.n else None,
                "latency_mean": latency.moments.mean if latency and latency.n else None,
                "latency_p50": latency.p50 if latency else None,
                "latency_p95": latency.p95 if latency else None,
                "cost_mean": cost.moments.mean if cost and cost.n else None,
                "cost_total": cost.moments.total if cost and cost.n else None,
            }
        )
    return lines


def _history(experiment: Experiment, phase: int, metrics: Sequence[ExperimentMetric]) -> list[dict[str, Any]]:
    """Effect and interval of the primary metric at every look (thinned beyond MOST_LOOKS), oldest first."""
    primary = next((metric for metric in metrics if metric.role == Role.PRIMARY), None)
    if primary is None:
        return []
    looks = list(experiment.looks.filter(phase=phase).order_by("-id").values_list("pk", "at"))
    step = -(-len(looks) // MOST_LOOKS) or 1
    chosen: Mapping[int, datetime] = dict(looks[::step])
    rows = LookEstimate.objects.filter(look__in=chosen, metric=primary.key).exclude(effect=None)
    lines = [
        {
            "at": chosen[row.look_id].isoformat(),
            "metric": row.metric,
            "variant": row.variant,
            "n": row.n,
            "effect": row.effect,
            "low": row.low,
            "high": row.high,
            "log_e": row.log_e,
            "p_any": row.p_any,
            "z": row.z,
            "boundary": row.boundary,
        }
        for row in rows
    ]
    return sorted(lines, key=lambda line: (str(line["at"]), str(line["variant"])))


def _epoch(epoch: AllocationEpoch) -> dict[str, Any]:
    return {
        "number": epoch.number,
        "phase": epoch.phase,
        "kind": epoch.kind,
        "coverage_bp": epoch.coverage_bp,
        "weights": epoch.weights,
        "versions": epoch.versions,
        "started_at": epoch.started_at.isoformat(),
        "ended_at": epoch.ended_at and epoch.ended_at.isoformat(),
        "reason": epoch.reason,
    }


def _ramp(experiment: Experiment, now: datetime) -> dict[str, Any] | None:
    steps = list(experiment.ramp.order_by("position"))
    if not steps:
        return None
    following = next((step for step in steps if step.reached_at is None), None)
    waits = (
        "" if following is None or not experiment.is_running else ramp_waits_for(experiment, following, now)
    )
    return {
        "steps": [
            {
                "coverage_bp": step.coverage_bp,
                "after_hours": step.after_hours,
                "after_units": step.after_units,
                "reached_at": step.reached_at and step.reached_at.isoformat(),
            }
            for step in steps
        ],
        "waits_for": waits,
    }


CSV_COLUMNS = (
    "metric", "role", "type", "variant", "is_control", "n", "value", "value_low", "value_high", "effect", "se", "low",
    "high", "information", "z", "log_e", "p_any", "p_corrected", "boundary", "verdict",
    "relative_lift", "relative_low", "relative_high", "margin", "harm_at_least", "information_fraction", "chance_to_win",
    "expected_loss", "x_t", "x_c", "n_t", "n_c", "rate_ratio_low", "rate_ratio_high",
)  # fmt: skip
"""New ones come last: programs may read columns by their place."""


def lines(found: Mapping[str, Any]) -> list[list[Any]]:
    """The table of estimates, a line for each metric and variant, for CSV; the first line names the columns."""
    table: list[list[Any]] = [list(CSV_COLUMNS)]
    for metric in found["metrics"]:
        own = {
            "metric": metric["key"],
            "role": metric["role"],
            "type": metric["type"],
            "margin": metric["margin"],
        }
        for arm in metric["arms"]:
            values = own | _flat(arm) | arm
            table.append([values.get(name) for name in CSV_COLUMNS])
    return table


def _flat(arm: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm has as objects, a number for each column; what is missing stays out."""
    found: dict[str, Any] = {**(arm["bayes"] or {}), **(arm["events"] or {})}
    for name in ("relative", "rate_ratio"):
        found |= {f"{name}_{part}": value for part, value in (arm[name] or {}).items()}
    return found
