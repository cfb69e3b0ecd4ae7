"""Rows in the text format of PostgreSQL's COPY, the fastest way into a table."""

import io
from collections.abc import Sequence
from datetime import datetime

from django.db.backends.utils import CursorWrapper

Row = tuple[str | float | datetime | None, ...]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_in(cursor: CursorWrapper, table: str, columns: str, rows: Sequence[Row]) -> None:
    """Append rows; raises IntegrityError when one of them is there already."""
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", io.StringIO(copy_text(rows)))


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
    return str(value).translate(_ESCAPES)
