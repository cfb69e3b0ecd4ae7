"""Maintenance windows: listed, made, changed, removed."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.models import MaintenanceWindow
from monitoring.quiet import window_rows
from monitoring.serializers.silences import (
    MaintenanceWindowInputSerializer,
    MaintenanceWindowSerializer,
    seen_at,
    shown_at,
)
from monitoring.tasks import wake_delivery
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, page
from monitoring.views.silences import caller
from triageops.rest import Conflict, InvalidInput, NotFound


class WindowsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.INCIDENTS_WRITE}

    @extend_schema(operation_id="maintenance_windows_list", responses=MaintenanceWindowSerializer(many=True))
    def get(self, request: Request) -> Response:
        """All maintenance windows, the newest first."""
        chosen(request, {})
        return page(
            seen_at(MaintenanceWindow.objects.all(), timezone.now()),
            request,
            self,
            MaintenanceWindowSerializer,
        )

    @extend_schema(
        operation_id="maintenance_windows_create",
        request=MaintenanceWindowInputSerializer,
        responses={201: MaintenanceWindowSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A planned time of silence, once or again and again.

        `{"name": "restart", "repeats": "weekly", "weekdays": "sat", "start": "22:00", "duration_seconds": 14400,
        "zone": "Europe/Berlin"}`
        """
        window = MaintenanceWindow(created_by=caller(request), starts_at=timezone.now())
        return Response(_told(_saved(window, body_of(MaintenanceWindowInputSerializer, request))), status=201)


class WindowView(APIView):
    required_scopes: ClassVar = {
        "GET": Scope.INCIDENTS_READ,
        "PATCH": Scope.INCIDENTS_WRITE,
        "DELETE": Scope.INCIDENTS_WRITE,
    }

    @extend_schema(
        operation_id="maintenance_windows_read", responses={200: MaintenanceWindowSerializer} | READ_REFUSALS
    )
    def get(self, _request: Request, window_id: int) -> Response:
        """One maintenance window."""
        return Response(_told(_window(window_id)))

    @extend_schema(
        operation_id="maintenance_windows_change",
        request=MaintenanceWindowInputSerializer,
        responses={200: MaintenanceWindowSerializer} | REFUSALS,
    )
    def patch(self, request: Request, window_id: int) -> Response:
        """Change what is sent."""
        body = body_of(MaintenanceWindowInputSerializer, request, partial=True)
        return Response(_told(_saved(_window(window_id), body)))

    @extend_schema(operation_id="maintenance_windows_delete", responses={204: None} | READ_REFUSALS)
    def delete(self, _request: Request, window_id: int) -> Response:
        """Forget it. What it holds back, and is still true, is told."""
        window_rows.remove(_window(window_id), now=timezone.now())
        wake_delivery()
        return Response(status=204)


def _told(window: MaintenanceWindow) -> Any:
    return MaintenanceWindowSerializer(shown_at(window, timezone.now())).data


def _window(window_id: int) -> MaintenanceWindow:
    found = MaintenanceWindow.objects.filter(pk=window_id).first()
    if found is None:
        raise NotFound("There is no maintenance window with this id.")
    return found


def _saved(window: MaintenanceWindow, body: dict[str, Any]) -> MaintenanceWindow:
    for name, value in body.items():
        setattr(window, name, [one.as_api() for one in value] if name == "matchers" else value)
    try:
        saved = window_rows.save(window, now=timezone.now())
    except ValidationError as error:
        name, details = next(iter(error.message_dict.items()))
        raise InvalidInput(details[0], field=name, fix="Correct this value; see /api/docs.") from None
    except window_rows.NameTaken:
        raise Conflict("Another maintenance window has this name.", field="name") from None
    wake_delivery()
    return saved
