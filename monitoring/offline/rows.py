"""A file of timestamp,value[,n] as buckets, read once and in pieces."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from zoneinfo import ZoneInfo

from monitoring.offline.cells import Clock, columns_of, refuse_columns
from monitoring.offline.kept import MOST_BUCKETS, Kept, Table
from monitoring.offline.question import Question, Unusable
from triageops import wording


def read(lines: Iterable[str], question: Question) -> Table:
    """Raises Unusable, with the line."""
    rows = _rows(lines)
    first_line, first = next(rows, (0, []))
    if not first:
        raise Unusable("the file is empty")
    columns, is_header = columns_of(first, first_line)
    refuse_columns(columns, question, first_line)
    buckets = Kept.of(question, columns)
    clock: Clock | None = None
    count = 0
    for line, row in rows if is_header else chain([(first_line, first)], rows):
        if len(row) != len(first):
            raise Unusable(f"line {line}: {wording.plural(len(row), 'cell')} instead of {len(first)}")
        try:
            clock = clock or Clock.of(row[columns.at], ZoneInfo(question.zone))
            at = clock.read(row[columns.at])
            buckets.add(math.floor(at / question.bucket_seconds) * question.bucket_seconds, row)
        except ValueError as error:
            hint = "" if clock or is_header else " (and no header with timestamp, value, n)"
            raise Unusable(f"line {line}: {error}{hint}") from error
        if len(buckets.seen) > MOST_BUCKETS:
            raise Unusable(f"line {line}: more than {MOST_BUCKETS} buckets; a longer --bucket makes fewer")
        count += 1
    if clock is None:
        raise Unusable("the file has a header and no rows")
    return buckets.table(clock.words, count)


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row that is not blank; separated by what the first one has: commas, semicolons or tabs."""
    source = iter(lines)
    before: list[str] = []
    for text in source:
        before.append(text)
        if text.strip("\ufeff \t\r\n"):
            break
    else:
        return
    before[0] = before[0].removeprefix("\ufeff")
    delimiter = next((mark for mark in (",", ";", "\t") if mark in before[-1]), ",")
    reader = csv.reader(chain(before, source), delimiter=delimiter)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise Unusable(f"line {reader.line_num}: {error}") from error
        if row is None:
            return
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells
