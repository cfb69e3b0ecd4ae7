"""What each key sent on each day, and what became of it; `received` is always the sum of the other three."""

from datetime import date
from typing import TypedDict

from django.db.models import QuerySet, Sum

from feedback.models import LedgerEntry


class LedgerLine(TypedDict):
    day: date
    kind: str
    key: str
    received: int
    stored: int
    repeated: int
    rejected: int


def lines(entries: QuerySet[LedgerEntry]) -> list[LedgerLine]:
    """The chosen entries summed over their shards, newest day first."""
    rows = (
        entries.values("day", "kind", "api_key__prefix", "api_key_id")
        .annotate(
            received=Sum("received_count"),
            stored=Sum("stored_count"),
            repeated=Sum("repeated_count"),
            rejected=Sum("rejected_count"),
        )
        .order_by("-day", "api_key_id", "kind")
    )
    return [
        LedgerLine(
            day=row["day"],
            kind=row["kind"],
            key=row["api_key__prefix"],
            received=row["received"],
            stored=row["stored"],
            repeated=row["repeated"],
            rejected=row["rejected"],
        )
        for row in rows
    ]
