"""REST for what is computed from facts: statistics, the ledger, exports."""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView

from feedback import export, ledger, stats
from feedback.authentication import grant_in
from feedback.filters import FEEDBACK_FILTERS, QUALITY_FILTERS, RESPONSE_FILTERS, chosen, filtered, parameters
from feedback.models import Feedback, LedgerEntry, QualityRecord, Response, Scope
from feedback.serializers import (
    FeedbackSerializer,
    FeedbackStatsSerializer,
    LedgerSerializer,
    QualityRecordSerializer,
    QualityStatsSerializer,
    ResponseSerializer,
)
from feedback.stats import Cut, FeedbackStats, MetricStats, UnknownDimension, Window
from triageops.rest import InvalidInput, check_query
from triageops.stats.interval import Interval

_LENGTH = re.compile(r"(?P<number>[1-9][0-9]{0,4})(?P<unit>[mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=400)
_NOT_DIMENSIONS = frozenset({"window", "group_by", "metric"})
_STATS_PARAMETERS = [
    OpenApiParameter("window", str, default="7d", description="Such as 30m, 24h, 7d; at most 400d."),
    OpenApiParameter(
        "group_by",
        str,
        description="Comma-separated dimensions: " + ", ".join(stats.DIMENSIONS) + ", or one attribute.",
    ),
    *[OpenApiParameter(name, str, description="Only this value.") for name in stats.DIMENSIONS],
]


def _window(request: Request, now: datetime) -> Window:
    text = request.GET.get("window", "7d")
    found = _LENGTH.fullmatch(text)
    length = timedelta(**{_UNITS[found["unit"]]: int(found["number"])}) if found else _LONGEST + timedelta(1)
    if length > _LONGEST:
        raise InvalidInput(
            f"window={text!r} is not understood.", field="window", fix="Send 30m, 24h, 7d, up to 400d."
        )
    return Window.last(length, now)


def _cut(request: Request) -> Cut:
    group_by = [name.strip() for name in request.GET.get("group_by", "").split(",") if name.strip()]
    where = {name: request.GET[name] for name in request.GET if name not in _NOT_DIMENSIONS}
    for name, value in request.GET.items():
        if "\0" in str(value):
            raise InvalidInput(f"{name} contains the character NUL.", field=name, fix="Remove it.")
    if len(set(group_by)) != len(group_by):
        raise InvalidInput("group_by names a dimension twice.", field="group_by", fix="Name it once.")
    try:
        return Cut(where, group_by)
    except UnknownDimension as error:
        field = next((name for name in group_by if name in str(error)), None)
        raise InvalidInput(
            str(error),
            field="group_by" if field else next(iter(where), None),
            fix=f"Use {', '.join(stats.DIMENSIONS)}, or one of the watched attributes.",
        ) from None


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _quality_line(cut: Cut, found: MetricStats) -> dict[str, Any]:
    moments = found.moments
    return {
        "metric": found.metric,
        "group": dict(zip(cut.group_by, found.group, strict=True)),
        "n": found.n,
        "null_count": found.null_count,
        "mean": moments.mean if found.n else None,
        "sd": moments.sd if moments.sd is None or math.isfinite(moments.sd) else None,
        "min": found.minimum,
        "max": found.maximum,
        "p50": found.p50,
        "p95": found.p95,
        "p50_error": found.p50_error,
        "p95_error": found.p95_error,
    }


class QualityStatsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.QUALITY_READ}

    @extend_schema(
        operation_id="quality_stats",
        parameters=[
            *_STATS_PARAMETERS,
            OpenApiParameter("metric", str, description="Comma-separated; empty: all."),
        ],
        responses=QualityStatsSerializer,
    )
    def get(self, request: Request) -> RestResponse:
        """Count, mean, deviation and quantiles of each metric and group, over responses of the window."""
        window, cut = _window(request, timezone.now()), _cut(request)
        names = [name for name in request.GET.get("metric", "").split(",") if name]
        found = stats.quality_stats(window, cut, names or None)
        return RestResponse(
            {"window": asdict(window), "results": [_quality_line(cut, line) for line in found]}
        )


def _feedback_line(cut: Cut, found: FeedbackStats) -> dict[str, Any]:
    return {
        "group": dict(zip(cut.group_by, found.group, strict=True)),
        "responses": found.responses,
        "responses_with_feedback": found.responses_with_feedback,
        "coverage": found.coverage,
        "coverage_interval": _interval(found.coverage_interval),
        "by_type": {
            name: {
                "count": line.count,
                "share_interval": _interval(line.share),
                "average_rating": line.average_rating,
                "ratings": line.rating_count,
                "comments": line.comment_count,
            }
            for name, line in found.by_type.items()
        },
    }


class FeedbackStatsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.FEEDBACK_READ}

    @extend_schema(
        operation_id="feedback_stats", parameters=_STATS_PARAMETERS, responses=FeedbackStatsSerializer
    )
    def get(self, request: Request) -> RestResponse:
        """Feedback on the responses of the window: per type its count, average rating and comments; and coverage.

        `unmatched` is feedback given in the window whose response was not seen yet; it is in no group.
        """
        window, cut = _window(request, timezone.now()), _cut(request)
        found = stats.feedback_stats(window, cut)
        return RestResponse(
            {
                "window": asdict(window),
                "unmatched": stats.unmatched_count(window),
                "results": [_feedback_line(cut, line) for line in found],
            }
        )


class LedgerView(APIView):
    required_scopes: ClassVar = {"GET": Scope.LEDGER_READ}

    @extend_schema(
        operation_id="ledger_read",
        parameters=[
            OpenApiParameter("since", OpenApiTypes.DATE, description="First day, UTC."),
            OpenApiParameter("until", OpenApiTypes.DATE, description="Last day, UTC."),
        ],
        responses=LedgerSerializer,
    )
    def get(self, request: Request) -> RestResponse:
        """What the calling key sent each day: received = stored + repeated + rejected, always."""
        check_query(request.GET, frozenset({"since", "until"}))
        entries = LedgerEntry.objects.filter(api_key_id=grant_in(request).key_id)
        for name, lookup in (("since", "day__gte"), ("until", "day__lte")):
            text = request.GET.get(name)
            if text is not None:
                entries = entries.filter(**{lookup: _day(name, text)})
        return RestResponse({"results": ledger.lines(entries)})


def _day(name: str, text: str) -> Any:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise InvalidInput(f"{text!r} is not a day.", field=name, fix="Send it as 2026-01-31.")
    return day


_FORMATS: dict[str, tuple[str, Callable[[QuerySet[Any], list[str]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", export.csv_lines),
    "ndjson": ("application/x-ndjson", export.json_lines),
}


class ExportView(APIView):
    """A stream of all facts of one kind that match the filters."""

    queryset: ClassVar[QuerySet[Any]]
    fields: ClassVar[list[str]]
    filters: ClassVar[tuple[str, ...]]
    name: ClassVar[str]

    def stream(self, request: Request) -> StreamingHttpResponse:
        query = request.GET.copy()
        kind = chosen(request.GET, "format", frozenset(_FORMATS), "ndjson")
        query.pop("format", None)
        content_type, lines = _FORMATS[kind]
        stream = lines(filtered(self.queryset.all(), query, self.filters, frozenset()), self.fields)
        # A header and a row are made before the answer begins, so that what cannot be read is refused, not cut off.
        begun = list(itertools.islice(stream, 2))
        response = StreamingHttpResponse(itertools.chain(begun, stream), content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="{self.name}.{kind}"'
        return response


def _export_schema(name: str, filters: tuple[str, ...]) -> Callable[[Any], Any]:
    formats = OpenApiParameter("format", str, enum=["csv", "ndjson"], default="ndjson")
    return extend_schema(
        operation_id=f"export_{name}",
        parameters=[formats, *parameters(filters)],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR, (200, "text/csv"): OpenApiTypes.STR},
    )


class ExportResponsesView(ExportView):
    required_scopes: ClassVar = {"GET": Scope.RESPONSES_READ}
    queryset, fields, filters = Response.objects.all(), ResponseSerializer.Meta.fields, RESPONSE_FILTERS
    name = "responses"

    @_export_schema("responses", RESPONSE_FILTERS)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Responses, oldest first."""
        return self.stream(request)


class ExportQualityView(ExportView):
    required_scopes: ClassVar = {"GET": Scope.QUALITY_READ}
    queryset, fields, filters = (
        QualityRecord.objects.all(),
        QualityRecordSerializer.Meta.fields,
        QUALITY_FILTERS,
    )
    name = "quality"

    @_export_schema("quality", QUALITY_FILTERS)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Quality records, oldest first."""
        return self.stream(request)


class ExportFeedbackView(ExportView):
    required_scopes: ClassVar = {"GET": Scope.FEEDBACK_READ}
    queryset, fields, filters = Feedback.objects.all(), FeedbackSerializer.Meta.fields, FEEDBACK_FILTERS
    name = "feedback"

    @_export_schema("feedback", FEEDBACK_FILTERS)
    def get(self, request: Request) -> StreamingHttpResponse:
        """Feedback as it stands now, oldest first; withdrawn feedback is marked by withdrawn_at."""
        return self.stream(request)
