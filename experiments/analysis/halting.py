"""What a look does by itself: halt what is harmful, with frozen evidence, and ship where the experiment says so."""

from datetime import datetime
from typing import Any

from django.db import connection

from experiments import lifecycle
from experiments.analysis import decision
from experiments.analysis.decision import Decided
from experiments.analysis.question import Estimate, Question
from experiments.analysis.wording import amount, between, style_of
from experiments.models import Decision, Experiment, ExperimentMetric, Role
from triageops.wording import count


def act(experiment: Experiment, asked: Question, decided: Decided, now: datetime) -> None:
    """Halt, or ship; both are in the audit."""
    if not experiment.is_running:
        return
    harmful = _halting(asked)
    if harmful is not None:
        evidence = evidence_of(asked, *harmful)
        lifecycle.halt(experiment, evidence, now=now, reason=evidence["headline"])
    elif experiment.auto_ship and decided.decision in {Decision.SHIP, Decision.CHEAPER}:
        # Harm that one person accepted is no reason to serve it to everybody without another look.
        if any(row.verdict == "accepted" and row.variant == decided.variant for row in asked.rows):
            return
        stopped = lifecycle.stop(experiment, by=None, now=now, reason=decided.sentence)
        lifecycle.ship(stopped, decided.variant, by=None, now=now, reason=decided.sentence)


def _halting(asked: Question) -> tuple[ExperimentMetric, Estimate] | None:
    guards = {
        metric.key: metric for metric in asked.metrics if metric.role == Role.GUARDRAIL and metric.halts
    }
    return next(
        ((guards[row.metric], row) for row in asked.rows if row.metric in guards and row.verdict == "harm"),
        None,
    )


def evidence_of(asked: Question, metric: ExperimentMetric, row: Estimate) -> dict[str, Any]:
    """What a halt rests on, frozen: numbers, interval, samples, who is affected."""
    variant = next(variant for variant in asked.variants if variant.key == row.variant)
    control = next(one for one in asked.rows if one.metric == metric.key and one.variant == asked.control.key)
    samples, onset_at = _samples(asked, variant.pk, variant.key)
    return {
        "headline": decision.said_of_harm(asked, metric, row),
        "metric": metric.name,
        "metric_key": metric.key,
        "variant": row.variant,
        "control": asked.control.key,
        "effect": row.effect,
        "low": row.low,
        "high": row.high,
        "effect_text": f"{amount(row.effect, metric)} ({between(row.low, row.high, metric)})",
        "value_treatment": row.value,
        "value_control": control.value,
        "n_treatment": row.n,
        "n_control": control.n,
        "log_e": row.log_e,
        "alpha": asked.alpha_of(metric),
        "margin": metric.margin,
        "style": style_of(metric),
        "unit": "",
        "affected_count": row.n,
        "affected": f"{count(row.n)} units of {row.variant}",
        "accepted": row.details.get("accepted"),
        "since_resume": row.details.get("since_resume"),
        "sample_response_ids": samples,
        "onset_at": onset_at and onset_at.isoformat(),
    }


def _samples(asked: Question, variant_id: int, variant: str) -> tuple[list[str], datetime | None]:
    """Some of the last responses of the arm, and when its first unit was exposed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r.response_id FROM (
                SELECT unit FROM experiments_exposedunit
                WHERE experiment_id = %s AND phase = %s AND variant_id = %s AND exclusion = ''
                ORDER BY last_at DESC LIMIT 20
            ) AS recent
            CROSS JOIN LATERAL (
                SELECT response_id, occurred_at FROM feedback_response
                WHERE unit = recent.unit AND unit <> '' AND experiment = %s AND variant = %s
                ORDER BY occurred_at DESC LIMIT 1
            ) AS r ORDER BY r.occurred_at DESC
            """,
            [asked.experiment.pk, asked.phase, variant_id, asked.experiment.key, variant],
        )
        samples = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "SELECT min(exposed_at) FROM experiments_exposedunit"
            " WHERE experiment_id = %s AND phase = %s AND variant_id = %s",
            [asked.experiment.pk, asked.phase, variant_id],
        )
        onset: datetime | None = cursor.fetchone()[0]
    return samples, onset
