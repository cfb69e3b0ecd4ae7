"""What experiments do by themselves: start and stop on time, take the next step of the ramp, follow a bandit."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.db.models import Q

from experiments import epochs, lifecycle
from experiments.definition import in_percent
from experiments.models import (
    Design,
    EpochKind,
    Experiment,
    Look,
    RampStep,
    Role,
    State,
)
from triageops.rest import Conflict, InvalidInput
from triageops.stats.bandit import top_two_weights
from triageops.wording import plural

log = structlog.get_logger(__name__)


def run(now: datetime) -> int:
    """Do all that is due; how many experiments were moved. What another process did first is left to it."""
    done = 0
    for experiment in Experiment.objects.filter(state=State.SCHEDULED, starts_at__lte=now):
        done += _tried(experiment, lambda one: _start(one, now))
    for experiment in Experiment.objects.under_way().filter(stops_at__lte=now):
        done += _tried(experiment, lambda one: _stop(one, now))
    ramping = Q(ramp__reached_at=None, ramp__isnull=False)
    for experiment in Experiment.objects.running().filter(ramping).distinct():
        done += _tried(experiment, lambda one: _ramp(one, now))
    for experiment in Experiment.objects.running().filter(design=Design.BANDIT):
        done += _tried(experiment, lambda one: _follow(one, now))
    return done


def _tried(experiment: Experiment, move: Callable[[Experiment], bool]) -> bool:
    try:
        return move(experiment)
    except (Conflict, InvalidInput) as refused:
        log.warning("experiment.schedule_refused", experiment=experiment.key, reason=refused.detail)
        return False


def _start(experiment: Experiment, now: datetime) -> bool:
    lifecycle.start(experiment, by=None, now=now, reason="the time to start has come")
    return True


def _stop(experiment: Experiment, now: datetime) -> bool:
    lifecycle.stop(experiment, by=None, now=now, reason="the time to stop has come")
    return True


def ramp_waits_for(experiment: Experiment, step: RampStep, now: datetime) -> str:
    """Why the next step of the ramp is not taken yet, as a sentence; empty when it is time."""
    open_epoch = epochs.current(experiment)
    ready_at = open_epoch.started_at + timedelta(hours=step.after_hours)
    if now < ready_at:
        return f"The next step, {in_percent(step.coverage_bp)}, is not taken before {ready_at:%Y-%m-%d %H:%M} UTC."
    last = experiment.looks.filter(phase=open_epoch.phase).first()
    if last is None or last.at < ready_at:
        return f"The next step, {in_percent(step.coverage_bp)}, waits for a look."
    counts = {one["variant"]: 0 for one in last.health["traffic"]}
    for one in last.health["traffic"]:
        counts[one["variant"]] += one["units"]
    if min(counts.values(), default=0) < step.after_units:
        return f"The next step, {in_percent(step.coverage_bp)}, waits for {plural(step.after_units, 'unit', 'units')} in each variant."
    harmed = _harmed_guardrails(experiment, last)
    if harmed:
        return f"The next step, {in_percent(step.coverage_bp)}, waits for healthy guardrails: {', '.join(harmed)}."
    bad = [one["name"] for one in last.health["checks"] if one["level"] == "harm"]
    if bad:
        return f"The next step, {in_percent(step.coverage_bp)}, waits for healthy data: {', '.join(bad)}."
    return ""


def _harmed_guardrails(experiment: Experiment, last: Look) -> list[str]:
    guards = dict(experiment.metrics.filter(role=Role.GUARDRAIL).values_list("key", "name"))
    rows = last.estimates.filter(metric__in=guards, verdict__in=("harm", "accepted"))
    return sorted({guards[row.metric] for row in rows})


def _ramp(experiment: Experiment, now: datetime) -> bool:
    step = experiment.ramp.filter(reached_at=None).order_by("position").first()
    if step is None or ramp_waits_for(experiment, step, now):
        return False
    epochs.cover(
        experiment,
        step.coverage_bp,
        by=None,
        now=now,
        reason=f"step {step.position + 1} of the ramp",
        step=step,
    )
    return True


def _follow(experiment: Experiment, now: datetime) -> bool:
    """New weights of a bandit from the last look; each change is an epoch of its own."""
    open_epoch = epochs.current(experiment)
    if now < open_epoch.started_at + timedelta(hours=experiment.bandit_hours):
        return False
    weights = bandit_weights(experiment, experiment.looks.filter(phase=open_epoch.phase).first())
    if weights is None or weights == open_epoch.weights:
        return False
    epochs.change_weights(
        experiment, EpochKind.BANDIT, weights, by=None, now=now, reason="top-two Thompson sampling"
    )
    return True


def bandit_weights(experiment: Experiment, last: Look | None) -> dict[str, int] | None:
    """Basis points for each variant by its estimated value of the primary metric; None while one has none."""
    primary = experiment.metrics.filter(role=Role.PRIMARY).first()
    if last is None or primary is None:
        return None
    rows = {row.variant: row for row in last.estimates.filter(metric=primary.key)}
    keys = list(experiment.variants.order_by("position").values_list("key", flat=True))
    values, errors = [], []
    for key in keys:
        row = rows.get(key)
        if (
            row is None
            or row.value is None
            or not row.details.get("value_se")
            or row.n < experiment.minimum_sample
        ):
            return None
        values.append(row.value)
        errors.append(float(row.details["value_se"]))
    found = top_two_weights(
        values,
        errors,
        floor=min(experiment.bandit_floor_bp, 10_000 // len(keys)),
        is_higher_better=primary.is_higher_better,
    )
    return dict(zip(keys, found, strict=True))
