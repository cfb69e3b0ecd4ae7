"""Channels: listed, read, made, changed, tested, and given a new secret."""

from typing import ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring import channel_settings
from monitoring.channels import registry
from monitoring.models import Channel
from monitoring.models.channel import ChannelQuerySet
from monitoring.notifying.messages import enqueue_test
from monitoring.serializers.channels import (
    ChannelInputSerializer,
    ChannelMadeSerializer,
    ChannelSerializer,
    SecretSerializer,
    TestSentSerializer,
)
from monitoring.tasks import wake_delivery
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, page, parameters_of
from triageops.rest import InvalidInput, NotFound

_FILTERS: dict[str, list[str] | None] = {
    "kind": [name for name, _ in registry.choices()],
    "is_enabled": ["true", "false"],
}


def found(channel_id: int) -> Channel:
    channel = _rows().filter(pk=channel_id).first()
    if channel is None:
        raise no_channel()
    return channel


def _rows() -> ChannelQuerySet:
    """Those that tell somebody: the product's own one is nobody's to change."""
    rows: ChannelQuerySet = Channel.objects.of_people().select_related("template", "health")
    return rows


def no_channel() -> NotFound:
    return NotFound("There is no channel with this id.")


class ChannelsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.ROUTING_READ, "POST": Scope.ROUTING_WRITE}

    @extend_schema(
        operation_id="channels_list",
        responses=ChannelSerializer(many=True),
        parameters=parameters_of(_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All channels with the health of their receivers, the newest first."""
        given = chosen(request, _FILTERS)
        rows = _rows()
        if "kind" in given:
            rows = rows.filter(kind=given["kind"])
        if "is_enabled" in given:
            rows = rows.filter(is_enabled=given["is_enabled"] == "true")
        return page(rows, request, self, ChannelSerializer)

    @extend_schema(
        operation_id="channels_create",
        request=ChannelInputSerializer,
        responses={201: ChannelMadeSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A channel; a webhook's secret is shown in this answer only. Test it, then name it in a monitor or a route."""
        made = channel_settings.create(body_of(ChannelInputSerializer, request))
        answer = ChannelMadeSerializer(found(made.pk)).data
        if not channel_settings.is_signed(made.kind):
            answer["secret"] = ""
        return Response(answer, status=201)


class ChannelView(APIView):
    required_scopes: ClassVar = {"GET": Scope.ROUTING_READ, "PATCH": Scope.ROUTING_WRITE}

    @extend_schema(operation_id="channels_read", responses={200: ChannelSerializer} | READ_REFUSALS)
    def get(self, _request: Request, channel_id: int) -> Response:
        """One channel."""
        return Response(ChannelSerializer(found(channel_id)).data)

    @extend_schema(
        operation_id="channels_change",
        request=ChannelInputSerializer,
        responses={200: ChannelSerializer} | REFUSALS,
    )
    def patch(self, request: Request, channel_id: int) -> Response:
        """Change what is said; its kind stays. What was read cannot be sent back: addresses are masked there."""
        values = body_of(ChannelInputSerializer, request, partial=True)
        if "…" in values.get("url", ""):
            raise InvalidInput(
                "This URL is masked.", field="url", fix="Send the whole address, or leave it out."
            )
        found(channel_id)
        try:
            channel_settings.edit(channel_id, values)
        except Channel.DoesNotExist:
            raise no_channel() from None
        wake_delivery()
        return Response(ChannelSerializer(found(channel_id)).data)


class _MoveView(APIView):
    required_scopes: ClassVar = {"POST": Scope.ROUTING_WRITE}


def _switched(channel_id: int, *, is_enabled: bool) -> Response:
    found(channel_id)
    try:
        channel_settings.set_enabled(channel_id, is_enabled=is_enabled)
    except Channel.DoesNotExist:
        raise no_channel() from None
    wake_delivery()
    return Response(ChannelSerializer(found(channel_id)).data)


class EnableView(_MoveView):
    @extend_schema(
        operation_id="channels_enable", request=None, responses={200: ChannelSerializer} | REFUSALS
    )
    def post(self, _request: Request, channel_id: int) -> Response:
        """Send there again, what waits included."""
        return _switched(channel_id, is_enabled=True)


class DisableView(_MoveView):
    @extend_schema(
        operation_id="channels_disable", request=None, responses={200: ChannelSerializer} | REFUSALS
    )
    def post(self, _request: Request, channel_id: int) -> Response:
        """Messages wait for up to 24 hours, then are given up."""
        return _switched(channel_id, is_enabled=False)


class TestView(_MoveView):
    __test__ = False

    @extend_schema(operation_id="channels_test", request=None, responses={202: TestSentSerializer} | REFUSALS)
    def post(self, _request: Request, channel_id: int) -> Response:
        """A message that says of itself that it is a test; the delivery says what the receiver answered."""
        message = enqueue_test(found(channel_id), now=timezone.now())
        wake_delivery()
        return Response({"delivery": str(message.pk)}, status=202)


class RotateSecretView(_MoveView):
    @extend_schema(
        operation_id="channels_rotate_secret", request=None, responses={200: SecretSerializer} | REFUSALS
    )
    def post(self, _request: Request, channel_id: int) -> Response:
        """A new secret, shown in this answer only. The old one signs beside it for 24 hours."""
        channel = found(channel_id)
        secret = channel_settings.rotate_secret(channel, timezone.now())
        said = {"secret": secret, "previous_secret_until": channel.previous_secret_until}
        return Response(SecretSerializer(said).data)
