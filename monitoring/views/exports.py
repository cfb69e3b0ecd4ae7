"""An incident as a file."""

from typing import ClassVar
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.exports.export_page import as_html
from monitoring.exports.exporting import as_json, export
from monitoring.models import Incident
from monitoring.views.incidents import no_incident
from monitoring.views.opened import READ_REFUSALS, chosen

_FORMATS = ["json", "html"]


class ExportView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="incidents_export",
        parameters=[OpenApiParameter("format", str, enum=_FORMATS, description="Default: json.")],
        responses={
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, "The export."),
            (200, "text/html"): OpenApiResponse(OpenApiTypes.STR, "The same as a page, with the data in it."),
        }
        | READ_REFUSALS,
    )
    def get(self, request: Request, incident_id: UUID) -> HttpResponse:
        """Everything that is known of it, as a file that `bin/manage alerts verify` checks.

        `format=html` is one page that needs nothing else, with a plot of the metric around the onset.
        """
        given = chosen(request, {"format": _FORMATS}, is_paged=False)
        return file_of(incident_id, given.get("format", "json"))


def file_of(incident_id: UUID, form: str) -> HttpResponse:
    """form: json or html. Raises NotFound."""
    with transaction.atomic():
        incident = Incident.objects.select_related("monitor").filter(pk=incident_id).first()
        if incident is None:
            raise no_incident()
        exported = export(incident, timezone.now())
    if form == "html":
        answer = HttpResponse(as_html(exported), content_type="text/html; charset=utf-8")
    else:
        answer = HttpResponse(as_json(exported), content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="incident-{incident_id}.{form}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
