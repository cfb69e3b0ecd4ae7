"""What the calls begin and end with: which monitor, who calls, which filters, one page of a list."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from feedback.authentication import grant_in
from feedback.models import ApiKey
from feedback.serializers import ProblemSerializer
from monitoring.models import Monitor
from triageops.rest import CursorPagination, InvalidInput, NotFound, check_query

Filters = Mapping[str, Sequence[str] | None]
"""Name of a query parameter -> its values; None: any text."""

READ_REFUSALS: dict[int, Any] = {404: ProblemSerializer}
REFUSALS: dict[int, Any] = {400: ProblemSerializer, 404: ProblemSerializer, 409: ProblemSerializer}

_PAGING = frozenset({"cursor", "page_size"})


def found(monitor_id: int, rows: QuerySet[Monitor] | None = None) -> Monitor:
    monitor = (Monitor.objects.all() if rows is None else rows).filter(pk=monitor_id).first()
    if monitor is None:
        raise no_monitor()
    return monitor


def no_monitor() -> NotFound:
    return NotFound("There is no monitor with this id.")


def body_of(serializer: type[BaseSerializer[Any]], request: Request, **options: Any) -> dict[str, Any]:
    """The body, when it fits. Raises InvalidInput or DRF's ValidationError."""
    given = serializer(data=request.data, **options)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def signed(reason: str, request: Request) -> str:
    """The reason with the key that gave it: a key is no user, and who did it must still be known."""
    name = ApiKey.objects.values_list("name", flat=True).get(pk=grant_in(request).key_id)
    return f"{reason} (API key “{name}”)".strip()


def parameters_of(filters: Filters) -> list[OpenApiParameter]:
    return [
        OpenApiParameter(name, str, enum=None if values is None else list(values))
        for name, values in filters.items()
    ]


def chosen(request: Request, filters: Filters, *, is_paged: bool = True) -> dict[str, str]:
    """The filters that the query names; raises InvalidInput for unknown names and values."""
    check_query(request.GET, frozenset(filters) | (_PAGING if is_paged else frozenset()))
    given = {name: value for name in filters if (value := request.GET.get(name)) is not None}
    for name, value in given.items():
        allowed = filters[name]
        if allowed is not None and value not in allowed:
            raise InvalidInput(
                f"{name}={value!r} is not known.", field=name, fix=f"Use one of: {', '.join(allowed)}."
            )
        if "\0" in value:
            raise InvalidInput(f"{name} contains the character NUL.", field=name, fix="Remove it.")
    return given


def moment(given: Mapping[str, str], name: str) -> datetime | None:
    """A time with its zone. Raises InvalidInput."""
    text = given.get(name)
    if text is None:
        return None
    try:
        # A plus that was not percent-encoded arrives as a space.
        at = parse_datetime(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(
            f"{name}={text!r} is no time with a zone.",
            field=name,
            fix="Send for example 2026-01-31T12:00:00Z.",
        )
    return at


def page(
    rows: QuerySet[Any],
    request: Request,
    view: APIView,
    serializer: type[BaseSerializer[Any]],
    pagination: type[CursorPagination] = CursorPagination,
) -> Response:
    pages = pagination()
    found_rows = pages.paginate_queryset(rows, request, view)
    return pages.get_paginated_response(serializer(found_rows, many=True).data)
