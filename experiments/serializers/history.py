"""What happened to an experiment: its epochs, its audit, its forced units."""

from typing import Any, ClassVar

from rest_framework import serializers

from experiments.models import AllocationEpoch, ExperimentEvent, ForcedVariant


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
