"""An incident as a file, for whoever is signed in here."""

from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from monitoring.admin.opening import Admin, require
from monitoring.exports.export_page import as_html
from monitoring.exports.exporting import as_json, export
from monitoring.models import Incident

_TYPES = {"json": "application/json", "html": "text/html; charset=utf-8"}


def page(admin: Admin, request: HttpRequest, incident_id: UUID, form: str) -> HttpResponse:
    """form: json or html."""
    require(request, "monitoring.view_incident", "monitoring.change_incident")
    if form not in _TYPES:
        raise Http404
    with transaction.atomic():
        incident = get_object_or_404(Incident.objects.select_related("monitor"), pk=incident_id)
        exported = export(incident, timezone.now())
    text = as_html(exported) if form == "html" else as_json(exported)
    answer = HttpResponse(text, content_type=_TYPES[form])
    answer["Content-Disposition"] = f'attachment; filename="incident-{incident_id}.{form}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
