"""Filters of lists and exports: the same words for both, and unknown ones are refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from triageops.rest import InvalidInput, check_query

ModelT = TypeVar("ModelT", bound=Model)

TIMES = ("received_after", "received_before", "occurred_after", "occurred_before")
RESPONSE_FILTERS = (
    "response_id", "request_id", "endpoint", "model", "provider", "experiment", "variant", "unit", "status",
)  # fmt: skip
QUALITY_FILTERS = ("response_id", "evaluator_kind", "evaluator_name", "evaluator_version")
FEEDBACK_FILTERS = ("response_id", "feedback_type", "user_id", "source", "is_withdrawn")
_PAGING = frozenset({"cursor", "page_size"})


def parameters(names: tuple[str, ...]) -> list[OpenApiParameter]:
    """For the OpenAPI description."""
    times = [
        OpenApiParameter(name, OpenApiTypes.DATETIME, description="ISO 8601 time or date") for name in TIMES
    ]
    return [OpenApiParameter(name, str, description="exactly this value") for name in names] + times


def instant(query: QueryDict, name: str) -> datetime | None:
    """A time from the query; raises InvalidInput when it is none."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # A '+' of a time zone arrives as a space when a client did not escape it.
        at = parse_datetime(text.replace(" ", "+") if text.count(":") > 2 else text)
        day = parse_date(text) if at is None else None
    except ValueError:
        at = day = None
    if at is None and day is not None:
        at = datetime(day.year, day.month, day.day)  # noqa: DTZ001
    if at is None:
        raise InvalidInput(
            f"{text!r} is not a time.", field=name, fix="Send ISO 8601, such as 2026-01-31T12:00:00Z."
        )
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise InvalidInput(
            f"{text!r} lies outside the calendar.", field=name, fix="Send a time of this era."
        ) from None


def first_id_at(at: datetime) -> UUID:
    """The smallest UUIDv7 of its millisecond: rows are found by the time in their primary key."""
    milliseconds = max(0, int(at.timestamp() * 1000))
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62))


def filtered(
    queryset: QuerySet[ModelT], query: QueryDict, names: tuple[str, ...], others: frozenset[str] = _PAGING
) -> QuerySet[ModelT]:
    """`queryset` narrowed to what `query` asks for; `others` are parameters that somebody else reads."""
    check_query(query, frozenset({*names, *TIMES, *others}))
    conditions: dict[str, Any] = {}
    for name in names:
        value = query.get(name)
        if value is None:
            continue
        if "\0" in value:
            raise InvalidInput(f"{name} contains the character NUL.", field=name, fix="Remove it.")
        if name == "is_withdrawn":
            is_withdrawn = chosen(query, name, frozenset({"true", "false"}), "false") == "true"
            conditions["withdrawn_at__isnull"] = not is_withdrawn
        else:
            conditions[name] = value
    for name in TIMES:
        at = instant(query, name)
        column, _, side = name.partition("_")
        if at is not None and column == "received":
            conditions["id__gte" if side == "after" else "id__lt"] = first_id_at(at)
        elif at is not None:
            conditions["occurred_at__gte" if side == "after" else "occurred_at__lt"] = at
    return queryset.filter(**conditions)


def chosen(query: QueryDict, name: str, allowed: Mapping[str, str] | frozenset[str], default: str) -> str:
    """One of `allowed`; raises InvalidInput."""
    value = query.get(name, default)
    if value not in allowed:
        raise InvalidInput(
            f"{name}={value!r} is not known.", field=name, fix=f"Use one of: {', '.join(sorted(allowed))}."
        )
    return value
