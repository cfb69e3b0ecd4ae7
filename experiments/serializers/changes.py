"""What a call changes of an experiment, and what a preview says of it."""

from rest_framework import serializers

from experiments import lifecycle
from experiments.epochs import WEIGHT_KINDS
from experiments.serializers.strict import StrictSerializer, TextField, WordField


class ChangeSerializer(StrictSerializer):
    """What every change of a started experiment says."""

    version = serializers.IntegerField(
        required=False, help_text="The version that it is meant for; or send If-Match."
    )
    reason = TextField(required=False, default="", allow_blank=True, max_length=2_000)


class TransitionSerializer(ChangeSerializer):
    action = WordField([one.action for one in lifecycle.TABLE if one.action not in lifecycle.BY_SYSTEM_ONLY])
    variant = TextField(required=False, help_text="Of `ship`: which one.")
    at = serializers.DateTimeField(required=False, help_text="Of `schedule`: when it starts.")


class _PreviewedSerializer(ChangeSerializer):
    dry_run = serializers.BooleanField(required=False, default=False, help_text="Only say what it would do.")


class WeightsSerializer(_PreviewedSerializer):
    kind = WordField([kind.value for kind in WEIGHT_KINDS])
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
