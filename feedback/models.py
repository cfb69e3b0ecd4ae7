import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Q
from uuid_utils.compat import uuid7

SDK_PREFIX = "sdk-"
"""Keys of GrowthBook's SDKs begin like this."""

KEY_MAX = 128
"""Longest client-given identifier, in characters."""


class TransactionIdField(models.Field[str, str]):
    """PostgreSQL's 64-bit id of the writing transaction (xid8), filled by the database; read as text."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "xid8"


class CurrentTransactionId(models.Func):
    function = "pg_current_xact_id"
    output_field = TransactionIdField()


class Scope(models.TextChoices):
    RESPONSES_WRITE = "responses:write", "record responses"
    RESPONSES_READ = "responses:read", "read responses"
    QUALITY_WRITE = "quality:write", "record quality"
    QUALITY_READ = "quality:read", "read quality"
    FEEDBACK_WRITE = "feedback:write", "post feedback and issue feedback tokens"
    FEEDBACK_READ = "feedback:read", "read feedback"
    LEDGER_READ = "ledger:read", "read the ledger of its own"
    EXPERIMENTS_ASSIGN = "experiments:assign", "assign units to variants"
    EXPERIMENTS_READ = "experiments:read", "read experiments"
    EXPERIMENTS_WRITE = "experiments:write", "define and run experiments"
    SDK_READ = "sdk:read", "read the payload of GrowthBook's SDKs, and nothing else"
    INCIDENTS_READ = "incidents:read", "read monitors and incidents"
    MONITORS_WRITE = "monitors:write", "define and run monitors, set markers, change the budget"
    INCIDENTS_WRITE = "incidents:write", "open, acknowledge, comment, silence and resolve incidents"
    ROUTING_READ = "routing:read", "read channels, routes and deliveries"
    ROUTING_WRITE = "routing:write", "change channels and routes, send messages again"


ALL_SCOPES = tuple(scope for scope in Scope if scope != Scope.SDK_READ)
"""What one key may have together."""


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self, now: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class ApiKey(models.Model):
    """One client's right to call the API; the key itself is shown once and only its hash is kept."""

    name = models.CharField(
        max_length=100, help_text="Which client holds this key, e.g. “triage-api production”."
    )
    prefix = models.CharField(
        max_length=12, editable=False, help_text="First characters, to recognise the key."
    )
    # The key has 256 random bits, so a fast hash is safe: there is no dictionary to try.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(
        models.CharField(max_length=32, choices=Scope.choices), help_text="What the key may do."
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, default=120_000, help_text="Calls above this get 429. Empty: no limit."
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: does not expire.")
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="Kept to the minute.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ("name", "id")
        constraints: ClassVar = [
            # Such a key stands in pages and apps, where everybody can read it.
            models.CheckConstraint(
                condition=~Q(scopes__contains=[Scope.SDK_READ]) | Q(scopes__contained_by=[Scope.SDK_READ]),
                name="api_key_of_sdk_reads_nothing_else",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()

    @staticmethod
    def new_secret(scopes: Sequence[str] = ()) -> str:
        prefix = SDK_PREFIX if Scope.SDK_READ in scopes else "tri_"
        return f"{prefix}{secrets.token_urlsafe(32)}"

    def take_secret(self, key: str) -> None:
        """Make `key` the secret of this row; only its hash and its first characters are kept."""
        self.prefix = key[:8]
        self.digest = self.digest_of(key)

    def is_usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class ResponseStatus(models.TextChoices):
    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"


class FeedbackType(models.TextChoices):
    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


class EvaluatorKind(models.TextChoices):
    CODE = "code", "code"
    LLM_JUDGE = "llm_judge", "LLM judge"
    HUMAN = "human", "human"


class Fact(models.Model):
    """What all facts carry; `tx` is what makes the rollups exact (feedback/rollups.py)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No foreign-key constraints on facts: 16 writers would all lock the one row of the key.
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    occurred_at = models.DateTimeField(help_text="When it happened, by the client's clock.")
    received_at = models.DateTimeField(help_text="When it was stored, by our clock.")
    digest = models.UUIDField(
        editable=False, help_text="Hash of the content, to tell a repeat from a conflict."
    )
    tx = TransactionIdField(db_default=CurrentTransactionId(), editable=False)

    class Meta:
        abstract = True


class Response(Fact):
    """One answer of the LLM service, without its text."""

    response_id = models.CharField(max_length=KEY_MAX)
    idempotency_key = models.CharField(max_length=200, null=True, editable=False)
    request_id = models.CharField(max_length=KEY_MAX, blank=True)
    endpoint = models.CharField(max_length=KEY_MAX, blank=True)
    model = models.CharField(max_length=KEY_MAX, blank=True)
    provider = models.CharField(max_length=KEY_MAX, blank=True)
    experiment = models.CharField(max_length=KEY_MAX, blank=True)
    variant = models.CharField(max_length=KEY_MAX, blank=True)
    unit = models.CharField(max_length=KEY_MAX, blank=True, help_text="Pseudonymous id of the user or case.")
    config_hash = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        default="",
        help_text="Of the variant's config that made it, as the assignment gave it.",
    )
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    latency_seconds = models.FloatField(null=True)
    cost = models.FloatField(null=True)
    status = models.CharField(max_length=16, choices=ResponseStatus.choices)
    error_type = models.CharField(max_length=KEY_MAX, blank=True)
    finish_reason = models.CharField(max_length=KEY_MAX, blank=True)
    cache_hit = models.BooleanField(null=True)
    attributes = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    prompt = models.TextField(null=True, help_text="Kept only while TRIAGEOPS_STORE_CONTENT is on.")
    answer = models.TextField(null=True, help_text="Kept only while TRIAGEOPS_STORE_CONTENT is on.")

    class Meta:
        ordering = ("-id",)
        # Constraints, since unique=True would make a second index for LIKE on each.
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["response_id"], name="response_once"),
            models.UniqueConstraint(fields=["idempotency_key"], name="response_once_per_idempotency_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tx"], name="response_tx"),
            models.Index(fields=["occurred_at"], name="response_occurred_at"),
            # What one unit did before an experiment, and in it.
            models.Index(fields=["unit", "occurred_at"], condition=~Q(unit=""), name="response_unit"),
        ]

    def __str__(self) -> str:
        return self.response_id


class Embedding(models.Model):
    """The embedding of one response, as float32 numbers, little-endian."""

    response_id = models.CharField(max_length=KEY_MAX)
    embedding_model = models.CharField(max_length=KEY_MAX, blank=True)
    dims = models.IntegerField()
    vector = models.BinaryField()
    tx = TransactionIdField(db_default=CurrentTransactionId(), editable=False)

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["response_id"], name="embedding_once_per_response")
        ]
        indexes: ClassVar = [
            models.Index(fields=["tx"], name="embedding_tx"),
            models.Index(fields=["embedding_model", "dims", "id"], name="embedding_by_model"),
        ]

    def __str__(self) -> str:
        return f"embedding of {self.response_id}"


class EmbeddingCentroid(models.Model):
    """The mean direction of embeddings, from which the distances of later ones are measured; it never changes."""

    embedding_model = models.CharField(max_length=KEY_MAX, blank=True)
    dims = models.IntegerField()
    version = models.IntegerField()
    vector = models.BinaryField(help_text="float64 numbers, little-endian.")
    n = models.IntegerField(help_text="How many embeddings it is the mean of.")
    learned_at = models.DateTimeField(help_text="Measures the embeddings of responses received since.")

    class Meta:
        ordering = ("embedding_model", "dims", "version")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["embedding_model", "dims", "version"], name="embedding_centroid_once_per_version"
            )
        ]

    def __str__(self) -> str:
        return f"{self.embedding_model or 'no model'} · {self.dims} · version {self.version}"


class QualityRecord(Fact):
    """What one evaluator said of one response, as numbers."""

    response_id = models.CharField(max_length=KEY_MAX)
    evaluator_kind = models.CharField(max_length=16, choices=EvaluatorKind.choices)
    evaluator_name = models.CharField(max_length=KEY_MAX)
    evaluator_version = models.CharField(max_length=KEY_MAX, blank=True)
    metrics = models.JSONField(default=dict)

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["response_id", "evaluator_kind", "evaluator_name", "evaluator_version"],
                name="quality_record_once_per_evaluator",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["tx"], name="quality_record_tx")]

    def __str__(self) -> str:
        return f"{self.evaluator_name} on {self.response_id}"


class Feedback(Fact):
    """What one person says of one response through one source, as it stands now."""

    response_id = models.CharField(max_length=KEY_MAX)
    author = models.CharField(
        max_length=KEY_MAX + 8, editable=False, help_text="user:<id>, or anon:<idempotency key>."
    )
    user_id = models.CharField(max_length=KEY_MAX, blank=True, help_text="Pseudonymous id; empty: anonymous.")
    source = models.CharField(max_length=64, help_text="Where it was given, e.g. “web” or “reviewer”.")
    idempotency_key = models.CharField(max_length=KEY_MAX, blank=True, editable=False)
    feedback_type = models.CharField(max_length=16, choices=FeedbackType.choices)
    rating = models.SmallIntegerField(null=True)
    comment = models.TextField(blank=True)
    metadata = models.JSONField(default=dict)
    revision = models.IntegerField(default=1)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "feedback"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["response_id", "author", "source"], name="feedback_once_per_author_and_source"
            ),
            models.CheckConstraint(
                condition=Q(rating=None) | Q(rating__range=(1, 5)), name="feedback_rating_1_to_5"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tx"], name="feedback_tx")]

    def __str__(self) -> str:
        return f"{self.feedback_type} on {self.response_id}"


class FeedbackRevision(models.Model):
    """An earlier state of one piece of feedback, kept when it was changed or withdrawn."""

    feedback = models.ForeignKey(Feedback, on_delete=models.CASCADE, related_name="revisions", db_index=False)
    revision = models.IntegerField()
    idempotency_key = models.CharField(max_length=KEY_MAX, blank=True)
    feedback_type = models.CharField(max_length=16, choices=FeedbackType.choices)
    rating = models.SmallIntegerField(null=True)
    comment = models.TextField(blank=True)
    metadata = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    digest = models.UUIDField()
    withdrawn_at = models.DateTimeField(null=True)
    tx = TransactionIdField()

    class Meta:
        ordering = ("feedback_id", "revision")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["feedback", "revision"], name="feedback_revision_once")
        ]
        indexes: ClassVar = [models.Index(fields=["tx"], name="feedback_revision_tx")]

    def __str__(self) -> str:
        return f"revision {self.revision} of {self.feedback_id}"


class FactKind(models.TextChoices):
    RESPONSE = "response"
    QUALITY = "quality"
    FEEDBACK = "feedback"


class LedgerEntry(models.Model):
    """A share of what one key sent on one day; the shards are summed when read, so writers do not wait."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, db_constraint=False)
    day = models.DateField()
    kind = models.CharField(max_length=16, choices=FactKind.choices)
    shard = models.SmallIntegerField()
    received_count = models.BigIntegerField(default=0)
    stored_count = models.BigIntegerField(default=0)
    repeated_count = models.BigIntegerField(default=0)
    rejected_count = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("-day", "api_key_id", "kind", "shard")
        verbose_name_plural = "ledger entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["api_key", "day", "kind", "shard"], name="ledger_shard_once"),
            models.CheckConstraint(
                condition=Q(
                    received_count=F("stored_count") + F("repeated_count") + F("rejected_count"),
                ),
                name="ledger_closes",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind}"


class MetricKind(models.TextChoices):
    DISCOVERED = "discovered", "discovered, not yet classified"
    BOUNDED = "bounded", "score between two bounds"
    RATE = "rate", "rate: 0 or 1"
    POSITIVE = "positive", "positive with a long tail"
    COUNT = "count", "count"


class Direction(models.TextChoices):
    HIGHER = "higher", "higher is better"
    LOWER = "lower", "lower is better"
    NONE = "none", "neither"


class QualityMetricQuerySet(models.QuerySet["QualityMetric"]):
    def discovered(self) -> Self:
        return self.filter(kind=MetricKind.DISCOVERED)


class QualityMetric(models.Model):
    """What a metric name means: its unit, range and which way is better."""

    key = models.CharField(max_length=64, primary_key=True)
    kind = models.CharField(max_length=16, choices=MetricKind.choices, default=MetricKind.DISCOVERED)
    direction = models.CharField(max_length=8, choices=Direction.choices, default=Direction.NONE)
    unit = models.CharField(
        max_length=32, blank=True, help_text="Such as s, tokens or points; empty for a share."
    )
    low = models.FloatField(null=True, blank=True, help_text="Smallest possible value of a bounded score.")
    high = models.FloatField(null=True, blank=True, help_text="Largest possible value of a bounded score.")
    good_from = models.FloatField(
        null=True,
        blank=True,
        help_text="Values from here on (or up to here, where lower is better) count as good; empty: 0.5 for rates,"
        " the middle of the bounds for bounded scores.",
    )
    description = models.TextField(blank=True, help_text="One sentence that a newcomer understands.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = QualityMetricQuerySet.as_manager()

    class Meta:
        ordering = ("key",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(kind=MetricKind.BOUNDED) | Q(low__lt=F("high")), name="metric_bounds_in_order"
            )
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval that values must lie in; None when any number is possible."""
        if self.kind == MetricKind.RATE:
            return (0.0, 1.0)
        if self.kind == MetricKind.BOUNDED and self.low is not None and self.high is not None:
            return (self.low, self.high)
        return None

    @property
    def good_line(self) -> float | None:
        """Where good begins; None when nobody said so and there are no bounds to have a middle."""
        if self.good_from is not None:
            return self.good_from
        return None if self.bounds is None else self.bounds[0] + (self.bounds[1] - self.bounds[0]) / 2

    def is_good(self, value: float) -> bool | None:
        """None where good is not defined: no direction, or no line."""
        line = self.good_line
        if line is None or self.direction == Direction.NONE:
            return None
        return value >= line if self.direction == Direction.HIGHER else value <= line


class Slice(models.Model):
    """One combination of the dimensions that rollups are kept for."""

    DIMENSIONS: ClassVar = (
        "endpoint",
        "model",
        "provider",
        "experiment",
        "variant",
        "evaluator",
        "attribute",
        "value",
    )

    key = models.CharField(max_length=32, unique=True, help_text="Hash of the dimensions.")
    endpoint = models.CharField(max_length=KEY_MAX, blank=True)
    model = models.CharField(max_length=KEY_MAX, blank=True)
    provider = models.CharField(max_length=KEY_MAX, blank=True)
    experiment = models.CharField(max_length=KEY_MAX, blank=True)
    variant = models.CharField(max_length=KEY_MAX, blank=True)
    evaluator = models.CharField(max_length=3 * KEY_MAX, blank=True, help_text="kind:name@version")
    attribute = models.CharField(
        max_length=KEY_MAX, blank=True, help_text="Empty: all values of all attributes."
    )
    value = models.CharField(max_length=KEY_MAX, blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        parts = (getattr(self, name) for name in self.DIMENSIONS)
        return " · ".join(part for part in parts if part) or "no dimensions"


class Bucket(models.Model):
    """What all rollups carry: which slice, and when."""

    slice = models.ForeignKey(Slice, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    grain_seconds = models.IntegerField()
    bucket_at = models.DateTimeField(help_text="Start of the time in which the responses occurred.")
    visible_at = models.DateTimeField(
        help_text="Start of the bucket in whose check this is evidence; later than bucket_at for late facts."
    )

    class Meta:
        abstract = True


class Rollup(Bucket):
    """The moments and the histogram of one metric in one slice and one bucket of time."""

    metric = models.CharField(
        max_length=80, help_text="Key of a quality metric, or agreement:<key> (feedback/agreement.py)."
    )
    bins = models.CharField(
        max_length=64, help_text="Name of the histogram's bins (triageops.stats.histogram)."
    )
    n = models.BigIntegerField()
    null_count = models.BigIntegerField()
    mean = models.FloatField()
    m2 = models.FloatField()
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    histogram = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["grain_seconds", "bucket_at", "metric", "slice", "visible_at", "bins"],
                name="rollup_once_per_bucket",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["metric", "visible_at"], condition=Q(grain_seconds__lt=3600), name="rollup_visible_at"
            )
        ]


class FeedbackRollup(Bucket):
    """How much feedback of one type stands in one slice and one bucket; rows may be negative when late."""

    ANY = "any"
    """Counts responses that have at least one piece of feedback, of whatever type."""

    feedback_type = models.CharField(max_length=16, help_text="positive, negative, neutral, or any.")
    count = models.BigIntegerField()
    comment_count = models.BigIntegerField()
    rating_counts = ArrayField(models.BigIntegerField(), size=5, help_text="How many gave 1, 2, 3, 4, 5.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["grain_seconds", "bucket_at", "slice", "feedback_type", "visible_at"],
                name="feedback_rollup_once_per_bucket",
            )
        ]


class RollupCursor(models.Model):
    """How far one kind of counting is: “facts” (feedback/rollups.py) or “agreement” (feedback/agreement.py)."""

    name = models.CharField(max_length=16, primary_key=True)
    tx = TransactionIdField(help_text="Facts: all of transactions before this one are in.")
    closed_until = models.DateTimeField(
        help_text="Facts: no rollup gets a visible_at before this any more. Agreement: all buckets before this are in."
    )
    again_until = models.DateTimeField(
        null=True, help_text="What lies before this is counted anew, and was seen already."
    )
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
