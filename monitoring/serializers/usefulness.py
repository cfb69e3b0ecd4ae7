"""How useful alerts were, and the numbers of each month."""

from typing import Any

from rest_framework import serializers

from monitoring.reading.noise import Judgements
from monitoring.reading.numbers import Month
from monitoring.reading.usefulness import Verdict


class IntervalSerializer(serializers.Serializer[object]):
    low = serializers.FloatField()
    high = serializers.FloatField()


class JudgementsSerializer(serializers.Serializer[Judgements]):
    judged = serializers.IntegerField()
    useful = serializers.IntegerField()
    noise = serializers.IntegerField()
    expected = serializers.IntegerField(help_text="Known before; counts as neither.")
    precision = serializers.FloatField(allow_null=True, help_text="useful / (useful + noise).")
    interval = IntervalSerializer(allow_null=True, help_text="Of the precision, 95 % (Wilson).")


class UsefulnessSuggestionSerializer(serializers.Serializer[object]):
    action = serializers.ChoiceField(["margin", "route"])
    text = serializers.CharField()
    cost = serializers.CharField(help_text="What it would have changed in the past; empty: not known.")


class VerdictSerializer(serializers.Serializer[Verdict]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    incidents = serializers.IntegerField(source="incident_count")
    judgements = JudgementsSerializer()
    suggestion = UsefulnessSuggestionSerializer(allow_null=True)


class UsefulnessSerializer(serializers.Serializer[object]):
    since = serializers.DateTimeField()
    incidents = serializers.IntegerField(source="incident_count")
    total = JudgementsSerializer()
    monitors = VerdictSerializer(many=True)
    channels = VerdictSerializer(many=True, help_text="By what was delivered to them.")


class DurationsSerializer(serializers.Serializer[object]):
    """Seconds."""

    median = serializers.FloatField(allow_null=True)
    p90 = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField(help_text="Of how many incidents.")


class MonthSerializer(serializers.Serializer[Month]):
    month = serializers.SerializerMethodField(help_text="For example 2026-03; of UTC.")
    incidents = serializers.IntegerField(source="incident_count")
    severities = serializers.DictField(child=serializers.IntegerField())
    origins = serializers.DictField(child=serializers.IntegerField())
    detect = DurationsSerializer()
    acknowledge = DurationsSerializer()
    resolve = DurationsSerializer()
    acknowledged_share = serializers.FloatField(allow_null=True)
    judgements = JudgementsSerializer()
    sent = serializers.IntegerField(source="sent_count")
    reminders = serializers.IntegerField(source="reminder_count")
    dead_letters = serializers.IntegerField(source="dead_count")
    false_alarms = serializers.IntegerField(source="false_count")
    false_alarms_promised = serializers.FloatField(source="promised")

    def get_month(self, month: Month) -> str:
        return f"{month.start:%Y-%m}"


class NumbersSerializer(serializers.Serializer[Any]):
    results = MonthSerializer(many=True)
