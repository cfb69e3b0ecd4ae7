"""Deliveries: which message went where, with every attempt; dead ones are sent again."""

from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.models import MessageKind, MessageStatus, OutboxMessage
from monitoring.outgoing import outbox
from monitoring.serializers.deliveries import DeliveryDetailSerializer, DeliveryRowSerializer
from monitoring.tasks import wake_delivery
from monitoring.views.opened import READ_REFUSALS, REFUSALS, chosen, page, parameters_of
from triageops.rest import Conflict, InvalidInput, NotFound

_FILTERS: dict[str, list[str] | None] = {
    "status": MessageStatus.values,
    "channel": None,
    "incident": None,
    "kind": MessageKind.values,
}


class NotReplayable(Conflict):
    """The message is not dead, or sending it now would tell something that is not true any more."""

    type = "not-replayable"
    title = "The message cannot be sent again"


class DeliveriesView(APIView):
    required_scopes: ClassVar = {"GET": Scope.ROUTING_READ}

    @extend_schema(
        operation_id="deliveries_list",
        responses=DeliveryRowSerializer(many=True),
        parameters=parameters_of(_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All messages, the newest first. channel: the name of one; incident: the id of one."""
        given = chosen(request, _FILTERS)
        return page(_asked_for(given), request, self, DeliveryRowSerializer)


class DeliveryView(APIView):
    required_scopes: ClassVar = {"GET": Scope.ROUTING_READ}

    @extend_schema(operation_id="deliveries_read", responses={200: DeliveryDetailSerializer} | READ_REFUSALS)
    def get(self, _request: Request, delivery_id: UUID) -> Response:
        """One message with what it says, every attempt, and what the receiver answered."""
        return _described(delivery_id)


class ReplayView(APIView):
    required_scopes: ClassVar = {"POST": Scope.ROUTING_WRITE}

    @extend_schema(
        operation_id="deliveries_replay",
        request=None,
        responses={200: DeliveryDetailSerializer} | REFUSALS,
    )
    def post(self, _request: Request, delivery_id: UUID) -> Response:
        """Give a dead message, and what was dropped with it, a new life."""
        try:
            outbox.replay(delivery_id, now=timezone.now())
        except OutboxMessage.DoesNotExist:
            raise _no_delivery() from None
        except outbox.NotReplayable as error:
            raise NotReplayable(str(error), fix="Only dead messages can be sent again.") from None
        wake_delivery()
        return _described(delivery_id)


def _asked_for(given: dict[str, str]) -> QuerySet[OutboxMessage]:
    """Raises InvalidInput."""
    rows = OutboxMessage.objects.select_related("channel", "route")
    if "channel" in given:
        rows = rows.filter(channel__name=given["channel"])
    if "incident" in given:
        try:
            rows = rows.filter(incident=UUID(given["incident"]))
        except ValueError:
            raise InvalidInput(
                "incident is no id.", field="incident", fix="Send the id of an incident."
            ) from None
    return rows.filter(**{name: given[name] for name in ("status", "kind") if name in given})


def _described(delivery_id: UUID) -> Response:
    rows = OutboxMessage.objects.select_related("channel", "route").prefetch_related("attempts")
    message = rows.filter(pk=delivery_id).first()
    if message is None:
        raise _no_delivery()
    return Response(DeliveryDetailSerializer(message).data)


def _no_delivery() -> NotFound:
    return NotFound("There is no delivery with this id.")
