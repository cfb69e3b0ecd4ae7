"""What a monitor has learnt and seen."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from monitoring.models import DriftEvaluation, Reference, ReferenceSlice


class SightSerializer(serializers.Serializer[object]):
    """Smallest change that is found within so many seconds on average; null: none is."""

    within_seconds = serializers.FloatField()
    up = serializers.FloatField(allow_null=True)
    down = serializers.FloatField(allow_null=True)


class ReferenceSliceSerializer(serializers.ModelSerializer[ReferenceSlice]):
    sight = serializers.SerializerMethodField()

    class Meta:
        model = ReferenceSlice
        fields: ClassVar = ["key", "labels", "n", "mean", "sd", "bucket_n", "sight"]

    @extend_schema_field(SightSerializer(allow_null=True))
    def get_sight(self, row: ReferenceSlice) -> dict[str, Any] | None:
        return row.sight or None


class ReferenceSerializer(serializers.ModelSerializer[Reference]):
    made_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    is_current = serializers.BooleanField(read_only=True, help_text="Whether checks use it.")
    question = serializers.DictField(help_text="What the monitor asked when it was learnt.")
    slices = ReferenceSliceSerializer(many=True, read_only=True)

    class Meta:
        model = Reference
        fields: ClassVar = [
            "version", "is_current", "mode", "start_at", "end_at", "made_at", "made_by", "reason", "question", "n",
            "bucket_count", "longest_gap_seconds", "slices",
        ]  # fmt: skip


class EvaluationSerializer(serializers.ModelSerializer[DriftEvaluation]):
    slice = serializers.CharField(source="slice.key", help_text="Its key.")

    class Meta:
        model = DriftEvaluation
        fields: ClassVar = [
            "slice", "bucket_at", "n", "mean", "expected", "low", "high", "log_evidence", "is_alarm", "is_signal",
            "is_frozen",
        ]  # fmt: skip


class SideSerializer(serializers.Serializer[object]):
    start_at = serializers.DateTimeField()
    end_at = serializers.DateTimeField()
    n = serializers.IntegerField()
    mean = serializers.FloatField(allow_null=True)
    sd = serializers.FloatField(allow_null=True)


class DivergenceSerializer(serializers.Serializer[object]):
    value = serializers.FloatField()
    null_mean = serializers.FloatField(help_text="What it is on average when nothing has changed.")
    null_quantile = serializers.FloatField(help_text="Exceeded one time in twenty when nothing has changed.")


class QuantilePairSerializer(serializers.Serializer[object]):
    q = serializers.FloatField()
    current = serializers.FloatField()
    reference = serializers.FloatField()


class ChartCellSerializer(serializers.Serializer[object]):
    """Shares of both in low < value <= high; low = high: exactly this value; null: no end on this side."""

    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    current = serializers.FloatField()
    reference = serializers.FloatField()


class ComparisonSerializer(serializers.Serializer[object]):
    """Effect sizes, not tests: alarms come from evidence that piles up, whatever these say."""

    key = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField())
    is_since_onset = serializers.BooleanField(
        help_text="Since the onset of the open incident, not the last 24 hours."
    )
    is_compared = serializers.BooleanField(help_text="The reference is another variant at the same time.")
    current = SideSerializer()
    reference = SideSerializer()
    psi = DivergenceSerializer(allow_null=True)
    ks = DivergenceSerializer(allow_null=True)
    wasserstein = DivergenceSerializer(allow_null=True, help_text="In standard deviations of the reference.")
    quantiles = QuantilePairSerializer(many=True)
    cells = ChartCellSerializer(many=True)
