"""How each kind of fact becomes a row: its columns, its natural key, and the row's text for COPY."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from django.db.backends.utils import CursorWrapper
from uuid_utils import uuid7

from feedback.copying import Row
from feedback.models import FactKind
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape, Shape

ShapeT = TypeVar("ShapeT", bound=Shape)
Key = tuple[str, ...]

_HEAD = ("id", "api_key_id", "occurred_at", "received_at", "digest", "response_id")


class Stored(NamedTuple):
    """What is in the table under one natural key."""

    id: str
    response_id: str
    received_at: datetime
    digest: str
    revision: int = 1
    is_withdrawn: bool = False


@dataclass(frozen=True)
class Attachment(Generic[ShapeT]):
    """What is stored with some of the facts, in a table of its own: `row` gives, for an item and the response's id, the
    values of `columns`, or None when this item has none."""

    name: str
    columns: tuple[str, ...]
    row: Callable[[ShapeT, str], Row | None]

    @property
    def column_list(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True)
class Table(Generic[ShapeT]):
    """Where facts of one kind are kept.

    `row` gives, for an item, the key's id and the time as text, the values of `columns`, which begin with id,
    api_key_id, occurred_at, received_at, digest, response_id.
    `key` is what makes two items the same fact; `find` reads what is stored under such keys.
    """

    kind: FactKind
    name: str
    columns: tuple[str, ...]
    row: Callable[[ShapeT, int, str], Row]
    key: Callable[[ShapeT, int], Key]
    find: Callable[[CursorWrapper, Sequence[Key]], dict[Key, Stored]]
    attachment: Attachment[ShapeT] | None = None

    def attached(self, item: ShapeT, row: Row) -> Row | None:
        """The row that is stored together with `row`; None for none."""
        return None if self.attachment is None else self.attachment.row(item, row[5])

    @property
    def column_list(self) -> str:
        return ", ".join(self.columns)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode() if value else "{}"


def _head(item: Shape, key_id: int, now: str, response_id: str | None) -> Row:
    own_id = str(uuid7())
    occurred_at = item.occurred_at.isoformat() if item.occurred_at else now
    # A response without an id of the client's gets ours: the row's own UUIDv7.
    return own_id, key_id, occurred_at, now, item.digest(), response_id or own_id


def _as_stored(row: Sequence[Any]) -> Stored:
    revision, withdrawn_at = (row[4], row[5]) if len(row) > 4 else (1, None)
    return Stored(str(row[0]), row[1], row[2], row[3].hex, revision, withdrawn_at is not None)


_RESPONSE_FIELDS = (
    "request_id", "endpoint", "model", "provider", "experiment", "variant", "unit", "config_hash", "input_tokens", "output_tokens",
    "latency_seconds", "cost", "status", "error_type", "finish_reason", "cache_hit",
)  # fmt: skip


def _repeat_key(item: ResponseShape, key_id: int) -> str | None:
    """What makes a response without a client's id the same one when it is sent again."""
    if item.response_id is not None:
        return None
    if item.idempotency_key is not None:
        return f"{key_id}:key:{item.idempotency_key}"
    return f"{key_id}:request:{item.request_id}"


def _response_row(item: ResponseShape, key_id: int, now: str) -> Row:
    return (
        *_head(item, key_id, now, item.response_id),
        _repeat_key(item, key_id),
        *[getattr(item, name) for name in _RESPONSE_FIELDS],
        _json(item.attributes),
        _json(item.metrics),
        item.prompt if isinstance(item.prompt, str) else None,
        item.answer if isinstance(item.answer, str) else None,
    )


def _response_key(item: ResponseShape, key_id: int) -> Key:
    repeat_key = _repeat_key(item, key_id)
    return ("repeat", repeat_key) if repeat_key is not None else ("id", item.response_id or "")


def _find_responses(cursor: CursorWrapper, keys: Sequence[Key]) -> dict[Key, Stored]:
    names: dict[str, list[str]] = {"id": [], "repeat": []}
    for kind, name in keys:
        names[kind].append(name)
    found: dict[Key, Stored] = {}
    for kind, column in (("id", "response_id"), ("repeat", "idempotency_key")):
        if names[kind]:
            cursor.execute(
                f"SELECT id, response_id, received_at, digest, {column} FROM feedback_response"
                f" WHERE {column} = ANY(%s)",
                [names[kind]],
            )
            found |= {(kind, row[4]): _as_stored(row[:4]) for row in cursor.fetchall()}
    return found


def _embedding_row(item: ResponseShape, response_id: str) -> Row | None:
    if item.embedding is None:
        return None
    vector = np.asarray(item.embedding, dtype="<f4").tobytes().hex()
    return response_id, item.embedding_model, len(item.embedding), f"\\x{vector}"


RESPONSES = Table(
    kind=FactKind.RESPONSE,
    name="feedback_response",
    columns=(*_HEAD, "idempotency_key", *_RESPONSE_FIELDS, "attributes", "metrics", "prompt", "answer"),
    row=_response_row,
    key=_response_key,
    find=_find_responses,
    attachment=Attachment(
        "feedback_embedding", ("response_id", "embedding_model", "dims", "vector"), _embedding_row
    ),
)


def _quality_row(item: QualityShape, key_id: int, now: str) -> Row:
    return (
        *_head(item, key_id, now, item.response_id),
        item.evaluator_kind,
        item.evaluator_name,
        item.evaluator_version,
        _json(item.metrics),
    )


def _quality_key(item: QualityShape, _key_id: int) -> Key:
    return item.response_id, item.evaluator_kind, item.evaluator_name, item.evaluator_version


def _find_quality(cursor: CursorWrapper, keys: Sequence[Key]) -> dict[Key, Stored]:
    cursor.execute(
        """
        SELECT id, response_id, received_at, digest, evaluator_kind, evaluator_name, evaluator_version
        FROM feedback_qualityrecord
        JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[])
            AS wanted(response_id, evaluator_kind, evaluator_name, evaluator_version)
        USING (response_id, evaluator_kind, evaluator_name, evaluator_version)
        """,
        [list(column) for column in zip(*keys, strict=True)],
    )
    return {(row[1], *row[4:]): _as_stored(row[:4]) for row in cursor.fetchall()}


QUALITY_RECORDS = Table(
    kind=FactKind.QUALITY,
    name="feedback_qualityrecord",
    columns=(*_HEAD, "evaluator_kind", "evaluator_name", "evaluator_version", "metrics"),
    row=_quality_row,
    key=_quality_key,
    find=_find_quality,
)


def _feedback_row(item: FeedbackShape, key_id: int, now: str) -> Row:
    return (
        *_head(item, key_id, now, item.response_id),
        item.author,
        item.user_id,
        item.source,
        item.idempotency_key,
        item.feedback_type,
        item.rating,
        item.comment,
        _json(item.metadata),
        1,
    )


def _feedback_key(item: FeedbackShape, _key_id: int) -> Key:
    return item.response_id, item.author, item.source


def _find_feedback(cursor: CursorWrapper, keys: Sequence[Key]) -> dict[Key, Stored]:
    cursor.execute(
        """
        SELECT id, response_id, received_at, digest, revision, withdrawn_at, author, source
        FROM feedback_feedback
        JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted(response_id, author, source)
        USING (response_id, author, source)
        """,
        [list(column) for column in zip(*keys, strict=True)],
    )
    return {(row[1], row[6], row[7]): _as_stored(row[:6]) for row in cursor.fetchall()}


FEEDBACK = Table(
    kind=FactKind.FEEDBACK,
    name="feedback_feedback",
    columns=(
        *_HEAD, "author", "user_id", "source", "idempotency_key", "feedback_type", "rating", "comment", "metadata",
        "revision",
    ),
    row=_feedback_row,
    key=_feedback_key,
    find=_find_feedback,
)  # fmt: skip
