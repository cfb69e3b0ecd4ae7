"""What clients read of monitors and incidents."""

from typing import ClassVar

from rest_framework import serializers

from monitoring.models import DeliveryAttempt, Incident, IncidentEvent, Monitor, MonitorSlice, OutboxMessage


class MonitorSliceSerializer(serializers.ModelSerializer[MonitorSlice]):
    in_band_count = serializers.SerializerMethodField(
        help_text="Good judgements in a row, while an incident is open."
    )

    class Meta:
        model = MonitorSlice
        fields: ClassVar = ["key", "labels", "log_evidence", "bucket_at", "in_band_count"]

    def get_in_band_count(self, row: MonitorSlice) -> int:
        return int(row.recovery.get("in_band_count", 0))


class MonitorSerializer(serializers.ModelSerializer[Monitor]):
    class Meta:
        model = Monitor
        fields: ClassVar = [
            "id", "name", "description", "kind", "metric", "where", "split_by", "max_slices", "parameters",
            "alarms_per_30_days", "severity", "resolve_after_buckets", "recovery_n_min", "hold_seconds", "runbook_url",
            "state", "started_at", "watermark_at", "due_at", "checked_at", "check_row_count", "check_error",
            "failure_count", "created_at",
        ]  # fmt: skip


class MonitorWithSlicesSerializer(MonitorSerializer):
    slices = MonitorSliceSerializer(many=True, read_only=True)

    class Meta(MonitorSerializer.Meta):
        fields: ClassVar = [*MonitorSerializer.Meta.fields, "slices"]


class EffectSerializer(serializers.Serializer[object]):
    """Since the onset, in the metric's own unit; `low` and `high` are the 95 % interval of `difference`."""

    current = serializers.FloatField()
    level = serializers.FloatField()
    difference = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    """`monitor` is null when an experiment was halted; `experiment` and `evidence` are empty when a monitor found it."""

    effect = EffectSerializer(read_only=True, allow_null=True)

    class Meta:
        model = Incident
        fields: ClassVar = [
            "id", "monitor", "experiment", "slice_key", "labels", "title", "severity", "state", "onset_at", "opened_at",
            "acknowledged_at", "resolved_at", "resolution", "effect", "evidence", "alarm_count", "version",
        ]  # fmt: skip

    def to_representation(self, instance: Incident) -> dict[str, object]:
        instance.effect = instance.effect or None
        return super().to_representation(instance)


class IncidentEventSerializer(serializers.ModelSerializer[IncidentEvent]):
    class Meta:
        model = IncidentEvent
        fields: ClassVar = ["seq", "kind", "at", "details"]


class DeliveryAttemptSerializer(serializers.ModelSerializer[DeliveryAttempt]):
    class Meta:
        model = DeliveryAttempt
        fields: ClassVar = [
            "number",
            "started_at",
            "seconds",
            "outcome",
            "reason",
            "status_code",
            "is_ambiguous",
        ]


class DeliverySerializer(serializers.ModelSerializer[OutboxMessage]):
    channel = serializers.SlugRelatedField[OutboxMessage](slug_field="name", read_only=True)
    attempts = DeliveryAttemptSerializer(many=True, read_only=True)

    class Meta:
        model = OutboxMessage
        fields: ClassVar = [
            "id", "webhook_id", "channel", "seq", "kind", "status", "reason", "attempt_count", "not_before",
            "created_at", "delivered_at", "attempts",
        ]  # fmt: skip


class IncidentWithHistorySerializer(IncidentSerializer):
    events = IncidentEventSerializer(many=True, read_only=True)
    deliveries = DeliverySerializer(source="messages", many=True, read_only=True)

    class Meta(IncidentSerializer.Meta):
        fields: ClassVar = [*IncidentSerializer.Meta.fields, "events", "deliveries"]
