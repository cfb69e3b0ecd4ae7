import json
from typing import Any, ClassVar

from rest_framework import serializers

from experiments import lifecycle
from experiments.asking import MOST_UNITS
from experiments.definition import UNIT_MAX
from experiments.drafts import FIELDS
from experiments.epochs import WEIGHT_KINDS
from experiments.models import (
    AllocationEpoch,
    Experiment,
    ExperimentEvent,
    ExperimentMetric,
    ForcedVariant,
    RampStep,
    Variant,
)
from experiments.placement import REASONS
from triageops.rest import InvalidInput


def checked_object(data: Any) -> dict[str, Any]:
    """The body of a call, when it is an object of JSON that can be stored. Raises InvalidInput."""
    if not isinstance(data, dict):
        raise InvalidInput(
            "The body is not a JSON object.", fix="Send an object with Content-Type: application/json."
        )
    try:
        text = json.dumps(data, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        raise InvalidInput(
            "The body holds an infinity, half a surrogate pair or too deep a nesting.", fix="Leave it out."
        ) from None
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidInput("The body holds a NUL character.", fix="Leave it out.")
    return data


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know, by name: misspelt, they would do nothing."""

    def to_internal_value(self, data: Any) -> Any:
        for name in checked_object(data):
            if name not in self.fields:
                raise InvalidInput(
                    f"The field {name!r} is not known.",
                    field=name,
                    fix=f"Leave it out; known: {', '.join(self.fields)}.",
                )
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """Text as it was sent: no number, which would silently become one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class VariantSerializer(serializers.ModelSerializer[Variant]):
    config = serializers.DictField(help_text="Handed to the client as it is.")
    config_hash = serializers.CharField(read_only=True)

    class Meta:
        model = Variant
        fields: ClassVar = ["key", "is_control", "weight_bp", "config", "version", "config_hash"]


class MetricSerializer(serializers.ModelSerializer[ExperimentMetric]):
    class Meta:
        model = ExperimentMetric
        fields: ClassVar = [
            "key", "name", "role", "kind", "source", "per", "better", "margin", "cap", "window_days", "quantile",
            "worth", "is_adjusted", "halts", "alpha",
        ]  # fmt: skip


class RampStepSerializer(serializers.ModelSerializer[RampStep]):
    class Meta:
        model = RampStep
        fields: ClassVar = ["coverage_bp", "after_hours", "after_units", "reached_at"]


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    class Meta:
        model = Experiment
        fields: ClassVar = [
            "key", "name", "hypothesis", "unit_kind", "coverage_bp", "state", "started_at", "stopped_at", "created_at",
            "version",
        ]  # fmt: skip


class ExperimentDetailSerializer(serializers.ModelSerializer[Experiment]):
    owner = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    layer = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    targeting = serializers.DictField()
    config_schema = serializers.DictField(allow_null=True)
    variants = VariantSerializer(many=True)
    metrics = MetricSerializer(many=True)
    ramp = RampStepSerializer(many=True)

    class Meta:
        model = Experiment
        fields: ClassVar = [
            "key", "state", "version", *FIELDS, "owner", "layer", "variants", "metrics", "ramp", "epoch",
            "shipped_variant", "approved_version", "started_at", "stopped_at", "created_at",
        ]  # fmt: skip
        # What a draft may say; the job functions check it.
        read_only_fields: ClassVar = [
            "state", "version", "epoch", "shipped_variant", "approved_version", "started_at", "stopped_at", "created_at",
        ]  # fmt: skip


class DefinitionSerializer(ExperimentDetailSerializer):
    """What a client may say of a draft: every field may be left out."""

    layer: Any = serializers.CharField(required=False, allow_null=True, help_text="Key of a layer.")
    version = serializers.IntegerField(
        required=False, help_text="Of a change: the version that it is meant for; or send If-Match."
    )
    reason = serializers.CharField(required=False, help_text="Of a change: stands in the audit.")

    class Meta(ExperimentDetailSerializer.Meta):
        fields: ClassVar = ["key", *FIELDS, "layer", "variants", "metrics", "ramp", "version", "reason"]


class ExportSerializer(serializers.Serializer[object]):
    format = serializers.CharField()
    key = serializers.CharField()
    definition = serializers.DictField()


class CloneSerializer(StrictSerializer):
    key = TextField(max_length=128)


class ChangeSerializer(StrictSerializer):
    """What every change of a started experiment says."""

    version = serializers.IntegerField(
        required=False, help_text="The version that it is meant for; or send If-Match."
    )
    reason = TextField(required=False, default="", allow_blank=True, max_length=2_000)


class TransitionSerializer(ChangeSerializer):
    action = serializers.ChoiceField(
        [one.action for one in lifecycle.TABLE if one.action not in lifecycle.BY_SYSTEM_ONLY]
    )
    variant = TextField(required=False, help_text="Of `ship`: which one.")
    at = serializers.DateTimeField(required=False, help_text="Of `schedule`: when it starts.")


class _PreviewedSerializer(ChangeSerializer):
    dry_run = serializers.BooleanField(required=False, default=False, help_text="Only say what it would do.")


class WeightsSerializer(_PreviewedSerializer):
    kind = serializers.ChoiceField([kind.value for kind in WEIGHT_KINDS])
    weights = serializers.DictField(
        child=serializers.JSONField(), help_text="Basis points by variant; they sum to 10 000."
    )


class CoverageSerializer(ChangeSerializer):
    coverage_bp = serializers.IntegerField(min_value=1, max_value=10_000)


class RevisionSerializer(ChangeSerializer):
    configs = serializers.DictField(child=serializers.JSONField(), help_text="New configs by variant.")


class ForceSerializer(ChangeSerializer):
    variant = TextField()


class PreviewSerializer(serializers.Serializer[object]):
    kind = serializers.ChoiceField([kind.value for kind in WEIGHT_KINDS])
    stored_count = serializers.IntegerField(help_text="Units that have a variant.")
    moved_count = serializers.IntegerField(help_text="Of these, those that would get another one.")
    restarts = serializers.BooleanField(help_text="Whether the analysis starts anew.")
    sentences = serializers.ListField(child=serializers.CharField())


class EpochSerializer(serializers.ModelSerializer[AllocationEpoch]):
    by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    weights = serializers.DictField(child=serializers.IntegerField())
    versions = serializers.DictField(child=serializers.IntegerField())
    ranges = serializers.ListField(help_text="[variant, first bucket, end], half-open.")
    moved = serializers.ListField(help_text="[from, to, first bucket, end]")

    class Meta:
        model = AllocationEpoch
        fields: ClassVar = [
            "number", "phase", "kind", "coverage_bp", "weights", "versions", "ranges", "moved", "started_at", "ended_at",
            "reason", "by",
        ]  # fmt: skip


class EpochsSerializer(serializers.Serializer[object]):
    results = EpochSerializer(many=True)


class AuditSerializer(serializers.ModelSerializer[ExperimentEvent]):
    by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    api_key = serializers.SlugRelatedField[Any](
        slug_field="prefix", read_only=True, help_text="First characters of the key."
    )
    before = serializers.DictField()
    after = serializers.DictField()
    evidence = serializers.DictField()

    class Meta:
        model = ExperimentEvent
        fields: ClassVar = ["at", "action", "by", "api_key", "reason", "before", "after", "evidence"]


class ForcedSerializer(serializers.ModelSerializer[ForcedVariant]):
    variant = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = ForcedVariant
        fields: ClassVar = ["unit", "variant", "reason", "by", "created_at"]


class ForcedListSerializer(serializers.Serializer[object]):
    results = ForcedSerializer(many=True)


class AssignRequestSerializer(serializers.Serializer[object]):
    """Either `unit`, or `units`."""

    unit = serializers.CharField(
        required=False, min_length=1, max_length=UNIT_MAX, help_text="Pseudonymous id of the user or case."
    )
    attributes = serializers.DictField(required=False, help_text="What targeting looks at.")
    units = serializers.ListField(
        required=False,
        max_length=MOST_UNITS,
        help_text='Many at once: texts, or objects such as {"unit": "patient-17", "attributes": {}}.',
    )


class AssignAllRequestSerializer(serializers.Serializer[object]):
    unit = serializers.CharField(min_length=1, max_length=UNIT_MAX)
    attributes = serializers.DictField(required=False)
    experiments = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Keys; all running ones when it is left out."
    )


class DecisionSerializer(serializers.Serializer[object]):
    experiment = serializers.CharField()
    variant = serializers.CharField(
        allow_null=True, help_text="Null only for a draft that has no control yet."
    )
    config = serializers.DictField(help_text="The variant's config.")
    in_experiment = serializers.BooleanField(
        help_text="False: the control's config, and not part of the experiment."
    )
    reason = serializers.ChoiceField([(reason.value, said) for reason, said in REASONS.items()])
    bucket = serializers.FloatField(allow_null=True, help_text="The unit's number in [0, 1).")
    assigned_at = serializers.DateTimeField(allow_null=True, help_text="When the unit was first seen.")
    config_hash = serializers.CharField(
        allow_blank=True, help_text="Send it with the response, so that a changed config is noticed."
    )
    variant_version = serializers.IntegerField(allow_null=True)
    epoch = serializers.IntegerField(
        allow_null=True, help_text="Grows with each change of weights or configs."
    )


class AssignedSerializer(serializers.Serializer[object]):
    """A decision, or for many units all of them in `results`, in the order of the units."""

    results = serializers.ListField(
        required=False, help_text='Decisions with `unit`, or {"unit", "problem"}.'
    )


class AssignedAllSerializer(serializers.Serializer[object]):
    unit = serializers.CharField()
    results = serializers.ListField(help_text='A decision for each experiment, or {"experiment", "problem"}.')


class StoredSerializer(serializers.Serializer[object]):
    variant = serializers.CharField()
    bucket = serializers.FloatField()
    epoch = serializers.IntegerField()
    generation = serializers.IntegerField(help_text="Grows when a change dealt this unit anew.")
    assigned_at = serializers.DateTimeField()


class AssignmentsSerializer(serializers.Serializer[object]):
    unit = serializers.CharField()
    stored = StoredSerializer(many=True, help_text="What it was given, the last first; empty: never seen.")
    decision = DecisionSerializer(help_text="What it would get now; asking stores nothing.")
