"""Facts as a stream of CSV or NDJSON, in bounded memory."""

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

CHUNK = 1_000

_CSV_DANGER = ("=", "+", "-", "@", "\t", "\r")


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


class _Echo:
    def write(self, line: str) -> str:
        return line


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula is defused by a quote mark."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, str) and value.startswith(_CSV_DANGER):
        return "'" + value
    return value


def csv_lines(queryset: QuerySet[Any], fields: list[str]) -> Iterator[str]:
    """A header line, then a line a fact, oldest first."""
    writer = csv.writer(_Echo())
    yield writer.writerow(fields)
    for row in queryset.order_by("id").values_list(*fields).iterator(chunk_size=CHUNK):
        yield writer.writerow([_cell(_as_text(value)) for value in row])


def json_lines(queryset: QuerySet[Any], fields: list[str]) -> Iterator[str]:
    """One JSON object a line, oldest first."""
    for row in queryset.order_by("id").values_list(*fields).iterator(chunk_size=CHUNK):
        values = {name: _as_text(value) for name, value in zip(fields, row, strict=True)}
        yield json.dumps(values, ensure_ascii=False) + "\n"
