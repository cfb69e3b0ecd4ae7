"""What clients send: the shape of each fact.

Pure: msgspec checks types, lengths and unknown fields while it parses; `check` of a shape does what a type cannot say.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from triageops.rest import InvalidInput

Name = Annotated[str, Meta(max_length=128)]
RequiredName = Annotated[str, Meta(min_length=1, max_length=128)]
MetricName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
LARGEST = 1e100
"""Of any number: squares of what is larger leave the range of doubles."""
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Metrics = Annotated[dict[MetricName, Number | None], Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Amount = Annotated[float, Meta(ge=0, le=LARGEST)]
Instant = Annotated[datetime, Meta(tz=True)]

RESPONSE_METRICS = ("latency_seconds", "cost", "input_tokens", "output_tokens", "error", "cache_hit")
"""Metrics that every response has by its own fields; clients may not use these names for others."""

EMBEDDING_DISTANCE = "embedding_distance"
RESERVED_METRICS = (*RESPONSE_METRICS, EMBEDDING_DISTANCE)
"""What is measured of a response here."""

EMBEDDING_MAX = 4096
_COMPONENT_MAX = 1e38
"""float32 holds no more than 3.4e38."""

EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
FUTURE_ALLOWED = timedelta(minutes=10)
COMMENT_MAX = 10_000
_METADATA_MAX_BYTES = 16_384
_METADATA_MAX_DEPTH = 8

Bounds = Mapping[str, tuple[float, float]]
"""Metric name -> the interval that its values must lie in."""


def _check_time(at: datetime, now: datetime) -> None:
    if at > now + FUTURE_ALLOWED:
        raise InvalidInput(
            "occurred_at lies in the future.", field="occurred_at", fix="Send the time of the event, in UTC."
        )
    if at < EARLIEST:
        raise InvalidInput(
            "occurred_at lies before 2010.", field="occurred_at", fix="Send the time of the event, in UTC."
        )


def _check_metrics(metrics: Mapping[str, float | None], bounds: Bounds) -> None:
    for name, value in metrics.items():
        if name == EMBEDDING_DISTANCE:
            raise InvalidInput(
                f"{name!r} is measured here, from the embedding of the response.",
                field=f"metrics.{name}",
                fix="Send the embedding, or choose another name.",
            )
        if name in RESPONSE_METRICS:
            raise InvalidInput(
                f"{name!r} is a field of the response, not a quality metric.",
                field=f"metrics.{name}",
                fix="Send it as a field of the response, or choose another name.",
            )
        if value is not None and name in bounds and not bounds[name][0] <= value <= bounds[name][1]:
            low, high = bounds[name]
            raise InvalidInput(
                f"{value} lies outside the bounds of {name!r}, {low} to {high}.",
                field=f"metrics.{name}",
                fix="Send a value within the bounds, or have an admin change the metric's definition.",
            )


def _check_response_id(response_id: str | None) -> None:
    """An id stands in addresses: nothing that cannot be printed, and not the name of another address."""
    if response_id is None or (response_id.isprintable() and response_id != "bulk"):
        return
    raise InvalidInput(
        f"{response_id!r} cannot be an id.",
        field="response_id",
        fix="Use letters, digits and signs that can be printed; “bulk” is taken.",
    )


def _check_embedding(embedding: Sequence[float] | None, embedding_model: str) -> None:
    if embedding is None and embedding_model:
        raise InvalidInput(
            "embedding_model was sent without an embedding.",
            field="embedding_model",
            fix="Send the embedding too, or leave its model out.",
        )
    if embedding is not None and not np.asarray(embedding, dtype=np.float32).any():
        raise InvalidInput(
            "The embedding is all zeros: it has no direction.",
            field="embedding",
            fix="Send the numbers that the embedding model gave, or leave the embedding out.",
        )


def _depth(value: Any, limit: int) -> int:
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(item, limit - 1) for item in inner), default=0)


class Shape(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The base of all facts as clients send them."""

    occurred_at: Instant | None = None

    def check(self, now: datetime, bounds: Bounds) -> None:
        """Raise InvalidInput for what types cannot say."""
        if self.occurred_at is not None:
            _check_time(self.occurred_at, now)
            # PostgreSQL does not know every offset that ISO 8601 allows.
            self.occurred_at = self.occurred_at.astimezone(UTC)

    def digest(self) -> str:
        """128-bit hash of the content, equal for equal content whatever the order of its members."""
        encoded = msgspec.json.encode(self, order="deterministic")
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()


class ResponseShape(Shape, kw_only=True):
    response_id: RequiredName | None = None
    idempotency_key: RequiredName | None = None
    request_id: Name = ""
    endpoint: Name = ""
    model: Name = ""
    provider: Name = ""
    experiment: Name = ""
    variant: Name = ""
    unit: Name = ""
    config_hash: Annotated[str, Meta(max_length=64)] = ""
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    latency_seconds: Amount | None = None
    cost: Amount | None = None
    status: Literal["success", "error", "cancelled"] = "success"
    error_type: Name = ""
    finish_reason: Name = ""
    cache_hit: bool | None = None
    attributes: Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=64)],
            Annotated[str, Meta(max_length=256)]
            | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
            | Number
            | bool
            | None,
        ],
        Meta(max_length=32),
    ] = {}
    metrics: Metrics = {}
    embedding: (
        Annotated[
            list[Annotated[float, Meta(ge=-_COMPONENT_MAX, le=_COMPONENT_MAX)]],
            Meta(min_length=1, max_length=EMBEDDING_MAX),
        ]
        | None
    ) = None
    embedding_model: Name = ""
    prompt: str | UnsetType | None = UNSET
    answer: str | UnsetType | None = UNSET

    def check(self, now: datetime, bounds: Bounds) -> None:
        super().check(now, bounds)
        _check_response_id(self.response_id)
        _check_metrics(self.metrics, bounds)
        _check_embedding(self.embedding, self.embedding_model)
        if self.response_id is None and self.idempotency_key is None and not self.request_id:
            raise InvalidInput(
                "A response without response_id cannot be sent twice safely.",
                field="response_id",
                fix="Send a response_id or a request_id of your own, or an Idempotency-Key header.",
            )

    def digest(self) -> str:
        """The ids say which response this is, not what it says."""
        return Shape.digest(msgspec.structs.replace(self, response_id=None, idempotency_key=None))

    @property
    def has_content(self) -> bool:
        return self.prompt is not UNSET or self.answer is not UNSET

    def drop_content(self) -> None:
        self.prompt = self.answer = UNSET


class QualityShape(Shape, kw_only=True):
    response_id: RequiredName
    evaluator_kind: Literal["code", "llm_judge", "human"]
    evaluator_name: RequiredName
    evaluator_version: Name = ""
    metrics: Annotated[dict[MetricName, Number | None], Meta(min_length=1, max_length=64)]

    def check(self, now: datetime, bounds: Bounds) -> None:
        super().check(now, bounds)
        _check_response_id(self.response_id)
        _check_metrics(self.metrics, bounds)


class FeedbackShape(Shape, kw_only=True):
    response_id: RequiredName
    feedback_type: Literal["positive", "negative", "neutral"]
    rating: Annotated[int, Meta(ge=1, le=5)] | None = None
    comment: Annotated[str, Meta(max_length=COMMENT_MAX)] = ""
    user_id: Name = ""
    metadata: dict[str, Any] = {}
    source: Annotated[str, Meta(min_length=1, max_length=64)] = "api"
    idempotency_key: Name = ""

    def check(self, now: datetime, bounds: Bounds) -> None:
        super().check(now, bounds)
        _check_response_id(self.response_id)
        if not self.metadata:
            return
        if any(isinstance(value, dict | list) for value in self.metadata.values()) and (
            _depth(self.metadata, _METADATA_MAX_DEPTH + 1) > _METADATA_MAX_DEPTH
        ):
            raise InvalidInput(
                f"metadata is nested deeper than {_METADATA_MAX_DEPTH} levels.",
                field="metadata",
                fix="Send a flat object.",
            )
        if len(msgspec.json.encode(self.metadata)) > _METADATA_MAX_BYTES:
            raise InvalidInput(
                f"metadata is larger than {_METADATA_MAX_BYTES} bytes.",
                field="metadata",
                fix="Keep it to a few short values.",
            )

    @property
    def author(self) -> str:
        """Who speaks: the user, or for anonymous feedback the idempotency key."""
        return f"user:{self.user_id}" if self.user_id else f"anon:{self.idempotency_key}"

    def digest(self) -> str:
        """The idempotency key says which call this is, not what it says."""
        if not self.idempotency_key:
            return Shape.digest(self)
        return Shape.digest(msgspec.structs.replace(self, idempotency_key=""))
