"""Replays of the past: what is asked, and what came of it."""

from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer
from monitoring.models import Backtest
from monitoring.questions import TRIED
from monitoring.serializers.definitions import MonitorInputSerializer


class QuestionSerializer(MonitorInputSerializer):
    """Settings to be tried out instead of the present ones; what is left out is as it is."""

    channels: Any = None

    class Meta(MonitorInputSerializer.Meta):
        fields: ClassVar = list(TRIED)
        extra_kwargs: ClassVar = {
            **MonitorInputSerializer.Meta.extra_kwargs,
            "kind": {"required": False},
            "metric": {"required": False},
        }


class AskSerializer(StrictSerializer):
    question = QuestionSerializer(required=False)


class BacktestSerializer(serializers.ModelSerializer[Backtest]):
    asked_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    question = serializers.DictField(help_text="The settings that were tried.")

    class Meta:
        model = Backtest
        fields: ClassVar = [
            "id", "monitor", "state", "progress", "question", "is_change", "error", "asked_at", "asked_by", "started_at",
            "finished_at",
        ]  # fmt: skip


class BacktestDetailSerializer(BacktestSerializer):
    report = serializers.DictField(help_text="Empty until it is done.")

    class Meta(BacktestSerializer.Meta):
        fields: ClassVar = [*BacktestSerializer.Meta.fields, "report"]
