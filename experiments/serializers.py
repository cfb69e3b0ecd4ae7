from typing import Any, ClassVar

from rest_framework import serializers

from experiments.definition import UNIT_MAX
from experiments.models import Experiment, Variant
from experiments.placement import REASONS
from triageops.rest import InvalidInput


class VariantSerializer(serializers.ModelSerializer[Variant]):
    config = serializers.DictField(help_text="Handed to the client as it is.")

    class Meta:
        model = Variant
        fields: ClassVar = ["key", "is_control", "weight_bp", "config"]


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    class Meta:
        model = Experiment
        fields: ClassVar = [
            "key", "name", "hypothesis", "unit_kind", "coverage_bp", "state", "started_at", "stopped_at", "created_at",
            "version",
        ]  # fmt: skip


class ExperimentDetailSerializer(ExperimentSerializer):
    variants = VariantSerializer(many=True)

    class Meta(ExperimentSerializer.Meta):
        fields: ClassVar = [*ExperimentSerializer.Meta.fields, "variants"]


class UnitField(serializers.CharField):
    """Text exactly as it was sent; a number is refused, since 5 and "5" would silently be one unit."""

    def run_validation(self, data: Any = serializers.empty) -> str:
        if data is serializers.empty:
            raise InvalidInput(
                "The unit is missing.", field="unit", fix='Send {"unit": "<pseudonymous id>"}.'
            )
        if not isinstance(data, str):
            raise InvalidInput("The unit is not text.", field="unit", fix="Send the id as a JSON string.")
        return data


class AssignRequestSerializer(serializers.Serializer[object]):
    unit = UnitField(
        min_length=1,
        max_length=UNIT_MAX,
        trim_whitespace=False,
        help_text="Pseudonymous id of the user or case.",
    )

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise InvalidInput("The body is not a JSON object.", fix='Send {"unit": "<pseudonymous id>"}.')
        for name in data:
            if name not in self.fields:
                raise InvalidInput(
                    f"The field {name!r} is not known.",
                    field=name,
                    fix=f"Leave it out; known: {', '.join(self.fields)}.",
                )
        return super().to_internal_value(data)


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
