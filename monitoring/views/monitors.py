"""Monitors: listed, read, made, changed, and what they are told to do."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments.serializers import checked_object
from feedback.models import Scope
from monitoring import definitions, transitions
from monitoring.definitions import SETTABLE
from monitoring.models import Monitor, MonitorState
from monitoring.serializers import (
    AcceptedSerializer,
    AcceptSerializer,
    ActivateSerializer,
    MonitorChangeSerializer,
    MonitorInputSerializer,
    MonitorSerializer,
    MonitorWithSlicesSerializer,
    ReasonSerializer,
)
from monitoring.tasks import wake_delivery
from monitoring.views.opened import (
    READ_REFUSALS,
    REFUSALS,
    body_of,
    chosen,
    found,
    no_monitor,
    page,
    parameters_of,
    signed,
)
from triageops.rest import InvalidInput

_FILTERS: dict[str, list[str] | None] = {"state": MonitorState.values, "metric": None}
_FIXED = ("id", "state")
"""Of what is read and cannot be set, what must be as it is; the rest changes by itself, and is left out."""

_IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag of what the change is meant for."
)


def described(monitor_id: int, status: int = 200) -> Response:
    """The whole monitor as it is stored now, with its version as ETag."""
    rows = Monitor.objects.select_related("reference").prefetch_related("channels", "slices")
    fresh = rows.get(pk=monitor_id)
    response = Response(MonitorWithSlicesSerializer(fresh).data, status=status)
    response["ETag"] = f'"{definitions.version_of(fresh)}"'
    return response


class MonitorsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.MONITORS_WRITE}

    @extend_schema(
        operation_id="monitors_list",
        responses=MonitorSerializer(many=True),
        parameters=parameters_of(_FILTERS),
    )
    def get(self, request: Request) -> Response:
        """All monitors with their last and next check, the newest first."""
        rows = Monitor.objects.filter(**chosen(request, _FILTERS))
        return page(
            rows.select_related("reference").prefetch_related("channels"), request, self, MonitorSerializer
        )

    @extend_schema(
        operation_id="monitors_create",
        request=MonitorInputSerializer,
        responses={201: MonitorWithSlicesSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A monitor that watches nothing yet: try it out with a backtest, then activate it."""
        made = definitions.create(body_of(MonitorInputSerializer, request), now=timezone.now())
        return described(made.pk, 201)


class MonitorView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "PATCH": Scope.MONITORS_WRITE}

    @extend_schema(operation_id="monitors_read", responses={200: MonitorWithSlicesSerializer} | READ_REFUSALS)
    def get(self, _request: Request, monitor_id: int) -> Response:
        """One monitor with its slices and their evidence."""
        return described(found(monitor_id).pk)

    @extend_schema(
        operation_id="monitors_change",
        request=MonitorChangeSerializer,
        parameters=[_IF_MATCH],
        responses={200: MonitorWithSlicesSerializer} | REFUSALS,
    )
    def patch(self, request: Request, monitor_id: int) -> Response:
        """Change what is said; what is as it is already does nothing, so what was read may be sent back.

        When a monitor that is watching would ask something else, `reason` is needed; open incidents are over then, and
        the evidence begins anew.
        """
        monitor = found(monitor_id)
        given = MonitorChangeSerializer(data=settable(request.data, monitor), partial=True)
        given.is_valid(raise_exception=True)
        values = dict(given.validated_data)
        reason = values.pop("reason", "")
        try:
            definitions.edit(
                monitor.pk,
                values,
                by=None,
                reason=signed(reason, request) if reason.strip() else "",
                seen=_seen(request),
                now=timezone.now(),
            )
        except Monitor.DoesNotExist:
            raise no_monitor() from None
        wake_delivery()
        return described(monitor.pk)


def settable(data: Any, monitor: Monitor) -> Mapping[str, Any]:
    """Without what was read and cannot be set. Raises InvalidInput."""
    body = dict(checked_object(data))
    read = set(MonitorWithSlicesSerializer.Meta.fields) - set(SETTABLE)
    for name in _FIXED:
        if name in body and body[name] != getattr(monitor, name):
            raise InvalidInput(
                f"{name} cannot be set.",
                field=name,
                fix="Use activate or pause." if name == "state" else "Leave it out.",
            )
    return {name: value for name, value in body.items() if name not in read}


def _seen(request: Request) -> str | None:
    header = request.META.get("HTTP_IF_MATCH", "").strip()
    return header.removeprefix("W/").strip('"') if header and header != "*" else None


class _MoveView(APIView):
    required_scopes: ClassVar = {"POST": Scope.MONITORS_WRITE}


class ActivateView(_MoveView):
    @extend_schema(
        operation_id="monitors_activate",
        request=ActivateSerializer,
        responses={200: MonitorWithSlicesSerializer} | REFUSALS,
    )
    def post(self, request: Request, monitor_id: int) -> Response:
        """Watch from now on. Without a backtest of the present settings it needs a reason, in `without_backtest`.

        One that is watching already goes on as it does.
        """
        monitor = found(monitor_id)
        reason = body_of(ActivateSerializer, request)["without_backtest"]
        transitions.activate(
            monitor,
            without_backtest=signed(reason, request) if reason.strip() else "",
            by=None,
            now=timezone.now(),
        )
        return described(monitor.pk)


class PauseView(_MoveView):
    @extend_schema(
        operation_id="monitors_pause",
        request=None,
        responses={200: MonitorWithSlicesSerializer} | REFUSALS,
    )
    def post(self, _request: Request, monitor_id: int) -> Response:
        """Stop watching; what happens until it is activated again is never evidence. Open incidents stay open."""
        monitor = found(monitor_id)
        transitions.pause(monitor)
        return described(monitor.pk)


class LearnView(_MoveView):
    @extend_schema(
        operation_id="monitors_learn",
        request=ReasonSerializer,
        responses={200: MonitorWithSlicesSerializer} | REFUSALS,
    )
    def post(self, request: Request, monitor_id: int) -> Response:
        """Learn what is usual for what it asks now, unless it has; `…/references` shows what was learnt."""
        monitor = found(monitor_id)
        reason = signed(body_of(ReasonSerializer, request)["reason"], request)
        transitions.learn(monitor, by=None, reason=reason, now=timezone.now())
        return described(monitor.pk)


class AcceptView(_MoveView):
    @extend_schema(
        operation_id="monitors_accept_baseline",
        request=AcceptSerializer,
        responses={200: AcceptedSerializer} | REFUSALS,
    )
    def post(self, request: Request, monitor_id: int) -> Response:
        """What is shown now is usual from now on: a new version of the reference, and open incidents are over."""
        monitor = found(monitor_id)
        body = body_of(AcceptSerializer, request)
        body["reason"] = signed(body["reason"], request)
        count = transitions.accept(monitor, by=None, now=timezone.now(), **body)
        wake_delivery()
        monitor.refresh_from_db()
        version = None if monitor.reference is None else monitor.reference.version
        return Response({"reference_version": version, "resolved_count": count})
