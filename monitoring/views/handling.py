"""What is done with an incident: acknowledged, resolved, commented on, judged."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring import incidents
from monitoring.models import Incident, Resolution
from monitoring.reports import keyed
from monitoring.serializers.incidents import (
    LONGEST_ACKNOWLEDGEMENT,
    AcknowledgeSerializer,
    CommentSerializer,
    IncidentWithHistorySerializer,
    JudgeSerializer,
    ResolveSerializer,
)
from monitoring.tasks import wake_delivery
from monitoring.transitions import InvalidTransition
from monitoring.views.incidents import described, no_incident
from monitoring.views.opened import REFUSALS, body_of
from monitoring.views.senders import actor_of
from triageops.rest import Conflict, InvalidInput, NotFound


class IncidentChanged(Conflict):
    """Another call, or the product itself, was faster."""

    type = "incident-changed"
    title = "The incident was changed meanwhile"


class _MoveView(APIView):
    required_scopes: ClassVar = {"POST": Scope.INCIDENTS_WRITE}


def moved(incident_id: UUID, move: Callable[..., Incident], *given: Any, **options: Any) -> Response:
    """Do it, and answer with what the incident is then."""
    try:
        move(incident_id, *given, **options)
    except Incident.DoesNotExist:
        raise no_incident() from None
    except incidents.InvalidTransition as error:
        raise InvalidTransition(
            str(error), fix="Read the incident, and choose what its state allows."
        ) from None
    except incidents.IncidentChanged:
        raise IncidentChanged("It was changed in between.", fix="Read it again, then decide anew.") from None
    wake_delivery()
    return described(incident_id)


class AcknowledgeView(_MoveView):
    @extend_schema(
        operation_id="incidents_acknowledge",
        request=AcknowledgeSerializer,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Somebody takes care of it: no more reminders, no further steps. Again: nothing but a new end."""
        now = timezone.now()
        until = _until(body_of(AcknowledgeSerializer, request), now)
        return moved(incident_id, incidents.acknowledge, actor=actor_of(request), until=until, now=now)


def _until(body: dict[str, Any], now: datetime) -> datetime | None:
    if "seconds" in body:
        return now + timedelta(seconds=body["seconds"])
    until: datetime | None = body.get("until")
    if until is not None and not now < until <= now + LONGEST_ACKNOWLEDGEMENT:
        raise InvalidInput(
            "It is past, or more than 30 days away.", field="until", fix="Send a time within 30 days."
        )
    return until


class UnacknowledgeView(_MoveView):
    @extend_schema(
        operation_id="incidents_unacknowledge",
        request=None,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Nobody takes care of it any more: it fires again."""
        return moved(incident_id, incidents.unacknowledge, actor=actor_of(request), now=timezone.now())


class ResolveView(_MoveView):
    @extend_schema(
        operation_id="incidents_resolve",
        request=ResolveSerializer,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """It is over, and why. Of a monitor the evidence begins anew; an experiment stays halted."""
        body = body_of(ResolveSerializer, request)
        options = {"actor": actor_of(request), "note": body["note"], "now": timezone.now()}
        return moved(incident_id, incidents.resolve, Resolution(body["resolution"]), **options)


class ResolveByKeyView(_MoveView):
    @extend_schema(
        operation_id="incidents_resolve_by_key",
        request=None,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """What opened an incident by its key says that it is over. Again: nothing; 404 when there never was one."""
        incident = keyed.over(key, actor=actor_of(request), now=timezone.now())
        if incident is None:
            raise NotFound(
                "There is no incident with this key.", field="key", fix="Open one with POST /incidents."
            )
        wake_delivery()
        return described(incident.pk)


class CommentView(_MoveView):
    @extend_schema(
        operation_id="incidents_comment",
        request=CommentSerializer,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Kept with the incident and in its export, sent to nobody."""
        text = body_of(CommentSerializer, request)["text"]
        return moved(incident_id, incidents.comment, text, actor=actor_of(request), now=timezone.now())


class JudgeView(_MoveView):
    @extend_schema(
        operation_id="incidents_judge",
        request=JudgeSerializer,
        responses={200: IncidentWithHistorySerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Whether it was right to tell of it. The last judgement counts, all of them stay in the log."""
        usefulness = body_of(JudgeSerializer, request)["usefulness"]
        return moved(incident_id, incidents.judge, usefulness, actor=actor_of(request), now=timezone.now())
