"""What clients read back."""

from typing import ClassVar

from rest_framework import serializers

from feedback.models import Feedback, FeedbackRevision, QualityMetric, QualityRecord, Response


class ResponseSerializer(serializers.ModelSerializer[Response]):
    class Meta:
        model = Response
        fields: ClassVar = [
            "id", "response_id", "request_id", "occurred_at", "received_at", "endpoint", "model", "provider",
            "experiment", "variant", "unit", "config_hash", "input_tokens", "output_tokens", "latency_seconds", "cost", "status",
            "error_type", "finish_reason", "cache_hit", "attributes", "metrics", "prompt", "answer",
        ]  # fmt: skip


class QualityRecordSerializer(serializers.ModelSerializer[QualityRecord]):
    class Meta:
        model = QualityRecord
        fields: ClassVar = [
            "id", "response_id", "occurred_at", "received_at", "evaluator_kind", "evaluator_name",
            "evaluator_version", "metrics",
        ]  # fmt: skip


class FeedbackRevisionSerializer(serializers.ModelSerializer[FeedbackRevision]):
    class Meta:
        model = FeedbackRevision
        fields: ClassVar = [
            "revision", "feedback_type", "rating", "comment", "metadata", "occurred_at", "received_at", "withdrawn_at",
        ]  # fmt: skip


class FeedbackSerializer(serializers.ModelSerializer[Feedback]):
    class Meta:
        model = Feedback
        fields: ClassVar = [
            "id", "response_id", "user_id", "source", "feedback_type", "rating", "comment", "metadata", "occurred_at",
            "received_at", "revision", "withdrawn_at",
        ]  # fmt: skip


class FeedbackWithHistorySerializer(FeedbackSerializer):
    revisions = FeedbackRevisionSerializer(many=True, read_only=True)

    class Meta(FeedbackSerializer.Meta):
        fields: ClassVar = [*FeedbackSerializer.Meta.fields, "revisions"]


class QualityMetricSerializer(serializers.ModelSerializer[QualityMetric]):
    class Meta:
        model = QualityMetric
        fields: ClassVar = [
            "key",
            "kind",
            "direction",
            "unit",
            "low",
            "high",
            "good_from",
            "description",
            "created_at",
        ]


class QualityMetricsSerializer(serializers.Serializer[object]):
    results = QualityMetricSerializer(many=True)


class ReceiptSerializer(serializers.Serializer[object]):
    """What a client gets for one stored fact; the same again when it sends the fact again."""

    id = serializers.UUIDField()
    response_id = serializers.CharField()
    received_at = serializers.DateTimeField()
    revision = serializers.IntegerField(
        required=False, help_text="Feedback only: how often it was changed, plus one."
    )
    content = serializers.ChoiceField(
        ["dropped", "stored"],
        required=False,
        help_text="Responses only, when a prompt or an answer was sent: what became of the text.",
    )


class ProblemSerializer(serializers.Serializer[object]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    field = serializers.CharField(required=False)
    fix = serializers.CharField(required=False)


class BulkResultSerializer(serializers.Serializer[object]):
    index = serializers.IntegerField()
    status = serializers.ChoiceField(["accepted", "rejected"])
    id = serializers.UUIDField(required=False)
    response_id = serializers.CharField(required=False)
    problem = ProblemSerializer(required=False)


class BulkReceiptSerializer(serializers.Serializer[object]):
    """The counts say what this call did; `results` is the same on every repeat."""

    received = serializers.IntegerField()
    stored = serializers.IntegerField()
    repeated = serializers.IntegerField()
    rejected = serializers.IntegerField()
    content = serializers.ChoiceField(["dropped", "stored"], required=False)
    results = BulkResultSerializer(many=True)


class TokenRequestSerializer(serializers.Serializer[object]):
    response_id = serializers.CharField(max_length=128)
    user_id = serializers.CharField(
        max_length=128, required=False, default="", help_text="Pseudonymous id that the feedback will carry."
    )
    source = serializers.CharField(max_length=64, default="web")  # type: ignore[assignment]
    lifetime_seconds = serializers.IntegerField(min_value=60, max_value=7 * 86_400, default=3_600)


class TokenSerializer(serializers.Serializer[object]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class LedgerLineSerializer(serializers.Serializer[object]):
    day = serializers.DateField()
    kind = serializers.ChoiceField(["response", "quality", "feedback"])
    key = serializers.CharField(help_text="Prefix of the API key.")
    received = serializers.IntegerField()
    stored = serializers.IntegerField()
    repeated = serializers.IntegerField()
    rejected = serializers.IntegerField()


class LedgerSerializer(serializers.Serializer[object]):
    results = LedgerLineSerializer(many=True)


class WindowSerializer(serializers.Serializer[object]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class QualityLineSerializer(serializers.Serializer[object]):
    metric = serializers.CharField()
    group = serializers.DictField(child=serializers.CharField())
    n = serializers.IntegerField()
    null_count = serializers.IntegerField(help_text="Facts that name the metric without a value.")
    mean = serializers.FloatField(allow_null=True)
    sd = serializers.FloatField(
        allow_null=True, help_text="Sample standard deviation; null below two values."
    )
    min = serializers.FloatField(allow_null=True)
    max = serializers.FloatField(allow_null=True)
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    p50_error = serializers.FloatField(allow_null=True, help_text="p50 is within this of the exact quantile.")
    p95_error = serializers.FloatField(allow_null=True)


class QualityStatsSerializer(serializers.Serializer[object]):
    window = WindowSerializer()
    results = QualityLineSerializer(many=True)


class TypeLineSerializer(serializers.Serializer[object]):
    count = serializers.IntegerField()
    share_interval = serializers.ListField(
        child=serializers.FloatField(),
        allow_null=True,
        help_text="Wilson 95 % interval of the share of this type.",
    )
    average_rating = serializers.FloatField(allow_null=True)
    ratings = serializers.IntegerField()
    comments = serializers.IntegerField()


class ByTypeSerializer(serializers.Serializer[object]):
    positive = TypeLineSerializer()
    negative = TypeLineSerializer()
    neutral = TypeLineSerializer()


class FeedbackLineSerializer(serializers.Serializer[object]):
    group = serializers.DictField(child=serializers.CharField())
    responses = serializers.IntegerField()
    responses_with_feedback = serializers.IntegerField()
    coverage = serializers.FloatField(allow_null=True, help_text="Share of responses that have feedback.")
    coverage_interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    by_type = ByTypeSerializer()


class FeedbackStatsSerializer(serializers.Serializer[object]):
    window = WindowSerializer()
    unmatched = serializers.IntegerField()
    results = FeedbackLineSerializer(many=True)
