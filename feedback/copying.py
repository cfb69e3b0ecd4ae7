"""Rows in the text format of PostgreSQL's COPY, the fastest way into a table."""

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.backends.utils import CursorWrapper
from psycopg2.extras import execute_values

Row = tuple[Any, ...]
"""Texts, numbers, times and None."""

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""The backslash first: the others bring new ones."""


def copy_in(cursor: CursorWrapper, table: str, columns: str, rows: Sequence[Row]) -> None:
    """Append rows; raises IntegrityError when one of them is there already."""
    # Django wraps only what goes through its own methods; psycopg2's errors would pass every `except` of ours.
    with cursor.db.wrap_database_errors:
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", io.StringIO(copy_text(rows)))


def execute_rows(
    cursor: CursorWrapper,
    statement: str,
    rows: Sequence[Row],
    *,
    template: str | None = None,
    has_result: bool = False,
) -> list[tuple[Any, ...]]:
    """One statement with `VALUES %s` for many rows, a thousand at a time; what it returns."""
    with cursor.db.wrap_database_errors:
        found = execute_values(cursor.cursor, statement, rows, template, page_size=1_000, fetch=has_result)
    return found or []


def copy_text(rows: Sequence[Row]) -> str:
    """Rows in the text format of COPY.

    Texts rarely need escapes, and looking for them in each field costs more than all else: the lines are made without,
    and made again with them if the whole then has a tab, line end or backslash that is not one of ours.
    """
    plain = "".join(
        [
            "\t".join(["\\N" if v is None else v if v.__class__ is str else str(v) for v in row]) + "\n"
            for row in rows
        ]
    )
    tabs = sum([len(row) - 1 for row in rows])
    nulls = sum([row.count(None) for row in rows])
    if (plain.count("\t"), plain.count("\n"), plain.count("\r"), plain.count("\\")) == (
        tabs,
        len(rows),
        0,
        nulls,
    ):
        return plain
    return "".join("\t".join([_field(value) for value in row]) + "\n" for row in rows)


def _field(value: str | float | datetime | None) -> str:
    if value is None:
        return "\\N"
    text = str(value)
    # Not by str.translate, which looks at each character of a long text by itself.
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text
