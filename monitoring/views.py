"""REST: read monitors and incidents."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.models import Incident, IncidentState, Monitor, MonitorState, OutboxMessage, Severity
from monitoring.serializers import (
    IncidentSerializer,
    IncidentWithHistorySerializer,
    MonitorSerializer,
    MonitorWithSlicesSerializer,
)
from triageops.rest import CursorPagination, InvalidInput, NotFound, check_query

_PAGING = frozenset({"cursor", "page_size"})
_MONITOR_FILTERS: dict[str, list[str] | None] = {"state": MonitorState.values, "metric": None}
_INCIDENT_FILTERS: dict[str, list[str] | None] = {
    "state": [*IncidentState.values, "open"],
    "severity": Severity.values,
    "monitor": None,
    "experiment": None,
}


def _parameters(filters: dict[str, list[str] | None]) -> list[OpenApiParameter]:
    return [OpenApiParameter(name, str, enum=values) for name, values in filters.items()]


def _chosen(request: Request, filters: dict[str, list[str] | None]) -> dict[str, str]:
    """The filters that the query names; raises InvalidInput for unknown names and values."""
    check_query(request.GET, _PAGING | frozenset(filters))
    chosen = {name: value for name in filters if (value := request.GET.get(name)) is not None}
    for name, value in chosen.items():
        allowed = filters[name]
        if allowed is not None and value not in allowed:
            raise InvalidInput(
                f"{name}={value!r} is not known.", field=name, fix=f"Use one of: {', '.join(allowed)}."
            )
        if "\0" in value:
            raise InvalidInput(f"{name} contains the character NUL.", field=name, fix="Remove it.")
    return chosen


def _page(
    rows: QuerySet[Any], request: Request, view: APIView, serializer: type[BaseSerializer[Any]]
) -> Response:
    pagination = CursorPagination()
    page = pagination.paginate_queryset(rows, request, view)
    return pagination.get_paginated_response(serializer(page, many=True).data)


class MonitorsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="monitors_list",
        responses=MonitorSerializer(many=True),
        parameters=_parameters(_MONITOR_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All monitors with their last and next check, the newest first."""
        chosen = _chosen(request, _MONITOR_FILTERS)
        return _page(Monitor.objects.filter(**chosen), request, self, MonitorSerializer)


class MonitorView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(operation_id="monitors_read", responses=MonitorWithSlicesSerializer)
    def get(self, _request: Request, monitor_id: int) -> Response:
        """One monitor with its slices and their evidence."""
        monitor = Monitor.objects.filter(pk=monitor_id).prefetch_related("slices").first()
        if monitor is None:
            raise NotFound("There is no monitor with this id.")
        return Response(MonitorWithSlicesSerializer(monitor).data)


class IncidentsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="incidents_list",
        responses=IncidentSerializer(many=True),
        parameters=_parameters(_INCIDENT_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All incidents, the newest first; state=open are those that are not resolved."""
        chosen = _chosen(request, _INCIDENT_FILTERS)
        rows = Incident.objects.all()
        if chosen.get("state") == "open":
            del chosen["state"]
            rows = rows.open()
        if not chosen.get("monitor", "0").isdecimal():
            raise InvalidInput("monitor is not a number.", field="monitor", fix="Send the id of a monitor.")
        return _page(rows.filter(**chosen), request, self, IncidentSerializer)


class IncidentView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(operation_id="incidents_read", responses=IncidentWithHistorySerializer)
    def get(self, _request: Request, incident_id: UUID) -> Response:
        """One incident with everything that happened, and who was told with which outcome."""
        messages = OutboxMessage.objects.order_by("channel", "seq").select_related("channel")
        rows = Incident.objects.filter(pk=incident_id).prefetch_related(
            "events", Prefetch("messages", messages), "messages__attempts"
        )
        incident = rows.first()
        if incident is None:
            raise NotFound("There is no incident with this id.")
        return Response(IncidentWithHistorySerializer(incident).data)
