"""How an experiment moves from state to state; admin, REST, tasks and commands all call these functions.

Each takes the experiment as the caller saw it, locks the row and refuses with `Changed` when somebody was faster. The
same table stands in a trigger of the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from experiments import epochs, kill_evidence, layers
from experiments.assignment import BASIS_POINTS
from experiments.audit import Actor, Changed, InvalidTransition, changing, person
from experiments.definition import in_percent, misfits
from experiments.epochs.checks import refuse_without_review
from experiments.models import (
    Design,
    Experiment,
    ExperimentMetric,
    Role,
    State,
    Variant,
    VariantVersion,
)
from experiments.placement import MAX_ARMS
from triageops.rest import Conflict, InvalidInput

__all__ = [
    "Changed",
    "InvalidTransition",
    "NotReady",
    "Transition",
    "allowed",
    "missing_for_start",
    "next_step",
]


class NotReady(Conflict):
    """The start checklist has open points; the member `missing` lists all of them."""

    type = "experiment-not-ready"
    title = "The experiment is not ready to start"


class NeedsPerson(Conflict):
    """Only a person may do this, and must say why."""

    type = "needs-person"
    title = "A person has to decide this"


@dataclass(frozen=True)
class Transition:
    """From where to where; target None: the state stays. needs_reason: a person must say why."""

    action: str
    sources: frozenset[State]
    target: State | None
    needs_reason: bool = False


REQUEST_REVIEW = Transition("request_review", frozenset({State.DRAFT}), State.REVIEW)
APPROVE = Transition("approve", frozenset({State.REVIEW}), None)
REVISE = Transition("back_to_draft", frozenset({State.REVIEW, State.SCHEDULED}), State.DRAFT)
SCHEDULE = Transition("schedule", frozenset({State.DRAFT, State.REVIEW}), State.SCHEDULED)
START = Transition("start", frozenset({State.DRAFT, State.REVIEW, State.SCHEDULED}), State.RUNNING)
PAUSE = Transition("pause", frozenset({State.RUNNING}), State.PAUSED)
RESUME = Transition("resume", frozenset({State.PAUSED, State.HALTED}), State.RUNNING)
KILL = Transition("kill", frozenset({State.RUNNING, State.PAUSED}), State.HALTED)
HALT = Transition("halt", frozenset({State.RUNNING, State.PAUSED}), State.HALTED)
STOP = Transition("stop", frozenset({State.RUNNING, State.PAUSED, State.HALTED}), State.STOPPED)
SHIP = Transition("ship", frozenset({State.STOPPED}), State.SHIPPED)
UNSHIP = Transition("unship", frozenset({State.SHIPPED}), State.STOPPED, needs_reason=True)
ARCHIVE = Transition(
    "archive",
    frozenset({State.DRAFT, State.REVIEW, State.SCHEDULED, State.STOPPED, State.SHIPPED}),
    State.ARCHIVED,
)
TABLE = (
    REQUEST_REVIEW, APPROVE, REVISE, SCHEDULE, START, PAUSE, RESUME, KILL, HALT, STOP, SHIP, UNSHIP, ARCHIVE,
)  # fmt: skip
BY_SYSTEM_ONLY = frozenset({HALT.action})


def allowed(state: str) -> tuple[Transition, ...]:
    """What can be done from this state."""
    return tuple(transition for transition in TABLE if state in transition.sources)


def missing_for_start(experiment: Experiment, variants: Sequence[Variant]) -> list[str]:
    """What must be done before the experiment can start, as sentences; empty when it is ready."""
    missing = []
    if len(variants) < 2:
        missing.append(f"It has {len(variants)} of at least two variants; add {2 - len(variants)}.")
    if len(variants) > MAX_ARMS:
        missing.append(f"It has {len(variants)} variants; the most is {MAX_ARMS}.")
    control_count = sum(variant.is_control for variant in variants)
    if control_count != 1:
        missing.append(f"It has {control_count} controls; mark exactly one variant as the control.")
    total = sum(variant.weight_bp for variant in variants)
    if total != BASIS_POINTS:
        missing.append(f"The weights sum to {in_percent(total)}; make them 100 %.")
    if experiment.coverage_bp == 0:
        missing.append("The coverage is 0 %, so nobody would take part; raise it.")
    if experiment.design == Design.GROUP_SEQUENTIAL and not experiment.planned_sample:
        missing.append("A group sequential design needs a planned sample; the page “Power” helps to find it.")
    missing += _missing_in_ramp(experiment)
    missing += _invalid_fields(experiment, "The experiment's")
    for variant in variants:
        missing += _invalid_fields(variant, f"Variant {variant.key}:")
        missing += [
            f"Variant {variant.key} does not fit the schema: {_ended(said)}"
            for said in misfits(variant.config, experiment.config_schema)
        ]
    for metric in experiment.metrics.all():
        missing += _invalid_fields(metric, f"Metric {metric.key}:")
    return missing


def recommended_for_start(experiment: Experiment) -> list[str]:
    """What an experimenter would want before the start and may do without, as sentences."""
    roles = {metric.role for metric in experiment.metrics.all()}
    said = []
    if Role.PRIMARY not in roles:
        said.append("There is no primary metric: nothing will be decided.")
    if Role.GUARDRAIL not in roles:
        said.append("There is no guardrail: nothing will halt a harmful variant.")
    if not experiment.hypothesis:
        said.append("There is no hypothesis: write down what you expect before you see it.")
    if not experiment.planned_sample:
        said.append("There is no planned sample: nothing can be said about when it will be done.")
    if experiment.owner_id is None:
        said.append("There is no owner: nobody is named to be asked.")
    return said


def _missing_in_ramp(experiment: Experiment) -> list[str]:
    coverages = [experiment.coverage_bp, *(step.coverage_bp for step in experiment.ramp.all())]
    if all(former < later for former, later in pairwise(coverages)):
        return []
    return [
        "The ramp does not grow: each step needs a larger coverage than the one before, and than the first."
    ]


def _invalid_fields(row: Experiment | Variant | ExperimentMetric, whose: str) -> list[str]:
    try:
        row.clean_fields(exclude={"experiment", "owner"})
        row.clean()
    except ValidationError as error:
        return [
            f"{whose} {field} is not valid: {' '.join(map(_ended, said))}"
            for field, said in error.message_dict.items()
        ]
    return []


def _ended(said: str) -> str:
    return f"{said.rstrip('.')}."


def next_step(experiment: Experiment) -> str:
    """What its state asks for, as a sentence; empty where nothing does, or its results say it."""
    match State(experiment.state):
        case State.REVIEW if experiment.approved_version is not None:
            return "Start it, or schedule it."
        case State.PAUSED:
            return "Resume or stop it."
        case State.HALTED:
            return "Find out what happened; then resume it with a reason, or stop it."
        case State.STOPPED:
            return "Ship a variant, or archive it."
        case State.SHIPPED:
            return f"Once {experiment.shipped_variant} is built into the product, archive this."
    return ""


def request_review(experiment: Experiment, *, by: User, now: datetime, reason: str = "") -> Experiment:
    """Ask somebody else to look at a complete draft. Raises NotReady."""
    with changing(
        experiment, "request_review", by=by, now=now, reason=reason, sources=REQUEST_REVIEW.sources
    ) as change:
        _refuse_incomplete(change.experiment)
        change.experiment.state = State.REVIEW
        change.experiment.review_requested_by = by
        change.experiment.approved_version = None
    return change.experiment


def approve(experiment: Experiment, *, by: User, now: datetime, reason: str = "") -> Experiment:
    """Let it start. Raises NeedsPerson when the requester approves of themselves."""
    with changing(experiment, "approve", by=by, now=now, reason=reason, sources=APPROVE.sources) as change:
        if person(by) is None or change.experiment.review_requested_by_id == by.pk:
            raise NeedsPerson(
                "Who asks for a review cannot approve.", fix="Let somebody else look at the experiment."
            )
        change.experiment.approved_version = change.experiment.version + 1
    return change.experiment


def back_to_draft(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Make it editable again; an approval is void then."""
    with changing(
        experiment, "back_to_draft", by=by, now=now, reason=reason, sources=REVISE.sources
    ) as change:
        change.experiment.state = State.DRAFT
        change.experiment.approved_version = None
        change.experiment.review_requested_by = None
    return change.experiment


def schedule(
    experiment: Experiment, *, by: Actor, now: datetime, reason: str = "", at: datetime | None = None
) -> Experiment:
    """Start by itself at `at`, or at the time that the draft says. Raises NotReady, InvalidInput."""
    with changing(experiment, "schedule", by=by, now=now, reason=reason, sources=SCHEDULE.sources) as change:
        one = change.experiment
        one.starts_at = at or one.starts_at
        if one.starts_at is None or one.starts_at <= now:
            raise InvalidInput(
                "There is no time to start at, or it has passed.",
                field="starts_at",
                fix="Give a time to come, or start it now.",
            )
        if one.stops_at is not None and one.stops_at <= one.starts_at:
            raise InvalidInput(
                "It would stop before it starts.", field="stops_at", fix="Give a later time to stop."
            )
        _refuse_incomplete(one)
        _refuse_unapproved(one)
        one.state = State.SCHEDULED
    return change.experiment


def start(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Assign from now on; gives the running experiment.

    Raises NotReady with everything that is missing, LayerFull, InvalidTransition, or Changed.
    """
    with changing(experiment, "start", by=by, now=now, reason=reason, sources=START.sources) as change:
        one = change.experiment
        variants = _refuse_incomplete(one)
        _refuse_unapproved(one)
        if one.stops_at is not None and one.stops_at <= now:
            said = "The time at which it stops by itself has passed; change it, or leave it empty."
            raise NotReady(said, fix="Edit the experiment and start it again.", missing=[said])
        one.started_at, one.state = now, State.RUNNING
        _first_versions(variants, by, now)
        epochs.first(one, variants, layers.filters_at_start(one, now), by=by, now=now, reason=reason)
    return change.experiment


def _first_versions(variants: Sequence[Variant], by: Actor, now: datetime) -> None:
    VariantVersion.objects.bulk_create(
        VariantVersion(
            variant=variant,
            number=variant.version,
            config=variant.config,
            config_hash=variant.config_hash,
            created_at=now,
            by=person(by),
        )
        for variant in variants
    )


def _refuse_incomplete(experiment: Experiment) -> list[Variant]:
    variants = list(experiment.variants.order_by("position"))
    missing = missing_for_start(experiment, variants)
    if missing:
        raise NotReady(" ".join(missing), fix="Complete the experiment and start it again.", missing=missing)
    return variants


def _refuse_unapproved(experiment: Experiment) -> None:
    if experiment.requires_review and experiment.approved_version is None:
        said = "Nobody else has approved it, which its two-person rule asks for."
        raise NotReady(said, fix="Request a review, and let somebody else approve.", missing=[said])


def pause(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Everyone gets the control's config for a while; assignments stay."""
    with changing(experiment, "pause", by=by, now=now, reason=reason, sources=PAUSE.sources) as change:
        change.experiment.state = State.PAUSED
    return change.experiment


def resume(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Go on as before. Raises NeedsPerson when it was halted and no person says why it may go on."""
    with changing(experiment, "resume", by=by, now=now, reason=reason, sources=RESUME.sources) as change:
        if change.experiment.state == State.HALTED and (person(by) is None or not reason.strip()):
            raise NeedsPerson(
                "It was halted: only a person can resume it, and must say why.",
                field="reason",
                fix="Say in the admin what has changed since.",
            )
        if change.experiment.state == State.HALTED:
            epochs.reopen(change.experiment, by=by, now=now, reason=reason)
        change.experiment.state = State.RUNNING
    return change.experiment


def kill(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """The kill switch: everyone gets the control's config at once, everywhere, within a second."""
    evidence = {"headline": _said_of_kill(experiment, reason)} | kill_evidence.known(experiment)
    return _halt(experiment, "kill", evidence, by, now, reason)


def halt(experiment: Experiment, evidence: dict[str, Any], *, now: datetime, reason: str) -> Experiment:
    """A guardrail found harm: the same as the kill switch, with what it is based on."""
    return _halt(experiment, "halt", evidence, None, now, reason)


def _halt(
    experiment: Experiment, action: str, evidence: dict[str, Any], by: Actor, now: datetime, reason: str
) -> Experiment:
    with changing(experiment, action, by=by, now=now, reason=reason, sources=HALT.sources) as change:
        change.experiment.state = State.HALTED
        change.evidence = evidence
    return change.experiment


def _said_of_kill(experiment: Experiment, reason: str) -> str:
    return f"The kill switch of {experiment.key} was used. {reason}".strip()


def stop(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Assign nobody any more: everyone gets the control's config; gives the stopped experiment."""
    with changing(experiment, "stop", by=by, now=now, reason=reason, sources=STOP.sources) as change:
        one = change.experiment
        # Clocks of two machines may differ; an experiment does not end before it began.
        one.stopped_at, one.state = max(now, one.started_at or now), State.STOPPED
        epochs.close(one, one.stopped_at)
        layers.release(one, now)
    return change.experiment


def ship(
    experiment: Experiment,
    variant: str,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    is_approved: bool = False,
) -> Experiment:
    """Everyone gets this variant's config from now on. Raises NeedsReview, and InvalidInput for an unknown variant."""
    with changing(experiment, "ship", by=by, now=now, reason=reason, sources=SHIP.sources) as change:
        one = change.experiment
        # That it may ship by itself was approved before the start.
        refuse_without_review(one, is_approved=is_approved or (by is None and one.auto_ship))
        one.state, one.shipped_variant = State.SHIPPED, variant_of(one, variant).key
    return change.experiment


def variant_of(experiment: Experiment, key: str) -> Variant:
    """Raises InvalidInput for one that it does not have."""
    found = experiment.variants.filter(key=key).first()
    if found is None:
        raise InvalidInput(f"There is no variant {key!r}.", field="variant", fix="Name one of its variants.")
    return found


def unship(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Take a shipped variant back: everyone gets the control's config again. One person may: it must never wait."""
    with changing(experiment, "unship", by=by, now=now, reason=reason, sources=UNSHIP.sources) as change:
        change.experiment.state, change.experiment.shipped_variant = State.STOPPED, ""
    return change.experiment


def archive(experiment: Experiment, *, by: Actor, now: datetime, reason: str = "") -> Experiment:
    """Out of sight: clients that still ask are told that there is no such experiment."""
    with changing(experiment, "archive", by=by, now=now, reason=reason, sources=ARCHIVE.sources) as change:
        change.experiment.state = State.ARCHIVED
    return change.experiment
