"""Messages: to whom, with which outcome, and what the receiver answered."""

from typing import ClassVar

from rest_framework import serializers

from monitoring.models import DeliveryAttempt, OutboxMessage


class DeliveryAttemptSerializer(serializers.ModelSerializer[DeliveryAttempt]):
    class Meta:
        model = DeliveryAttempt
        fields: ClassVar = [
            "number", "started_at", "seconds", "together_count", "outcome", "reason", "status_code", "answer",
            "is_ambiguous",
        ]  # fmt: skip


class DeliveryRowSerializer(serializers.ModelSerializer[OutboxMessage]):
    """`because` says why this channel is told; `suppressed_since` since when it is, or was, held back."""

    channel = serializers.SlugRelatedField[OutboxMessage](slug_field="name", read_only=True)
    route = serializers.SlugRelatedField[OutboxMessage](slug_field="name", read_only=True)
    incident = serializers.UUIDField(source="incident_id", read_only=True, allow_null=True)

    class Meta:
        model = OutboxMessage
        fields: ClassVar = [
            "id", "webhook_id", "incident", "channel", "seq", "kind", "status", "reason", "attempt_count", "route", "because",
            "step", "suppressed_since", "suppressed_by", "not_before", "created_at", "expires_at", "delivered_at",
        ]  # fmt: skip


class DeliverySerializer(DeliveryRowSerializer):
    attempts = DeliveryAttemptSerializer(many=True, read_only=True)

    class Meta(DeliveryRowSerializer.Meta):
        fields: ClassVar = [*DeliveryRowSerializer.Meta.fields, "attempts"]


class DeliveryDetailSerializer(DeliverySerializer):
    payload = serializers.DictField(read_only=True, help_text="What it says, frozen when it was written.")

    class Meta(DeliverySerializer.Meta):
        fields: ClassVar = [*DeliverySerializer.Meta.fields, "payload"]
