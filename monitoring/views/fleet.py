"""Markers, and the common budget of false alarms."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring import fleet
from monitoring.models import Marker, MarkerKind
from monitoring.serializers import (
    BudgetInputSerializer,
    BudgetSerializer,
    MarkerEndSerializer,
    MarkerInputSerializer,
    MarkerSerializer,
)
from monitoring.serializers.fleet import marker_values
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, moment, page
from triageops.rest import CursorPagination, NotFound


class _LatestMarkers(CursorPagination):
    ordering: Any = ("-starts_at", "-id")


class MarkersView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.MONITORS_WRITE}

    @extend_schema(
        operation_id="markers_list",
        responses=MarkerSerializer(many=True),
        parameters=[
            OpenApiParameter("kind", str, enum=MarkerKind.values),
            OpenApiParameter("from", str, description="Those that end after this time."),
            OpenApiParameter("to", str, description="Those that begin before this time."),
        ],
    )
    def get(self, request: Request) -> Response:
        """All markers, those that begin last first."""
        given = chosen(request, {"kind": MarkerKind.values, "from": None, "to": None})
        rows = Marker.objects.select_related("created_by")
        start, end = moment(given, "from"), moment(given, "to")
        if "kind" in given:
            rows = rows.filter(kind=given["kind"])
        if start is not None:
            rows = rows.filter(ends_at__gt=start)
        if end is not None:
            rows = rows.filter(starts_at__lt=end)
        return page(rows, request, self, MarkerSerializer, _LatestMarkers)

    @extend_schema(
        operation_id="markers_create",
        request=MarkerInputSerializer,
        responses={201: MarkerSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Say that something is known to happen: buckets under it are no evidence.

        A deployment says `{"kind": "deploy", "name": "release 4.2", "minutes": 30}`.
        """
        values = marker_values(body_of(MarkerInputSerializer, request), timezone.now())
        return Response(MarkerSerializer(fleet.add_marker(values, by=None)).data, status=201)


class MarkerView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "PATCH": Scope.MONITORS_WRITE}

    @extend_schema(operation_id="markers_read", responses={200: MarkerSerializer} | READ_REFUSALS)
    def get(self, _request: Request, marker_id: int) -> Response:
        """One marker."""
        marker = Marker.objects.select_related("created_by").filter(pk=marker_id).first()
        if marker is None:
            raise _no_marker()
        return Response(MarkerSerializer(marker).data)

    @extend_schema(
        operation_id="markers_end",
        request=MarkerEndSerializer,
        responses={200: MarkerSerializer} | REFUSALS,
    )
    def patch(self, request: Request, marker_id: int) -> Response:
        """Have it end earlier or later. What was checked meanwhile stays as it was."""
        ends_at = body_of(MarkerEndSerializer, request)["ends_at"]
        try:
            marker = fleet.end_marker(marker_id, ends_at)
        except Marker.DoesNotExist:
            raise _no_marker() from None
        return Response(MarkerSerializer(marker).data)


class BudgetView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "PATCH": Scope.MONITORS_WRITE}

    @extend_schema(operation_id="budget_read", responses=BudgetSerializer)
    def get(self, request: Request) -> Response:
        """The common budget of false alarms, what was promised and came in 30 days, and the part of each monitor."""
        chosen(request, {}, is_paged=False)
        return Response(BudgetSerializer(fleet.overview(timezone.now())).data)

    @extend_schema(
        operation_id="budget_change",
        request=BudgetInputSerializer,
        responses={200: BudgetSerializer} | REFUSALS,
    )
    def patch(self, request: Request) -> Response:
        """Change the common budget; every monitor that is watching gets its new part at once."""
        fleet.set_budget(body_of(BudgetInputSerializer, request, partial=True))
        return Response(BudgetSerializer(fleet.overview(timezone.now())).data)


def _no_marker() -> NotFound:
    return NotFound("There is no marker with this id.")
