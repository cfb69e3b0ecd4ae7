"""What a client says when a monitor shall do something."""

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField

_REASON_MAX = 400


class ReasonSerializer(StrictSerializer):
    reason = TextField(required=False, default="", allow_blank=True, max_length=_REASON_MAX)


class ReasonNeededSerializer(StrictSerializer):
    reason = TextField(max_length=_REASON_MAX)


class ActivateSerializer(StrictSerializer):
    without_backtest = TextField(
        required=False,
        default="",
        allow_blank=True,
        max_length=_REASON_MAX,
        help_text="Why it need not be tried out first.",
    )


class AcceptSerializer(StrictSerializer):
    reason = TextField(max_length=_REASON_MAX)
    start_at = serializers.DateTimeField(
        required=False,
        help_text="Default: the onset of the earliest open incident, else the reference's length ago.",
    )
    end_at = serializers.DateTimeField(required=False, help_text="Default: now.")


class AcceptedSerializer(serializers.Serializer[object]):
    reference_version = serializers.IntegerField()
    resolved_count = serializers.IntegerField(help_text="Incidents that are over by that.")
