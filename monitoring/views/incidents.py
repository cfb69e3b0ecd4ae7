"""Incidents: listed, opened and read."""

from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.labels import matched_labels_of
from monitoring.models import Incident, IncidentState, OutboxMessage, Severity, Source
from monitoring.reports import keyed
from monitoring.routing.matchers import InvalidMatcher, matches_all, parse
from monitoring.serializers.incidents import (
    IncidentSerializer,
    IncidentWithHistorySerializer,
)
from monitoring.serializers.reported import ReportSerializer
from monitoring.tasks import wake_delivery
from monitoring.views.opened import (
    READ_REFUSALS,
    REFUSALS,
    Filters,
    body_of,
    chosen,
    moment,
    page,
    parameters_of,
)
from monitoring.views.senders import actor_of
from triageops.rest import InvalidInput, NotFound

_EXACT: dict[str, list[str] | None] = {
    "state": [*IncidentState.values, "open", "unresolved"],
    "severity": Severity.values,
    "monitor": None,
    "experiment": None,
    "source": Source.values,
}
_FILTERS: Filters = {**_EXACT, "matchers": None, "opened_after": None, "opened_before": None, "q": None}
_MATCHED_MAX = 10_000
"""Labels are compared one incident after the other."""
_SAID = {
    "matchers": 'In Alertmanager\'s words: severity="critical", team=~"a|b".',
    "opened_after": "Those that were opened at this time or later.",
    "opened_before": "Those that were opened before this time.",
    "q": "Part of the title.",
}


class IncidentsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.INCIDENTS_WRITE}

    @extend_schema(
        operation_id="incidents_list",
        responses=IncidentSerializer(many=True),
        parameters=[
            *parameters_of(_EXACT),
            *(OpenApiParameter(name, str, description=said) for name, said in _SAID.items()),
        ],
    )
    def get(self, request: Request) -> Response:
        """All incidents, the newest first. state=open: told, or about to be; state=unresolved: suspicions too."""
        rows = _asked_for(chosen(request, _FILTERS)).select_related("acknowledged_by", "resolved_by")
        return page(rows, request, self, IncidentSerializer)

    @extend_schema(
        operation_id="incidents_open",
        request=ReportSerializer,
        responses={201: IncidentSerializer, 200: IncidentSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Open an incident (201), or go on with the one of the same key (200), which is safe to repeat; also when a person ended it."""
        now = timezone.now()
        body = body_of(ReportSerializer, request)
        onset_at = body.get("onset_at", now)
        if onset_at > now:
            raise InvalidInput("It has not begun yet.", field="onset_at", fix="Send a time that is past.")
        seconds = body.get("expires_in_seconds")
        said = {name: body[name] for name in ("summary", "description", "runbook_url") if body.get(name)}
        incident = keyed.report(
            body["key"],
            title=body["title"],
            severity=body["severity"],
            labels=body.get("labels", {}),
            annotations=said,
            onset_at=onset_at,
            lasts=None if seconds is None else timedelta(seconds=seconds),
            actor=actor_of(request),
            now=now,
        )
        wake_delivery()
        return Response(IncidentSerializer(incident).data, status=201 if incident.opened_at == now else 200)


def _asked_for(given: dict[str, str]) -> QuerySet[Incident]:
    """Raises InvalidInput."""
    if not given.get("monitor", "0").isdecimal():
        raise InvalidInput("monitor is not a number.", field="monitor", fix="Send the id of a monitor.")
    rows = Incident.objects.genuine()
    state = given.pop("state", "")
    if state:
        rows = {"open": rows.open(), "unresolved": rows.unresolved()}.get(state, rows.filter(state=state))
    after, before = moment(given, "opened_after"), moment(given, "opened_before")
    if after is not None:
        rows = rows.filter(opened_at__gte=after)
    if before is not None:
        rows = rows.filter(opened_at__lt=before)
    rows = rows.filter(title__icontains=given.get("q", ""), **{n: given[n] for n in _EXACT if n in given})
    return _matching(rows, given["matchers"]) if "matchers" in given else rows


def _matching(rows: QuerySet[Incident], text: str) -> QuerySet[Incident]:
    """By all labels, also those that are made of other columns. Raises InvalidInput."""
    try:
        matchers = parse(text)
    except InvalidMatcher as error:
        raise InvalidInput(
            str(error), field="matchers", fix='Send for example severity="critical".'
        ) from None
    if rows.count() > _MATCHED_MAX:
        raise InvalidInput(
            f"There are more than {_MATCHED_MAX} incidents to compare.",
            field="matchers",
            fix="Send opened_after, or another filter beside it.",
        )
    found = rows.select_related("monitor").iterator(2_000)
    return rows.filter(pk__in=[row.pk for row in found if matches_all(matchers, matched_labels_of(row))])


def described(incident_id: UUID) -> Response:
    """The whole incident as it is stored now."""
    messages = OutboxMessage.objects.order_by("channel", "seq").select_related("channel", "route")
    rows = Incident.objects.filter(pk=incident_id).select_related("acknowledged_by", "resolved_by")
    incident = rows.prefetch_related(
        "events", "flags", Prefetch("messages", messages), "messages__attempts"
    ).first()
    if incident is None:
        raise no_incident()
    return Response(IncidentWithHistorySerializer(incident).data)


class IncidentView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="incidents_read", responses={200: IncidentWithHistorySerializer} | READ_REFUSALS
    )
    def get(self, _request: Request, incident_id: UUID) -> Response:
        """One incident with everything that happened, and who was told with which outcome."""
        return described(incident_id)


def no_incident() -> NotFound:
    return NotFound("There is no incident with this id.")
