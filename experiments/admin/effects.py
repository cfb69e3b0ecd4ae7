"""What a move or a change does to users and to the analysis, said before it is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments import epochs, overview
from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent
from experiments.models import Assignment, ChangeRequest, EpochKind, Experiment, State, Variant
from experiments.overview import control_key, split, units
from experiments.targeting import described
from triageops.rest import InvalidInput
from triageops.wording import count

Variants = Sequence[Variant]

STAYS = "Analysis restarts: no."


def of_start(experiment: Experiment, variants: Variants) -> list[str]:
    who = f"all {overview.units_word(experiment)}"
    if experiment.coverage_bp < BASIS_POINTS:
        who = f"{in_percent(experiment.coverage_bp)} of {who}"
    effects = [f"It assigns {who} by weight: {split(variants)}. Each keeps its variant for good."]
    if experiment.coverage_bp < BASIS_POINTS:
        rest = in_percent(BASIS_POINTS - experiment.coverage_bp)
        effects.append(
            f"The other {rest} get the config of the control {control_key(variants)} and are not counted."
        )
    if experiment.targeting:
        effects.append(f"Only where {described(experiment.targeting)}; the others get the control's config.")
    if experiment.layer is not None:
        share = in_percent(experiment.layer_share_bp)
        effects.append(
            f"It takes {share} of the layer {experiment.layer}; no other experiment of the layer sees these units."
        )
    if experiment.obeys_holdout:
        effects.append("Units of the global holdout, if there is one, never take part.")
    steps = [in_percent(step.coverage_bp) for step in experiment.ramp.all()]
    if steps:
        effects.append(f"The coverage then grows by itself: {', '.join(steps)}.")
    effects.append(
        "Key, unit, targeting, design and metrics cannot be edited after the start; weights, coverage and "
        "configs change only in ways that keep the analysis honest."
    )
    effects.append(f"Clients ask for a variant with POST /api/v1/experiments/{experiment.key}/assign.")
    return effects


def of_review(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        "It cannot be edited while it is in review.",
        "Somebody else, who may approve experiments, approves it or takes it back to draft. You cannot approve it yourself.",
        "Nobody is assigned yet.",
    ]


def of_approval(experiment: Experiment, variants: Variants) -> list[str]:
    found = [
        "It can be started or scheduled from then on. Nobody is assigned by this.",
        _definition(variants),
    ]
    forced = list(experiment.forced.standing().values_list("unit", "variant__key")[:_MOST_NAMED])
    if forced:
        named = ", ".join(f"{unit} gets {variant}" for unit, variant in forced)
        rest = experiment.forced.standing().count() - len(forced)
        found.append(f"Forced, and not analysed: {named}{f', and {rest} more' if rest else ''}.")
    return found


_MOST_NAMED = 10


def of_draft(experiment: Experiment, variants: Variants) -> list[str]:
    effects = [
        "It can be edited again, and starts no more by itself. Nobody is assigned, so no user notices."
    ]
    if experiment.approved_version is not None:
        effects.append("Its approval is void.")
    return effects


def of_schedule(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        "It starts by itself at the time that you give; until then nobody is assigned.",
        *of_start(experiment, variants),
    ]


def of_pause(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        _to_control(experiment, variants),
        f"Nobody new is assigned; who has a variant gets it back when you resume. {STAYS}",
    ]


def of_resume(experiment: Experiment, variants: Variants) -> list[str]:
    moved, total = _others(variants), _all(variants)
    effects = [
        f"Changes the config of {count(moved)} of {units(experiment, total)}: each gets its own variant again. {STAYS}"
    ]
    if experiment.state == State.HALTED:
        effects.append(
            "It was halted to keep users from harm: say what is different now. Your reason is kept in the audit."
        )
        effects.append(
            "The guardrail that halted it watches anew. What is known does not halt it again; it does when units exposed from "
            "now on show harm, or when the harm among all is surely larger than the one that you accept now."
        )
    return effects


def of_kill(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        f"Within a second, everywhere. {_to_control(experiment, variants)}",
        f"It opens an incident; only a person can resume it, with a reason. {STAYS}",
    ]


def of_stop(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        _to_control(experiment, variants),
        "Nobody is assigned any more. What was assigned and measured stays.",
        "A stopped experiment cannot be started again; it can be shipped.",
    ]


def of_ship(
    experiment: Experiment, variants: Variants, variant: str = "the variant that you choose"
) -> list[str]:
    return [
        f"Everyone who asks, but the global holdout, gets the config of {variant}, also those who were not among the "
        f"{units(experiment, _all(variants))} of the experiment.",
        "One person can take it back; then everyone gets the control's config again.",
    ]


def of_unship(experiment: Experiment, variants: Variants) -> list[str]:
    return [
        f"Everyone gets the config of the control {control_key(variants)} again, instead of {experiment.shipped_variant}.",
        "The results stay as they are.",
    ]


def of_archive(experiment: Experiment, variants: Variants) -> list[str]:
    effects = ["It leaves the lists; its results and its audit stay to be read. It cannot be brought back."]
    if experiment.started_at is not None:
        effects.append(
            "Clients that still ask are told 404, “there is no such experiment”, and fall back to what they have built "
            "in: remove the call from them first."
        )
    return effects


def of_change(experiment: Experiment, action: str, arguments: Mapping[str, Any]) -> list[str]:
    """Of a change that somebody may have to approve, with the arguments that `reviews.request` keeps."""
    if action == "change_weights":
        kind, weights = EpochKind(arguments["kind"]), arguments["weights"]
        try:
            preview = epochs.preview(experiment, kind, weights)
        except InvalidInput as refused:
            return [refused.detail]
        return [f"New weights: {epochs.describe_weights(weights)}.", *preview.sentences]
    if action == "change_coverage":
        return of_coverage(experiment, arguments["coverage_bp"])
    if action == "ship":
        return of_ship(experiment, list(experiment.variants.counted()), arguments["variant"])
    if action == "force":
        return [
            f"The unit {arguments['unit']} gets {arguments['variant']} from now on, whatever its own variant is.",
            f"It is not analysed any more, even after it is removed. {STAYS}",
        ]
    if action == "unforce":
        return [
            f"The unit {arguments['unit']} is treated as any other again; it stays out of the analysis.",
            STAYS,
        ]
    return of_revision(experiment, arguments["configs"])


def of_coverage(experiment: Experiment, coverage_bp: int) -> list[str]:
    total = Assignment.objects.filter(experiment=experiment).count()
    before = experiment.coverage_bp
    said = (
        f"Coverage {in_percent(before)} becomes {in_percent(coverage_bp)}. Moves none of {units(experiment, total)}: "
        f"each keeps its variant. {STAYS}"
    )
    if coverage_bp > before:
        return [said, "More newcomers take part."]
    return [
        said,
        "Fewer newcomers take part; the others get the control's config and are not counted.",
        "Local SDKs can no longer work out who has which variant: their payload serves the control.",
    ]


def of_revision(experiment: Experiment, configs: Mapping[str, Any]) -> list[str]:
    variants = {one.key: one for one in experiment.variants.counted()}
    total = sum(one.assigned_count for one in variants.values())
    touched = [variants[key] for key in configs if key in variants]
    concerned = sum(one.assigned_count for one in touched)
    names = ", ".join(f"{one.key} (version {one.version + 1})" for one in touched)
    return [
        f"A new version of {names}, within a second: another config for {count(concerned)} of {units(experiment, total)}.",
        "Nobody changes the variant. Analysis restarts: yes, with units that were not exposed before; what was found "
        "so far stays to be read.",
    ]


def _to_control(experiment: Experiment, variants: Variants) -> str:
    return (
        f"Everyone gets the config of the control {control_key(variants)} from the next call on. "
        f"That changes it for {count(_others(variants))} of {units(experiment, _all(variants))} assigned so far."
    )


def _definition(variants: Variants) -> str:
    return f"It will be dealt by weight: {split(variants)}."


def _others(variants: Variants) -> int:
    return sum(variant.assigned_count for variant in variants if not variant.is_control)


def _all(variants: Variants) -> int:
    return sum(variant.assigned_count for variant in variants)


def of_request(asked: ChangeRequest) -> list[str]:
    return of_change(asked.experiment, asked.action, asked.arguments)
