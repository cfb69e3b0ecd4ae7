"""What clients read of incidents."""

from typing import ClassVar

from rest_framework import serializers

from monitoring.models import DeliveryAttempt, Incident, IncidentEvent, OutboxMessage


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
            "id", "monitor", "experiment", "slice_key", "labels", "signal", "title", "severity", "state", "onset_at", "opened_at",
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
