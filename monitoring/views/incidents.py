"""Incidents: listed and read."""

from typing import ClassVar
from uuid import UUID

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.models import Incident, IncidentState, OutboxMessage, Severity
from monitoring.serializers import IncidentSerializer, IncidentWithHistorySerializer
from monitoring.views.opened import chosen, page, parameters_of
from triageops.rest import InvalidInput, NotFound

_FILTERS: dict[str, list[str] | None] = {
    "state": [*IncidentState.values, "open"],
    "severity": Severity.values,
    "monitor": None,
    "experiment": None,
}


class IncidentsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="incidents_list",
        responses=IncidentSerializer(many=True),
        parameters=parameters_of(_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All incidents, the newest first; state=open are those that are not resolved."""
        given = chosen(request, _FILTERS)
        rows = Incident.objects.genuine()
        if given.get("state") == "open":
            del given["state"]
            rows = rows.open()
        if not given.get("monitor", "0").isdecimal():
            raise InvalidInput("monitor is not a number.", field="monitor", fix="Send the id of a monitor.")
        return page(rows.filter(**given), request, self, IncidentSerializer)


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
