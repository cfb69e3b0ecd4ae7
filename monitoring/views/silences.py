"""Silences: listed, made, changed, ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.authentication import grant_in
from feedback.models import ApiKey, Scope
from monitoring.models import Incident, Silence
from monitoring.quiet import silences
from monitoring.serializers.silences import (
    IncidentSilenceInputSerializer,
    SilenceInputSerializer,
    SilenceSerializer,
    end_of,
    seen_at,
    shown_at,
)
from monitoring.tasks import wake_delivery
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, page, parameters_of
from triageops.rest import Conflict, InvalidInput, NotFound

_STATES = {"state": ["active", "pending", "expired"]}


class SilencesView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.INCIDENTS_WRITE}

    @extend_schema(
        operation_id="silences_list",
        responses=SilenceSerializer(many=True),
        parameters=parameters_of(_STATES),
    )
    def get(self, request: Request) -> Response:
        """All silences, the newest first."""
        given = chosen(request, _STATES)
        now, rows = timezone.now(), Silence.objects.all()
        if "state" in given:
            rows = getattr(rows, given["state"])(now)
        return page(seen_at(rows, now), request, self, SilenceSerializer)

    @extend_schema(
        operation_id="silences_create",
        request=SilenceInputSerializer,
        responses={201: SilenceSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """For some time nobody is told of incidents that match; what is still true at its end is told then.

        `{"matchers": "alertname=\\"helpfulness floor\\"", "seconds": 7200, "comment": "being repaired"}`
        """
        now, body = timezone.now(), body_of(SilenceInputSerializer, request)
        starts_at = max(body.get("starts_at", now), now)
        with _understood():
            silence = silences.make(
                body["matchers"],
                starts_at=starts_at,
                ends_at=end_of(body, starts_at),
                comment=body["comment"],
                created_by=caller(request),
                now=now,
            )
        wake_delivery()
        return Response(_said(silence), status=201)


class SilenceView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "PATCH": Scope.INCIDENTS_WRITE}

    @extend_schema(operation_id="silences_read", responses={200: SilenceSerializer} | READ_REFUSALS)
    def get(self, _request: Request, silence_id: UUID) -> Response:
        """One silence."""
        return Response(_said(_silence(silence_id)))

    @extend_schema(
        operation_id="silences_change",
        request=SilenceInputSerializer,
        responses={200: SilenceSerializer} | REFUSALS,
    )
    def patch(self, request: Request, silence_id: UUID) -> Response:
        """Change it. Other matchers end it and make a new one, whose id is in the answer."""
        now, body = timezone.now(), body_of(SilenceInputSerializer, request, partial=True)
        with _understood():
            former = _silence(silence_id)
            starts_at = body.get("starts_at", former.starts_at)
            silence = silences.change(
                silence_id,
                body.get("matchers") or silences.matchers_of(former),
                starts_at=starts_at,
                ends_at=end_of(body, max(starts_at, now), former.ends_at),
                comment=body.get("comment", former.comment),
                created_by=caller(request),
                now=now,
            )
        wake_delivery()
        return Response(_said(silence))


class SilenceEndView(APIView):
    required_scopes: ClassVar = {"POST": Scope.INCIDENTS_WRITE}

    @extend_schema(
        operation_id="silences_end", request=None, responses={200: SilenceSerializer} | READ_REFUSALS
    )
    def post(self, request: Request, silence_id: UUID) -> Response:
        """End it now. What is still true is told; one that has ended already stays as it is."""
        with _understood():
            try:
                silence = silences.end(silence_id, by=caller(request), now=timezone.now())
            except silences.SilenceOver:
                silence = _silence(silence_id)
        wake_delivery()
        return Response(_said(silence))


class IncidentSilenceView(APIView):
    required_scopes: ClassVar = {"POST": Scope.INCIDENTS_WRITE}

    @extend_schema(
        operation_id="incidents_silence",
        request=IncidentSilenceInputSerializer,
        responses={201: SilenceSerializer} | REFUSALS,
    )
    def post(self, request: Request, incident_id: UUID) -> Response:
        """Silence this incident and no other: what is opened later is told, with the same labels too. Not one that is over."""
        now, body = timezone.now(), body_of(IncidentSilenceInputSerializer, request)
        incident = Incident.objects.select_related("monitor").filter(pk=incident_id).first()
        if incident is None:
            raise NotFound("There is no incident with this id.")
        with _understood():
            silence = silences.make(
                silences.exactly(incident),
                starts_at=now,
                ends_at=end_of(body, now),
                comment=body["comment"],
                created_by=caller(request),
                now=now,
            )
        wake_delivery()
        return Response(_said(silence), status=201)


def caller(request: Request) -> str:
    name = ApiKey.objects.values_list("name", flat=True).get(pk=grant_in(request).key_id)
    return f"API key “{name}”"


def _said(silence: Silence) -> Any:
    return SilenceSerializer(shown_at(silence, timezone.now())).data


def _silence(silence_id: UUID) -> Silence:
    found = Silence.objects.filter(pk=silence_id).first()
    if found is None:
        raise NotFound("There is no silence with this id.")
    return found


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except silences.IncidentOver as error:
        raise Conflict(
            error.detail, fix="Silence the labels of what may come: POST /api/v1/silences."
        ) from None
    except silences.InvalidSilence as error:
        raise InvalidInput(
            error.detail, field=error.field, fix="Correct this value; see /api/docs."
        ) from None
    except Silence.DoesNotExist:
        raise NotFound("There is no silence with this id.") from None
