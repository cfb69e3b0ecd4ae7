"""What other systems report, and what is answered."""

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.models import Severity
from monitoring.reports.alerts_read import (
    LABELS_MAX,
    LINK_MAX,
    TEXTS,
    VALUE_MAX,
    InvalidAlert,
    clean_line,
    clean_link,
    clean_text,
    read_labels,
)
from triageops.rest import InvalidInput

KEY_MAX = 200
MOST_SECONDS = int(timedelta(days=7).total_seconds())


class ReportSerializer(StrictSerializer):
    """`key` tells this incident from others: sent again while it is open, nothing new is opened."""

    key = TextField(max_length=KEY_MAX)
    title = TextField(max_length=300)
    severity = WordField(Severity.choices, default=Severity.WARNING)
    labels = serializers.DictField(
        required=False, help_text=f"Texts: at most {LABELS_MAX}, of {VALUE_MAX} characters each."
    )
    summary = TextField(required=False, max_length=TEXTS["summary"], allow_blank=True)
    description = TextField(required=False, max_length=TEXTS["description"], allow_blank=True)
    runbook_url = TextField(required=False, max_length=LINK_MAX, allow_blank=True)
    onset_at = serializers.DateTimeField(required=False, help_text="When it began. Default: now.")
    expires_in_seconds = serializers.IntegerField(
        required=False,
        min_value=30,
        max_value=MOST_SECONDS,
        help_text="Resolved when it was not sent again by then. Default: it stays until it is resolved.",
    )

    def validate_title(self, text: str) -> str:
        """Without what would turn the sentences that it stands in."""
        title = clean_line(text)
        if not title:
            raise InvalidInput("It has no character that can be seen.", field="title", fix="Send a title.")
        return title

    def validate_summary(self, text: str) -> str:
        return clean_text(text, TEXTS["summary"])

    def validate_description(self, text: str) -> str:
        return clean_text(text, TEXTS["description"])

    def validate_labels(self, labels: dict[str, Any]) -> dict[str, str]:
        try:
            return read_labels(labels)
        except InvalidAlert as error:
            raise InvalidInput(error.detail, field=error.field, fix="Correct this label.") from None

    def validate_runbook_url(self, text: str) -> str:
        if text and not clean_link(text):
            raise InvalidInput("It is no web address.", field="runbook_url", fix="Send https://….")
        return text


class AlertSerializer(serializers.Serializer[object]):
    """As Alertmanager sends it; further fields are left alone."""

    status = serializers.ChoiceField(["firing", "resolved"])
    labels = serializers.DictField(child=serializers.CharField(max_length=VALUE_MAX))
    annotations = serializers.DictField(child=serializers.CharField(), required=False)
    startsAt = serializers.DateTimeField(required=False)  # noqa: N815 - Alertmanager's name
    endsAt = serializers.DateTimeField(required=False)  # noqa: N815 - Alertmanager's name
    generatorURL = serializers.CharField(required=False)  # noqa: N815 - Alertmanager's name
    fingerprint = serializers.CharField(required=False)


class AlertmanagerPayloadSerializer(serializers.Serializer[object]):
    """Version 4 of Alertmanager's webhook. Only `version`, `alerts` and `truncatedAlerts` are read."""

    version = serializers.ChoiceField(["4"])
    alerts = AlertSerializer(many=True)
    truncatedAlerts = serializers.IntegerField(required=False)  # noqa: N815 - Alertmanager's name
    groupKey = serializers.CharField(required=False)  # noqa: N815 - Alertmanager's name
    status = serializers.CharField(required=False)
    receiver = serializers.CharField(required=False)
    groupLabels = serializers.DictField(required=False)  # noqa: N815 - Alertmanager's name
    commonLabels = serializers.DictField(required=False)  # noqa: N815 - Alertmanager's name
    commonAnnotations = serializers.DictField(required=False)  # noqa: N815 - Alertmanager's name
    externalURL = serializers.CharField(required=False)  # noqa: N815 - Alertmanager's name


class MistakeSerializer(serializers.Serializer[object]):
    index = serializers.IntegerField(help_text="Of the alert, from 0.")
    field = serializers.CharField(help_text="Empty: the alert as a whole.")
    detail = serializers.CharField()


class TakenSerializer(serializers.Serializer[object]):
    """`late_count`: alerts of episodes that are over already; `own_count`: our own, told back. Neither changes anything."""

    taken_count = serializers.IntegerField()
    opened_count = serializers.IntegerField()
    repeated_count = serializers.IntegerField()
    resolved_count = serializers.IntegerField()
    late_count = serializers.IntegerField()
    own_count = serializers.IntegerField()
    mistakes = MistakeSerializer(many=True)


class HeardSerializer(serializers.Serializer[object]):
    outcome = serializers.CharField(help_text="What came of the event, in one sentence.")


class PagerDutyEventSerializer(serializers.Serializer[object]):
    """An event of PagerDuty's webhooks v3, as PagerDuty sends it."""

    event = serializers.DictField()


class ProblemWithMistakesSerializer(serializers.Serializer[object]):
    """A refusal of all alerts of a call."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    field = serializers.CharField(required=False)
    fix = serializers.CharField(required=False)
    mistakes = MistakeSerializer(many=True, required=False)
