"""Monitors as they are defined: what reading gives, and what a client may say."""

import math
from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField
from monitoring.definitions import SETTABLE
from monitoring.models import Monitor, MonitorSlice
from monitoring.slices import described
from triageops.rest import InvalidInput


class MonitorSliceSerializer(serializers.ModelSerializer[MonitorSlice]):
    name = serializers.SerializerMethodField(help_text="As people call it.")
    evidence_share = serializers.SerializerMethodField(
        help_text="Of the alarm line: 1 is an alarm; null: no evidence yet."
    )
    in_band_count = serializers.SerializerMethodField(
        help_text="Good judgements in a row, while an incident is open."
    )

    class Meta:
        model = MonitorSlice
        fields: ClassVar = [
            "key", "name", "labels", "is_tracked", "log_evidence", "evidence_share", "bucket_at", "last_row_at",
            "in_band_count",
        ]  # fmt: skip

    def get_name(self, row: MonitorSlice) -> str:
        return described(row.labels, row.key) or "all records"

    def get_evidence_share(self, row: MonitorSlice) -> float | None:
        return None if row.log_evidence is None else math.exp(min(0.0, row.log_evidence))

    def get_in_band_count(self, row: MonitorSlice) -> int:
        return int(row.recovery.get("in_band_count", 0))


class MonitorSerializer(serializers.ModelSerializer[Monitor]):
    where = serializers.DictField(child=serializers.CharField())
    control = serializers.DictField(child=serializers.CharField())
    parameters = serializers.DictField()
    channels = serializers.SlugRelatedField[Any](slug_field="name", many=True, read_only=True)
    reference_version = serializers.IntegerField(source="reference.version", allow_null=True, default=None)
    promised_alarms = serializers.FloatField(
        read_only=True, help_text="Most false alarms in 30 days on average, over all its slices."
    )

    class Meta:
        model = Monitor
        fields: ClassVar = [
            "id", "name", "description", "kind", "metric", "where", "split_by", "max_slices", "is_whole_watched",
            "parameters", "maturity_hours", "reference_mode", "reference_start_at", "reference_end_at", "reference_days",
            "reference_gap_hours", "control", "stale_after_days", "alarms_per_30_days", "weight", "severity", "channels",
            "resolve_after_buckets", "recovery_n_min", "hold_seconds", "runbook_url", "state", "reference_version",
            "learning_note", "promised_alarms", "whole_alarms", "slice_alarms", "started_at", "watermark_at", "due_at",
            "checked_at", "check_row_count", "check_error", "failure_count", "last_row_at", "created_at",
        ]  # fmt: skip


class MonitorWithSlicesSerializer(MonitorSerializer):
    slices = MonitorSliceSerializer(many=True, read_only=True)

    class Meta(MonitorSerializer.Meta):
        fields: ClassVar = [*MonitorSerializer.Meta.fields, "slices"]


class MonitorInputSerializer(StrictSerializer, serializers.ModelSerializer[Monitor]):
    """Needs `name`, `kind` and `metric`; the rest has defaults. `channels` are names."""

    where = serializers.DictField(child=TextField(allow_blank=True), required=False)
    control = serializers.DictField(child=TextField(allow_blank=True), required=False)
    parameters = serializers.DictField(required=False, help_text="Of the kind; GET shows those it has.")
    split_by = serializers.ListField(child=TextField(), required=False, max_length=3)
    channels: Any = serializers.ListField(child=TextField(), required=False)

    class Meta:
        model = Monitor
        fields: ClassVar = list(SETTABLE)
        extra_kwargs: ClassVar = {
            "name": {"validators": []},
            "kind": {"required": True},
            "weight": {"required": False},
            "is_whole_watched": {"required": False},
        }

    def to_internal_value(self, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            if wanted := _misfit(self.fields.get(name), value):
                raise InvalidInput(f"{name}={value!r} is not {wanted}.", field=name, fix=f"Send {wanted}.")
        return super().to_internal_value(data)


def _misfit(field: serializers.Field[Any, Any, Any, Any] | None, value: object) -> str:
    """What it should be, where the framework would silently make it so."""
    if isinstance(field, serializers.BooleanField):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(field, serializers.IntegerField | serializers.FloatField):
        is_good = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        return "" if is_good else "a number"
    if isinstance(field, serializers.CharField | serializers.ChoiceField):
        return "" if value is None or isinstance(value, str) else "text"
    return ""


class MonitorChangeSerializer(MonitorInputSerializer):
    """What differs from what is stored. What was read may be sent back whole."""

    reason = TextField(
        required=False,
        default="",
        allow_blank=True,
        max_length=400,
        help_text="Needed when a monitor that is watching would ask something else.",
    )

    class Meta(MonitorInputSerializer.Meta):
        fields: ClassVar = [*SETTABLE, "reason"]
