"""Monitors that could be made of what came in."""

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField
from monitoring.serializers.definitions import MonitorSerializer


class SuggestionPreviewSerializer(serializers.Serializer[object]):
    """The last seven days by the hour. points: of the mean, or of the count for a volume; null in hours without."""

    points = serializers.ListField(child=serializers.FloatField(allow_null=True))
    mean = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()


class SuggestionSerializer(serializers.Serializer[object]):
    key = serializers.CharField()
    name = serializers.CharField()
    why = serializers.CharField()
    settings = serializers.DictField(help_text="Fields of the monitor.")
    blocked = serializers.CharField(help_text="What has to be done first; empty: it can be made.")
    seen = serializers.CharField(help_text="What it would see, roughly.")
    preview = SuggestionPreviewSerializer()


class SuggestionsSerializer(serializers.Serializer[object]):
    results = SuggestionSerializer(many=True)


class ChosenSerializer(StrictSerializer):
    keys = serializers.ListField(child=TextField(), min_length=1, max_length=200)


class MadeSerializer(serializers.Serializer[object]):
    results = MonitorSerializer(many=True)
