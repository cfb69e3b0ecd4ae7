"""Experiments as they are defined: what reading gives, and what a client may say of a draft."""

from typing import Any, ClassVar

from rest_framework import serializers

from experiments.drafts import FIELDS
from experiments.models import Experiment, ExperimentMetric, RampStep, Variant
from experiments.serializers.strict import StrictSerializer, TextField


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


class DefinedMetricSerializer(MetricSerializer):
    """As a client says it."""

    name = serializers.CharField(required=False, max_length=100, help_text="The key without.")


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

    targeting = serializers.DictField(required=False)
    config_schema = serializers.DictField(required=False, allow_null=True)
    variants = VariantSerializer(many=True, required=False)
    metrics = DefinedMetricSerializer(many=True, required=False)
    ramp = RampStepSerializer(many=True, required=False)
    owner: Any = serializers.CharField(required=False, allow_null=True, help_text="Username of whom to ask.")
    layer: Any = serializers.CharField(required=False, allow_null=True, help_text="Key of a layer.")
    version = serializers.IntegerField(
        required=False, help_text="Of a change: the version that it is meant for; or send If-Match."
    )
    reason = serializers.CharField(required=False, help_text="Of a change: stands in the audit.")

    class Meta(ExperimentDetailSerializer.Meta):
        fields: ClassVar = [
            "key",
            *FIELDS,
            "owner",
            "layer",
            "variants",
            "metrics",
            "ramp",
            "version",
            "reason",
        ]


class ExportSerializer(serializers.Serializer[object]):
    format = serializers.CharField()
    key = serializers.CharField()
    definition = serializers.DictField()


class CloneSerializer(StrictSerializer):
    key = TextField(max_length=128)
