"""Calls of other systems: alerts that come in, and what a pager tells back."""

import secrets
from dataclasses import asdict
from typing import Any, ClassVar

import structlog
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from monitoring.channels import pagerduty_events
from monitoring.models import Channel, Source
from monitoring.reports import inbound
from monitoring.reports.reported import Taken, take_alerts
from monitoring.serializers.reported import (
    AlertmanagerPayloadSerializer,
    HeardSerializer,
    PagerDutyEventSerializer,
    ProblemWithMistakesSerializer,
    TakenSerializer,
)
from monitoring.tasks import wake_delivery
from monitoring.views.senders import actor_of, json_body, raw_body
from triageops.rest import InvalidInput, Problem

log = structlog.get_logger(__name__)

ALERTS_BYTES_MAX = 1024 * 1024
ALERTS_MAX = 2_000
PAGERDUTY_BYTES_MAX = 64 * 1024
_MISTAKES_SHOWN = 20


class BadSignature(Problem):
    """Nobody who knows the secret of this channel sent this body."""

    type = "bad-signature"
    title = "The signature does not fit"
    status = 401


class AlertmanagerHookView(APIView):
    required_scopes: ClassVar = {"POST": Scope.INCIDENTS_WRITE}

    @extend_schema(
        operation_id="hooks_alertmanager",
        request=AlertmanagerPayloadSerializer,
        responses={200: TakenSerializer, 400: ProblemWithMistakesSerializer, 413: ProblemSerializer},
    )
    def post(self, request: Request) -> Response:
        """Alertmanager's own webhook: each set of labels that fires is an incident, until it is resolved there.

        Alerts that are wrong are listed, the others are taken; 400 when none could be, so that it is not sent for ever.
        """
        now = timezone.now()
        payload = json_body(request, ALERTS_BYTES_MAX)
        alerts = _alerts_in(payload)
        taken = take_alerts(alerts, source=Source.ALERTMANAGER, actor=actor_of(request), now=now)
        truncated = payload.get("truncatedAlerts")
        if isinstance(truncated, int) and truncated > 0:
            log.warning("report.truncated", missing=truncated)
        wake_delivery()
        if taken.mistakes and not taken.taken_count:
            raise nothing_taken(taken)
        return Response(TakenSerializer(taken).data)


class PagerDutyHookView(APIView):
    """Signed instead of opened with a key."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="hooks_pagerduty",
        auth=[],
        request=PagerDutyEventSerializer,
        parameters=[OpenApiParameter("X-PagerDuty-Signature", str, OpenApiParameter.HEADER, required=True)],
        responses={
            202: HeardSerializer,
            400: ProblemSerializer,
            401: ProblemSerializer,
            413: ProblemSerializer,
        },
    )
    def post(self, request: Request, channel_id: int) -> Response:
        """PagerDuty's webhook v3: acknowledged and resolved there is acknowledged and resolved here.

        The channel's inbound secret is that of the webhook subscription.
        """
        body = raw_body(request, PAGERDUTY_BYTES_MAX)
        channel = Channel.objects.filter(pk=channel_id, kind="pagerduty").exclude(inbound_secret="").first()
        # Nobody shall hear from the time an answer takes whether there is such a channel.
        secret = channel.inbound_secret if channel else secrets.token_hex(32)
        signature = request.META.get("HTTP_X_PAGERDUTY_SIGNATURE", "")
        if not pagerduty_events.is_signed(signature, body, [secret]) or channel is None:
            raise BadSignature(
                "The body is not signed with this channel's inbound secret.",
                fix="Set the inbound secret of the channel to that of PagerDuty's webhook subscription.",
            )
        try:
            event = pagerduty_events.read(body)
        except pagerduty_events.UnreadableEvent as error:
            raise InvalidInput(str(error), fix="Send an event of PagerDuty's webhooks v3.") from None
        outcome = inbound.take_event(channel, event, timezone.now())
        wake_delivery()
        return Response({"outcome": outcome}, status=202)


def nothing_taken(taken: Taken) -> InvalidInput:
    first = taken.mistakes[0]
    place = f"alerts[{first.index}]" + (f".{first.field}" if first.field else "")
    return InvalidInput(
        f"None of the {len(taken.mistakes)} alerts could be taken. The first: {first.detail}",
        field=place,
        fix="Correct the alerts; `mistakes` lists what is wrong.",
        mistakes=[asdict(one) for one in taken.mistakes[:_MISTAKES_SHOWN]],
    )


def _alerts_in(payload: Any) -> list[Any]:
    """Raises InvalidInput."""
    if not isinstance(payload, dict):
        raise InvalidInput("The body is not a JSON object.", fix="Send what Alertmanager's webhook sends.")
    if payload.get("version") != "4":
        raise InvalidInput(
            "The payload is not of version 4.", field="version", fix="Use Alertmanager's webhook_configs."
        )
    alerts = payload.get("alerts")
    if not isinstance(alerts, list):
        raise InvalidInput("There is no list of alerts.", field="alerts", fix="Send one, however long.")
    if len(alerts) > ALERTS_MAX:
        raise InvalidInput(
            f"There are {len(alerts)} alerts; the most is {ALERTS_MAX}.",
            field="alerts",
            fix="Set max_alerts of the webhook, or group by more labels.",
        )
    return alerts
