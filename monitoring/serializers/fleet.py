"""The common budget of false alarms, and markers."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.fleet import SHARES
from monitoring.models import FleetBudget, Marker, MarkerKind
from triageops.rest import InvalidInput

MOST_MINUTES = 30 * 24 * 60


class MarkerSerializer(serializers.ModelSerializer[Marker]):
    where = serializers.DictField(child=serializers.CharField())
    created_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Marker
        fields: ClassVar = ["id", "kind", "name", "starts_at", "ends_at", "where", "created_at", "created_by"]


class MarkerInputSerializer(StrictSerializer):
    """Either `minutes`, or `ends_at`; it begins now, or at `starts_at`."""

    kind = WordField(MarkerKind.values)
    name = TextField(max_length=200)
    starts_at = serializers.DateTimeField(required=False)
    ends_at = serializers.DateTimeField(required=False)
    minutes = serializers.IntegerField(required=False, min_value=1, max_value=MOST_MINUTES)
    where = serializers.DictField(child=TextField(allow_blank=True), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("minutes" in attrs) == ("ends_at" in attrs):
            raise InvalidInput(
                "It is not clear when it ends.", field="minutes", fix="Send either minutes or ends_at."
            )
        return attrs


def marker_values(body: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What fits MarkerInputSerializer, with a beginning and an end."""
    minutes = body.get("minutes")
    values = {name: value for name, value in body.items() if name != "minutes"}
    values.setdefault("starts_at", now)
    if minutes is not None:
        values["ends_at"] = values["starts_at"] + timedelta(minutes=minutes)
    return values


class MarkerEndSerializer(StrictSerializer):
    ends_at = serializers.DateTimeField()


class BudgetInputSerializer(StrictSerializer, serializers.ModelSerializer[FleetBudget]):
    class Meta:
        model = FleetBudget
        fields: ClassVar = list(SHARES)


class BudgetLedgerSerializer(serializers.Serializer[object]):
    """Over the last 30 days. promised: most false alarms on average while the monitors ran as they did."""

    promised = serializers.FloatField()
    per_30_days = serializers.FloatField(help_text="Promised by the monitors that are watching now.")
    alarm_count = serializers.IntegerField()
    signal_count = serializers.IntegerField(help_text="Of single buckets.")
    inhibited_count = serializers.IntegerField(help_text="Told already by another incident.")
    false_count = serializers.IntegerField(help_text="Incidents that a person called a false alarm.")


class ShareSerializer(serializers.Serializer[object]):
    """One monitor that is watching. alarms_per_30_days: a number of its own, else null."""

    id = serializers.IntegerField(source="monitor.pk")
    name = serializers.CharField(source="monitor.name")
    state = serializers.CharField(source="monitor.state")
    weight = serializers.FloatField(source="monitor.weight")
    alarms_per_30_days = serializers.FloatField(source="monitor.alarms_per_30_days", allow_null=True)
    promised_alarms = serializers.FloatField(source="monitor.promised_alarms")
    whole_alarms = serializers.FloatField(source="monitor.whole_alarms")
    slice_alarms = serializers.FloatField(source="monitor.slice_alarms")
    alarm_count = serializers.IntegerField()
    signal_count = serializers.IntegerField()


class BudgetSerializer(serializers.Serializer[object]):
    alarms_per_30_days = serializers.FloatField(source="common.alarms_per_30_days")
    whole_share = serializers.FloatField(source="common.whole_share")
    slice_share = serializers.FloatField(source="common.slice_share")
    deep_share = serializers.FloatField(source="common.deep_share")
    last_30_days = BudgetLedgerSerializer(source="ledger")
    monitors = ShareSerializer(source="shares", many=True)
