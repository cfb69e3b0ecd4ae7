"""Facts for tests; keywords change what matters to one of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from feedback import ingest
from feedback.models import ApiKey
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape
from feedback.tables import FEEDBACK, QUALITY_RECORDS, RESPONSES

NOW = datetime(2026, 3, 5, 12, 34, 56, tzinfo=UTC)
BUCKET = timedelta(minutes=5)
BUCKET_AT = datetime(2026, 3, 5, 12, 30, tzinfo=UTC)
"""The bucket that NOW is in."""


def key_id() -> int:
    key = ApiKey.objects.first()
    if key is None:
        key = ApiKey(name="k", scopes=[])
        key.take_secret("s")
        key.save()
    return key.pk


def respond(response_id: str, *, now: datetime = NOW, **fields: Any) -> None:
    item = ResponseShape(response_id=response_id, **({"occurred_at": NOW} | fields))
    ingest.record(RESPONSES, item, key_id(), now)


def rate(response_id: str, feedback_type: str = "positive", *, now: datetime = NOW, **fields: Any) -> str:
    values: dict[str, Any] = {"user_id": "u", "feedback_type": feedback_type} | fields
    item = FeedbackShape(response_id=response_id, **values)
    return ingest.record(FEEDBACK, item, key_id(), now).stored.id


def withdraw(feedback_id: str, *, now: datetime = NOW) -> None:
    ingest.withdraw(feedback_id, key_id=key_id(), now=now)


def judge(
    response_id: str,
    evaluator: str = "judge",
    kind: str = "llm_judge",
    *,
    now: datetime = NOW,
    **metrics: float,
) -> None:
    values: dict[str, Any] = {"evaluator_kind": kind, "evaluator_name": evaluator, "metrics": metrics}
    ingest.record(QUALITY_RECORDS, QualityShape(response_id=response_id, **values), key_id(), now)
