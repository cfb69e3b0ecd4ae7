"""Routes: listed, read, made, changed, taken away; who would be told; and an Alertmanager configuration taken over."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.labels import labels_of
from monitoring.models import Incident, Route
from monitoring.notifying import route_settings
from monitoring.notifying.route_import import apply_import, plan_import
from monitoring.notifying.route_preview import preview
from monitoring.serializers.routes import (
    ImportedSerializer,
    ImportInputSerializer,
    RouteInputSerializer,
    RoutePreviewInputSerializer,
    RoutePreviewSerializer,
    RouteSerializer,
)
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, page
from triageops.rest import CursorPagination, InvalidInput, NotFound

_READ_AND_WRITE = {"GET": Scope.ROUTING_READ, "POST": Scope.ROUTING_WRITE}
_BELOW = OpenApiParameter("below", str, enum=["true", "false"], description="Take away all below it too.")


class _Oldest(CursorPagination):
    ordering: Any = "id"


class RoutesView(APIView):
    required_scopes: ClassVar = _READ_AND_WRITE

    @extend_schema(operation_id="routes_list", responses=RouteSerializer(many=True))
    def get(self, request: Request) -> Response:
        """All routes; `parent` and `position` make the tree of them."""
        chosen(request, {})
        return page(_rows(), request, self, RouteSerializer, _Oldest)

    @extend_schema(
        operation_id="routes_create",
        request=RouteInputSerializer,
        responses={201: RouteSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A route, in force at once. The first one takes everything."""
        values = body_of(RouteInputSerializer, request)
        if "version" in values:
            raise InvalidInput("A new route has no version yet.", field="version", fix="Leave it out.")
        made = route_settings.create(values)
        return Response(RouteSerializer(_rows().get(pk=made.pk)).data, status=201)


class RouteView(APIView):
    required_scopes: ClassVar = {
        "GET": Scope.ROUTING_READ,
        "PATCH": Scope.ROUTING_WRITE,
        "DELETE": Scope.ROUTING_WRITE,
    }

    @extend_schema(operation_id="routes_read", responses={200: RouteSerializer} | READ_REFUSALS)
    def get(self, _request: Request, route_id: int) -> Response:
        """One route."""
        return Response(RouteSerializer(_found(route_id)).data)

    @extend_schema(
        operation_id="routes_change",
        request=RouteInputSerializer,
        responses={200: RouteSerializer} | REFUSALS,
    )
    def patch(self, request: Request, route_id: int) -> Response:
        """Change what is said; `parent` and `position` move it. What was told already is not told anew.

        With `version`, as it was read, nothing is changed when somebody else did so meanwhile.
        """
        values = body_of(RouteInputSerializer, request, partial=True)
        version = values.pop("version", None)
        try:
            route_settings.edit(route_id, values, version=version)
        except Route.DoesNotExist:
            raise _no_route() from None
        return Response(RouteSerializer(_found(route_id)).data)

    @extend_schema(
        operation_id="routes_remove", parameters=[_BELOW], request=None, responses={204: None} | REFUSALS
    )
    def delete(self, request: Request, route_id: int) -> Response:
        """Take it away; what waits to be sent by it is sent as if it were there."""
        given = chosen(request, {"below": ["true", "false"]}, is_paged=False)
        try:
            route_settings.remove(route_id, with_below=given.get("below") == "true")
        except Route.DoesNotExist:
            raise _no_route() from None
        return Response(status=204)


class RoutesPreviewView(APIView):
    required_scopes: ClassVar = {"POST": Scope.ROUTING_READ}

    @extend_schema(
        operation_id="routes_preview",
        request=RoutePreviewInputSerializer,
        responses={200: RoutePreviewSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Who would be told of this, when and why, and which routes refused it. Nothing is sent."""
        body = body_of(RoutePreviewInputSerializer, request)
        at = body.get("at") or timezone.now()
        incident = None
        if "incident" in body:
            incident = Incident.objects.select_related("monitor").filter(pk=body["incident"]).first()
            if incident is None:
                raise NotFound("There is no incident with this id.")
        labels = labels_of(incident) if incident else body["labels"]
        return Response(RoutePreviewSerializer(preview(labels, at, incident)).data)


class RoutesImportView(APIView):
    required_scopes: ClassVar = {"POST": Scope.ROUTING_WRITE}

    @extend_schema(
        operation_id="routes_import",
        request=ImportInputSerializer,
        responses={200: ImportedSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Take over an Alertmanager configuration's routes, receivers, intervals and inhibitions, by name.

        A dry run says what would be made. Channels without their secret are made disabled.
        """
        body = body_of(ImportInputSerializer, request)
        done = apply_import(plan_import(body["yaml"]), is_dry_run=body["dry_run"])
        return Response(ImportedSerializer(done).data)


def _rows() -> Any:
    return Route.objects.select_related("hours").prefetch_related("channels", "steps__channels")


def _found(route_id: int) -> Route:
    route: Route | None = _rows().filter(pk=route_id).first()
    if route is None:
        raise _no_route()
    return route


def _no_route() -> NotFound:
    return NotFound("There is no route with this id.")
