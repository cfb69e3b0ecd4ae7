"""What a change of weights, coverage or configs must be, for whoever asks for it: the admin, REST, a review, the ramp."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError

from experiments.assignment import BASIS_POINTS
from experiments.definition import config_hash, in_percent, misfits, validate_config
from experiments.models import AllocationEpoch, EpochKind, Experiment, Variant
from triageops.rest import Conflict, InvalidInput

WEIGHT_KINDS = (EpochKind.STICKY, EpochKind.MINIMAL_MOVE, EpochKind.RERANDOMISE)


class NeedsReview(Conflict):
    """The experiment's two-person rule asks for somebody else's approval."""

    type = "needs-review"
    title = "Somebody else has to approve this"


def refuse_without_review(experiment: Experiment, *, is_approved: bool) -> None:
    if experiment.requires_review and not is_approved:
        raise NeedsReview(
            "The two-person rule of this experiment asks for somebody else's approval.",
            fix="Request the change in the admin; somebody else approves it there.",
        )


def check_kind(kind: str) -> EpochKind:
    if kind not in WEIGHT_KINDS:
        raise InvalidInput(
            f"{kind!r} is no way to change weights.",
            field="kind",
            fix=f"Use one of {', '.join(WEIGHT_KINDS)}.",
        )
    return EpochKind(kind)


def check_weights(variants: Sequence[Variant], weights_bp: Mapping[str, int]) -> None:
    """Raises InvalidInput unless each variant has a weight, and they are basis points that sum to all."""
    keys = [variant.key for variant in variants]
    said = _wrong_keys(keys, weights_bp)
    if said:
        raise InvalidInput(
            said, field="weights", fix=f"Send basis points for each of {', '.join(keys)}, and for no other."
        )
    for key, weight in weights_bp.items():
        if type(weight) is not int or not 0 <= weight <= BASIS_POINTS:
            raise InvalidInput(
                f"The weight of {key}, {weight!r}, is no whole number from 0 to 10 000.",
                field="weights",
                fix="Send basis points, such as 5000 for a half; together they sum to 10 000.",
            )
    total = sum(weights_bp.values())
    if total != BASIS_POINTS:
        many = (
            f"{total - BASIS_POINTS} too many" if total > BASIS_POINTS else f"{BASIS_POINTS - total} too few"
        )
        raise InvalidInput(
            f"The weights sum to {total} basis points: {many}.",
            field="weights",
            fix="Make them whole numbers from 0 that sum to 10 000.",
        )


def _wrong_keys(keys: Sequence[str], weights_bp: Mapping[str, int]) -> str:
    missing = [key for key in keys if key not in weights_bp]
    if missing:
        return f"There is no weight for {', '.join(missing)}."
    unknown = [key for key in weights_bp if key not in keys]
    return f"There is no variant {', '.join(map(repr, unknown))}." if unknown else ""


def check_new_weights(former: AllocationEpoch, kind: EpochKind, weights_bp: Mapping[str, int]) -> None:
    """Refuse what would change nothing; to deal all anew changes who has what, whatever the weights."""
    if kind != EpochKind.RERANDOMISE and former.weights == dict(weights_bp):
        raise InvalidInput(
            f"These are the weights that it has: {describe_weights(weights_bp)}.",
            field="weights",
            fix=f"Change at least two; to deal all units anew by the same weights, use {EpochKind.RERANDOMISE}.",
        )


def check_coverage(coverage_bp: int) -> None:
    if type(coverage_bp) is not int or not 0 < coverage_bp <= BASIS_POINTS:
        raise InvalidInput(
            f"A coverage of {coverage_bp} basis points is none.",
            field="coverage_bp",
            fix="Send 1 to 10 000.",
        )


def check_new_coverage(former: AllocationEpoch, coverage_bp: int) -> None:
    """Refuse what would change nothing."""
    if coverage_bp == former.coverage_bp:
        raise InvalidInput(
            f"The coverage is {in_percent(coverage_bp)} already.",
            field="coverage_bp",
            fix="Send another one, or leave it as it is.",
        )


def check_configs(
    experiment: Experiment, variants: Mapping[str, Variant], configs: Mapping[str, Any]
) -> None:
    """Raises InvalidInput for configs that these variants cannot have."""
    for key, config in configs.items():
        if key not in variants:
            raise InvalidInput(
                f"There is no variant {key!r}.",
                field=f"configs.{key}",
                fix=f"Use some of {', '.join(variants)}.",
            )
        try:
            validate_config(config)
        except ValidationError as error:
            raise InvalidInput(
                " ".join(error.messages), field=f"configs.{key}", fix="Correct this config."
            ) from None
        said = misfits(config, experiment.config_schema)
        if said:
            raise InvalidInput(
                f"The config of {key} does not fit the schema: {said[0]}",
                field=f"configs.{key}",
                fix="Send a config that fits.",
            )


def differing_configs(variants: Mapping[str, Variant], configs: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not what they are. Raises InvalidInput when there is none."""
    found = {
        key: config for key, config in configs.items() if variants[key].config_hash != config_hash(config)
    }
    if not found:
        raise InvalidInput("No config differs from what it is.", field="configs", fix="Change at least one.")
    return found


def describe_weights(weights_bp: Mapping[str, int]) -> str:
    """gpt-4 50 %, claude-2 30 %."""
    return ", ".join(f"{key} {in_percent(weight)}" for key, weight in weights_bp.items())
