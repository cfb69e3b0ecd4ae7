"""One look: everything computed from the exposed units as they stand, written once; a guardrail that shows harm halts.

The look, the plans that it fixes and the halt are one transaction under the experiment's lock: two workers never look at
once, and a halt never stands without the numbers that it rests on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction

from experiments.analysis import decision, halting, health, means, resumed, segments, tails
from experiments.analysis.question import Estimate, Question, question
from experiments.analysis.sums import FEEDBACK_RATE, Measure, Sums, has_earlier, measure, sums
from experiments.metrics import LOOK_SECONDS, LOOKS
from experiments.models import (
    Correction,
    Experiment,
    ExperimentMetric,
    Look,
    LookEstimate,
    MetricType,
    Role,
    SequentialPlan,
)
from triageops.stats import multiple

log = structlog.get_logger(__name__)

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of the look is done, in [0, 1]."""


def _silent(_what: str, _share: float) -> None: ...


def look(experiment: Experiment, *, now: datetime, progress: Progress = _silent) -> Look | None:
    """Analyse the experiment as it stands; None when another worker is at it or it has not started."""
    began = time.perf_counter()
    with transaction.atomic():
        locked = (
            Experiment.objects.select_for_update(no_key=True, skip_locked=True)
            .filter(pk=experiment.pk, epoch__gt=0)
            .first()
        )
        if locked is None:
            return None
        _prepare()
        asked = question(locked, now)
        progress("counting units", 0.05)
        found = _sums(asked)
        asked.rows = list(_estimates(asked, found, progress))
        _correct(asked)
        progress("checking the data", 0.8)
        counted = health.counted(asked)
        checks = health.checks(asked, counted, found)
        unit_count = 0 if found is None else found.unit_count
        decided = decision.decide(asked, asked.rows, checks, unit_count)
        progress("comparing segments", 0.9)
        row = Look(
            experiment=locked,
            phase=asked.phase,
            at=now,
            unit_count=unit_count,
            decision=decided.decision,
            variant=decided.variant,
            sentence=decided.sentence,
            health={"checks": [check.as_json() for check in checks], "traffic": _traffic(asked, counted)},
            segments=_segments(asked, found),
            seconds=time.perf_counter() - began,
        )
        row.save()
        SequentialPlan.objects.bulk_create(asked.new_plans)
        LookEstimate.objects.bulk_create(LookEstimate(look=row, **asdict(one)) for one in asked.rows)
        halting.act(locked, asked, decided, now)
    LOOKS.labels(locked.key, decided.decision).inc()
    LOOK_SECONDS.observe(row.seconds)
    log.info("look.finished", experiment=locked.key, decision=str(decided.decision), units=unit_count)
    return row


def _prepare() -> None:
    """One heavy statement at a time: room to sort in, and no compilation, which costs more than it saves here."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '96MB'; SET LOCAL jit = off")


def measures(asked: Question) -> list[Measure]:
    """The metrics that sums are made for; quantiles are counted in bins."""
    earlier = has_earlier(asked.experiment.pk, asked.phase)
    found = [
        measure(metric, slot, has_earlier=earlier)
        for slot, metric in enumerate(asked.metrics)
        if metric.kind != MetricType.QUANTILE
    ]
    return [*found, FEEDBACK_RATE]


def _sums(asked: Question) -> Sums | None:
    found = sums(asked.experiment.pk, asked.phase, measures(asked), now=asked.now).get("")
    asked.strata = () if found is None else found.epochs
    return found


def _estimates(asked: Question, found: Sums | None, progress: Progress) -> Sequence[Estimate]:
    if found is None:
        return [Estimate(metric.key, variant.key) for metric in asked.metrics for variant in asked.variants]
    named = {one.key: one for one in measures(asked)}
    units = found.units()
    rows: list[Estimate] = []
    for slot, metric in enumerate(asked.metrics):
        progress(f"computing {metric.name}", 0.2 + 0.6 * slot / len(asked.metrics))
        if metric.kind == MetricType.QUANTILE:
            rows += tails.estimates_of(asked, metric, slot, units)
        else:
            rows += means.estimates_of(asked, metric, named[metric.key], found)
    resumed.watch_anew(asked, rows, named, found)
    return rows


def _correct(asked: Question) -> None:
    """What may be claimed of the whole family together, and each row's verdict in one word."""
    metrics = {metric.key: metric for metric in asked.metrics}
    control = asked.control.key
    family = [
        row for row in asked.rows if row.variant != control and metrics[row.metric].role != Role.GUARDRAIL
    ]
    if family and not asked.is_bandit:
        adjusted = multiple.holm([1.0 if row.p_any is None else row.p_any for row in family])
        by_e = multiple.e_bh([row.log_e or 0.0 for row in family], asked.experiment.alpha)
        for position, row in enumerate(family):
            row.p_corrected = None if row.p_any is None else adjusted[position]
            is_shown = (
                position in by_e
                if asked.experiment.correction == Correction.E_BH
                else adjusted[position] <= asked.experiment.alpha
            )
            if is_shown and row.effect and not asked.is_group_sequential:
                row.details.setdefault("claimed", 1.0 if row.effect > 0 else -1.0)
    for row in family:
        row.verdict = _verdict(row, metrics[row.metric])


def _verdict(row: Estimate, metric: ExperimentMetric) -> str:
    if row.low is None and row.high is None:
        return "waiting"
    return {1: "better", -1: "worse", 0: "open"}[decision.claimed(row, metric)]


def _traffic(asked: Question, rows: Sequence[health.Counted]) -> list[dict[str, Any]]:
    """Analysed units of each variant in each epoch of the phase."""
    return [
        {
            "epoch": epoch.number,
            "variant": variant.key,
            "units": sum(
                row.units
                for row in rows
                if row.variant_id == variant.pk and row.epoch == epoch.number and not row.exclusion
            ),
            "weight_bp": epoch.weights.get(variant.key, 0),
        }
        for epoch in asked.epochs
        if any(row.epoch == epoch.number for row in rows) or epoch.ended_at is None
        for variant in asked.variants
    ]


def _segments(asked: Question, found: Sums | None) -> list[dict[str, Any]]:
    primary = next((metric for metric in asked.metrics if metric.role == Role.PRIMARY), None)
    if found is None or primary is None or primary.kind in {MetricType.QUANTILE, MetricType.RARE}:
        return []
    one = next(one for one in measures(asked) if one.key == primary.key)
    return segments.segments(asked, one)
