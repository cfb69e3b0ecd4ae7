"""What a person should know of an experiment at once: sentences, and the picture of the split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.html import format_html

from experiments import lifecycle
from experiments.definition import in_percent
from experiments.models import Experiment, State, UnitKind, Variant
from triageops import charts
from triageops.admin import Tone
from triageops.wording import count, due, plural, seconds

_PLURALS = {
    UnitKind.USER: "users",
    UnitKind.CONVERSATION: "conversations",
    UnitKind.CASE: "patient cases",
    UnitKind.CLINIC: "clinics",
}


def units(experiment: Experiment, n: int) -> str:
    """1 user, 1 240 users; what is no known kind is a unit."""
    many = units_word(experiment)
    return plural(n, many.removesuffix("s"), many)


def units_word(experiment: Experiment) -> str:
    return _PLURALS.get(UnitKind(experiment.unit_kind), "units")


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant as a piece of a bar that is 100 wide."""

    key: str
    weight: str
    colour: str
    x: float
    width: float
    is_control: bool


def arms(variants: Sequence[Variant]) -> list[Arm]:
    return arms_of({variant.key: variant.weight_bp for variant in variants}, control_key(variants))


def arms_of(weights_bp: Mapping[str, int], control: str) -> list[Arm]:
    """The pieces of a bar, in order."""
    colours = charts.hues(weights_bp, control)
    found, x = [], 0.0
    for key, weight_bp in weights_bp.items():
        width = weight_bp / 100
        found.append(Arm(key, in_percent(weight_bp), colours[key], x, width, key == control))
        x += width
    return found


STATE_TONES = {
    State.HALTED: Tone.HARM,
    State.PAUSED: Tone.LOOK,
    State.REVIEW: Tone.LOOK,
    State.SCHEDULED: Tone.LOOK,
    State.SHIPPED: Tone.GOOD,
}


def tone(state: str) -> Tone:
    """What the state means for who looks: harm, look, good, or nothing special."""
    return STATE_TONES.get(State(state), Tone.NEUTRAL)


def sentence_of_all(counts: Mapping[str, int]) -> str:
    """How many experiments are in each state; empty when there is none."""
    if not counts:
        return ""
    running = counts.get(State.RUNNING, 0)
    rest = [
        f"{count(counts[state])} {state.label}"
        for state in State
        if state != State.RUNNING and counts.get(state)
    ]
    said = (
        f"{plural(running, 'experiment is', 'experiments are')} running"
        if running
        else "No experiment is running"
    )
    return f"{said}; {', '.join(rest)}." if rest else f"{said}."


def sentence(experiment: Experiment, variants: Sequence[Variant], now: datetime) -> str:
    """The state of the experiment and what to do next; `variants` are counted (VariantQuerySet.counted)."""
    n = units(experiment, sum(variant.assigned_count for variant in variants))
    control, following = control_key(variants), lifecycle.next_step(experiment)
    match State(experiment.state):
        case State.DRAFT:
            return _of_draft(experiment, variants)
        case State.REVIEW:
            return _of_review(experiment)
        case State.SCHEDULED:
            when = "" if experiment.starts_at is None else due(experiment.starts_at)
            return format_html("Starts by itself {}; until then nobody is assigned.", when)
        case State.RUNNING:
            return (
                f"Running for {_since(experiment.started_at, now)}: {n} assigned to {len(variants)} variants."
            )
        case State.PAUSED:
            return f"Paused: everyone gets the config of the control {control}, and {n} keep their place. {following}"
        case State.HALTED:
            return f"Halted: everyone gets the config of the control {control}. {following}"
        case State.STOPPED:
            lasted = _since(experiment.started_at, experiment.stopped_at)
            return (
                f"Stopped after {lasted} with {n} assigned. Everyone gets the control {control}. {following}"
            )
        case State.SHIPPED:
            everyone = "everyone but the global holdout" if experiment.obeys_holdout else "everyone"
            return f"Shipped: {everyone} gets the config of {experiment.shipped_variant}. {following}"
        case State.ARCHIVED:
            return "Archived: clients that still ask are told that there is no such experiment."


def _of_draft(experiment: Experiment, variants: Sequence[Variant]) -> str:
    missing = lifecycle.missing_for_start(experiment, variants)
    if missing:
        return f"A draft; nobody is assigned. {plural(len(missing), 'thing is', 'things are')} missing to start it."
    if experiment.requires_review:
        return "A complete draft; nobody is assigned. Request a review, so that somebody else can approve the start."
    return "A draft that is ready to start; nobody is assigned yet."


def _of_review(experiment: Experiment) -> str:
    if experiment.approved_version is not None:
        return f"Approved; nobody is assigned yet. {lifecycle.next_step(experiment)}"
    asked = experiment.review_requested_by
    return f"In review: somebody other than {asked or 'the requester'} has to approve it. Nobody is assigned."


def _since(start: datetime | None, end: datetime | None) -> str:
    return seconds((end - start).total_seconds()) if start and end else "a while"


def control_key(variants: Sequence[Variant]) -> str:
    return next((variant.key for variant in variants if variant.is_control), "")


def split(variants: Sequence[Variant]) -> str:
    """gpt-4 50 %, claude-2 30 %."""
    return ", ".join(f"{variant.key} {variant.weight_in_percent}" for variant in variants)
