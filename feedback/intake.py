"""How facts come in over HTTP: the body is read, decoded, completed from the request, stored and answered."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from feedback import definitions, ingest
from feedback.authentication import Grant, grant_in
from feedback.decoding import MAX_BYTES, Decoder
from feedback.ingest import BulkOutcome, Counts, Outcome
from feedback.metrics import FACTS
from feedback.shapes import Shape
from feedback.tables import Table
from triageops.rest import InvalidInput, Problem, TooLarge, UnsupportedMediaType

ShapeT = TypeVar("ShapeT", bound=Shape)
Written = TypeVar("Written")

_LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_IDEMPOTENCY_MAX = 128


def read_body(request: Request) -> tuple[bytes, bool]:
    """The raw body, and whether it is one object a line; raises a Problem for what is not JSON in UTF-8."""
    media_type, _, parameters = request.META.get("CONTENT_TYPE", "").partition(";")
    media_type = media_type.strip().lower()
    is_lines = media_type in _LINES
    if not is_lines and media_type not in {"application/json", "", "text/plain"}:
        raise UnsupportedMediaType(
            f"{media_type!r} is not understood.",
            fix="Send application/json, or application/x-ndjson to a bulk address.",
        )
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "').lower()
    if charset not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType(f"The charset {charset!r} is not understood.", fix="Send UTF-8.")
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            "A compressed body is not understood.", fix="Send it without Content-Encoding."
        )
    too_large = TooLarge(f"The body is larger than {MAX_BYTES} bytes.", fix="Split it into several calls.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BYTES:
        raise too_large
    try:
        body = request._request.body  # noqa: SLF001 - DRF's own way to the raw body parses it
    except RequestDataTooBig:
        raise too_large from None
    if len(body) > MAX_BYTES:
        raise too_large
    return body, is_lines


def idempotency_key(request: Request) -> str:
    key = str(request.META.get("HTTP_IDEMPOTENCY_KEY", ""))
    if len(key) > _IDEMPOTENCY_MAX or not key.isprintable():
        raise InvalidInput(
            "The Idempotency-Key is longer than 128 characters or not printable.",
            field="Idempotency-Key",
            fix="Send a UUID.",
        )
    return key


def written(write: Callable[[], Written]) -> Written:
    """The result of `write`, which is safe to repeat.

    A connection that died since the last call (the database was started again) costs a second try, instead of a
    round trip before every write to ask whether it still lives.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return write()
    except (OperationalError, InterfaceError):
        connection.close()
        return write()


class FactView(APIView, Generic[ShapeT]):
    """What the three kinds of facts have in common; a subclass says which kind, and how a request completes it."""

    table: ClassVar[Table[Any]]
    decoder: ClassVar[Decoder[Any]]
    call_key = ""
    """The Idempotency-Key of this call."""

    def finish(self, item: ShapeT, request: Request, index: int | None) -> None:
        """Complete a decoded item from the request; `index` is its place in a bulk call, None for a single one."""

    def key_of(self, index: int | None) -> str:
        """The Idempotency-Key for one item of this call."""
        if index is None or not self.call_key:
            return self.call_key
        return "bulk/" + hashlib.blake2b(f"{self.call_key}/{index}".encode(), digest_size=16).hexdigest()

    def extras(self) -> dict[str, str]:
        """What the answer says besides what was stored."""
        return {}

    def create_one(self, request: Request) -> HttpResponse:
        now = timezone.now()
        try:
            self.call_key = idempotency_key(request)
            body, _ = read_body(request)
            item = self.decoder.one(
                body,
                now=now,
                bounds=definitions.bounds(),
                finish=lambda item, _: self.finish(item, request, None),
            )
        except Problem:
            self._reject(grant_in(request), now)
            raise
        try:
            outcome = written(lambda: ingest.record(self.table, item, grant_in(request).key_id, now))
        except Problem:
            self._count(Counts(rejected=1))
            raise
        self._count(Counts(repeated=1) if outcome.is_repeat else Counts(stored=1))
        response = _answer(self.receipt(outcome) | self.extras(), 201)
        if outcome.is_repeat:
            response["Idempotent-Replayed"] = "true"
        return response

    def create_many(self, request: Request) -> HttpResponse:
        now = timezone.now()
        try:
            self.call_key = idempotency_key(request)
            body, is_lines = read_body(request)
            items = self.decoder.many(
                body,
                is_lines=is_lines,
                now=now,
                bounds=definitions.bounds(),
                finish=lambda item, index: self.finish(item, request, index),
            )
        except Problem:
            self._reject(grant_in(request), now)
            raise
        outcome = written(lambda: ingest.record_many(self.table, items, grant_in(request).key_id, now))
        self._count(outcome.counts)
        return _answer(_bulk_receipt(outcome) | self.extras(), 200)

    def receipt(self, outcome: Outcome) -> dict[str, Any]:
        stored = outcome.stored
        return {"id": stored.id, "response_id": stored.response_id, "received_at": stored.received_at}

    def _reject(self, grant: Grant, now: datetime) -> None:
        """A body that could not be read counts as one rejected item."""
        self._count(Counts(rejected=1))
        ingest.enter(self.table.kind, grant.key_id, now, Counts(rejected=1))

    def _count(self, counts: Counts) -> None:
        for name in ("stored", "repeated", "rejected"):
            if getattr(counts, name):
                FACTS.labels(self.table.kind.value, name).inc(getattr(counts, name))


def _answer(body: object, status: int) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type="application/json", status=status)


def _bulk_receipt(outcome: BulkOutcome) -> dict[str, Any]:
    counts = outcome.counts
    return {
        "received": counts.received,
        "stored": counts.stored,
        "repeated": counts.repeated,
        "rejected": counts.rejected,
        "results": [_line(index, result) for index, result in enumerate(outcome.results)],
    }


def _line(index: int, result: Outcome | Problem) -> dict[str, Any]:
    if isinstance(result, Problem):
        return {"index": index, "status": "rejected", "problem": result.as_dict()}
    stored = result.stored
    return {"index": index, "status": "accepted", "id": stored.id, "response_id": stored.response_id}
