"""What clients read of incidents, and what they say to them."""

from datetime import timedelta
from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.incidents import PERSONS_RESOLUTIONS
from monitoring.models import Incident, IncidentEvent, IncidentFlag, Usefulness
from monitoring.serializers.deliveries import DeliverySerializer
from triageops.rest import InvalidInput

COMMENT_MAX, NOTE_MAX = 4_000, 1_000
LONGEST_ACKNOWLEDGEMENT = timedelta(days=30)


class EffectSerializer(serializers.Serializer[object]):
    """Since the onset, in the metric's own unit; `low` and `high` are the 95 % interval of `difference`."""

    current = serializers.FloatField()
    level = serializers.FloatField()
    difference = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()


class IncidentFlagSerializer(serializers.ModelSerializer[IncidentFlag]):
    """`ended_at` is null while it holds."""

    class Meta:
        model = IncidentFlag
        fields: ClassVar = ["kind", "cause", "why", "who", "since", "until", "ended_at"]


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    """Of one origin: `monitor`, `experiment` (it was halted), or `source` (another system reported it).

    `evidence` is what a halt was based on; `annotations` is what was reported.
    """

    effect = EffectSerializer(read_only=True, allow_null=True)
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)
    annotations = serializers.DictField(child=serializers.CharField(), read_only=True)
    acknowledged_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    resolved_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Incident
        fields: ClassVar = [
            "id", "monitor", "experiment", "source", "reported_by", "slice_key", "labels", "annotations", "signal", "title",
            "severity", "state", "onset_at", "opened_at", "acknowledged_at", "acknowledged_by", "acknowledged_until",
            "hold_until", "expected_until", "resolved_at", "resolved_by", "resolution", "usefulness", "effect", "evidence",
            "alarm_count", "version",
        ]  # fmt: skip

    def to_representation(self, instance: Incident) -> dict[str, object]:
        instance.effect = instance.effect or None
        return super().to_representation(instance)


class IncidentEventSerializer(serializers.ModelSerializer[IncidentEvent]):
    """`hash` seals this event and all before it; `actor` is who did it, as written at that time."""

    class Meta:
        model = IncidentEvent
        fields: ClassVar = ["seq", "kind", "at", "actor", "details", "hash"]


class IncidentWithHistorySerializer(IncidentSerializer):
    flags = IncidentFlagSerializer(many=True, read_only=True)
    events = IncidentEventSerializer(many=True, read_only=True)
    deliveries = DeliverySerializer(source="messages", many=True, read_only=True)

    class Meta(IncidentSerializer.Meta):
        fields: ClassVar = [*IncidentSerializer.Meta.fields, "flags", "events", "deliveries"]


class AcknowledgeSerializer(StrictSerializer):
    """With an end, it fires again then unless it is over; without one, the acknowledgement does not end."""

    until = serializers.DateTimeField(required=False)
    seconds = serializers.IntegerField(
        required=False, min_value=60, max_value=int(LONGEST_ACKNOWLEDGEMENT.total_seconds())
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) == 2:
            raise InvalidInput("It is not clear when it ends.", field="until", fix="Send until or seconds.")
        return attrs


class ResolveSerializer(StrictSerializer):
    resolution = WordField([(one.value, one.label) for one in PERSONS_RESOLUTIONS])
    note = TextField(required=False, default="", allow_blank=True, max_length=NOTE_MAX)


class CommentSerializer(StrictSerializer):
    text = TextField(max_length=COMMENT_MAX)


class JudgeSerializer(StrictSerializer):
    usefulness = WordField(Usefulness.choices)
