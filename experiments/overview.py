"""What a person should know of an experiment at once: sentences, and the picture of the split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from experiments import lifecycle
from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent
from experiments.models import Experiment, State, UnitKind, Variant
from triageops import charts
from triageops.wording import count, plural, seconds

_PLURALS = {
    UnitKind.USER: "users",
    UnitKind.CONVERSATION: "conversations",
    UnitKind.CASE: "patient cases",
    UnitKind.CLINIC: "clinics",
}


def units(experiment: Experiment, n: int) -> str:
    """1 user, 1 240 users; what is no known kind is a unit."""
    many = _PLURALS.get(UnitKind(experiment.unit_kind), "units")
    return plural(n, many.removesuffix("s"), many)


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
    colours = charts.hues([variant.key for variant in variants], control_key(variants))
    found, x = [], 0.0
    for variant in variants:
        width = variant.weight_bp / 100
        found.append(
            Arm(variant.key, variant.weight_in_percent, colours[variant.key], x, width, variant.is_control)
        )
        x += width
    return found


def sentence_of_all(counts: Mapping[str, int]) -> str:
    """How many experiments are in each state; empty when there is none."""
    if not counts:
        return ""
    running = counts.get(State.RUNNING, 0)
    rest = [f"{count(n)} {state}" for state, n in sorted(counts.items()) if state != State.RUNNING]
    said = (
        f"{plural(running, 'experiment is', 'experiments are')} running"
        if running
        else "No experiment is running"
    )
    return f"{said}; {', '.join(rest)}." if rest else f"{said}."


def sentence(experiment: Experiment, variants: Sequence[Variant], now: datetime) -> str:
    """The state of the experiment; `variants` are counted (VariantQuerySet.counted)."""
    assigned_count = sum(variant.assigned_count for variant in variants)
    if experiment.state == State.DRAFT:
        missing = lifecycle.missing_for_start(experiment, variants)
        if missing:
            return f"A draft; nobody is assigned. {plural(len(missing), 'thing is', 'things are')} missing to start it."
        return "A draft that is ready to start; nobody is assigned yet."
    if experiment.state == State.RUNNING and experiment.started_at:
        lasted = seconds((now - experiment.started_at).total_seconds())
        return (
            f"Running for {lasted}: {units(experiment, assigned_count)} assigned to {len(variants)} variants."
        )
    if experiment.started_at and experiment.stopped_at:
        lasted = seconds((experiment.stopped_at - experiment.started_at).total_seconds())
        return (
            f"Stopped after {lasted} with {units(experiment, assigned_count)} assigned. "
            f"Everyone gets the control {control_key(variants)}."
        )
    return f"The experiment is {experiment.state}."


def control_key(variants: Sequence[Variant]) -> str:
    return next((variant.key for variant in variants if variant.is_control), "")


def split(variants: Sequence[Variant]) -> str:
    """gpt-4 50 %, claude-2 30 %."""
    return ", ".join(f"{variant.key} {variant.weight_in_percent}" for variant in variants)


def effects_of_start(experiment: Experiment, variants: Sequence[Variant]) -> list[str]:
    units_word = _PLURALS.get(UnitKind(experiment.unit_kind), "units")
    who = f"all {units_word}"
    if experiment.coverage_bp < BASIS_POINTS:
        who = f"{in_percent(experiment.coverage_bp)} of all {units_word}"
    effects = [f"It assigns {who} by weight: {split(variants)}. Each keeps its variant for good."]
    if experiment.coverage_bp < BASIS_POINTS:
        rest = in_percent(BASIS_POINTS - experiment.coverage_bp)
        effects.append(
            f"The other {rest} get the config of the control {control_key(variants)} and are not counted."
        )
    effects.append("Key, unit, coverage, variants, weights and configs cannot be edited after the start.")
    effects.append(f"Clients ask for a variant with POST /api/v1/experiments/{experiment.key}/assign.")
    return effects


def effects_of_stop(experiment: Experiment, variants: Sequence[Variant]) -> list[str]:
    moved = sum(variant.assigned_count for variant in variants if not variant.is_control)
    total = sum(variant.assigned_count for variant in variants)
    return [
        f"Everyone gets the config of the control {control_key(variants)} from the next call on. "
        f"That changes it for {count(moved)} of {units(experiment, total)} assigned so far.",
        "Nobody is assigned any more. What was assigned and measured stays.",
        "A stopped experiment cannot be started again.",
    ]


def split_chart(experiment: Experiment, variants: Sequence[Variant], href: str) -> charts.Chart:
    """Units assigned to each variant beside the number that the weights promise."""
    total = sum(variant.assigned_count for variant in variants)
    planned = [total * variant.weight_bp / BASIS_POINTS for variant in variants]
    seen = [variant.assigned_count for variant in variants]
    parts = [
        f"{key.key}: {count(n)} of {count(plan)} planned"
        for key, n, plan in zip(variants, seen, planned, strict=True)
    ]
    return charts.bars(
        key="split",
        title=f"{units(experiment, total)} assigned, beside what the weights promise",
        labels=[variant.key for variant in variants],
        groups={"planned": planned, "assigned": list(map(float, seen))} if total else {},
        unit="units",
        control="planned",
        empty=f"Nobody is assigned yet. The first call of POST /api/v1/experiments/{experiment.key}/assign shows up here.",
        description="; ".join(parts) + ".",
        size="small",
        href=href,
        href_text="Show the assignments",
    )
