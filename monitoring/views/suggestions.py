"""Monitors that could be made of what came in."""

from typing import ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring import choosing, suggestions
from monitoring.serializers.suggestions import (
    ChosenSerializer,
    MadeSerializer,
    SuggestionsSerializer,
)
from monitoring.views.opened import REFUSALS, body_of, chosen


class SuggestionsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.MONITORS_WRITE}

    @extend_schema(operation_id="suggestions_list", responses=SuggestionsSerializer)
    def get(self, request: Request) -> Response:
        """What is not watched yet, the most telling first."""
        chosen(request, {}, is_paged=False)
        return Response(SuggestionsSerializer({"results": suggestions.propose(timezone.now())}).data)

    @extend_schema(
        operation_id="suggestions_take",
        request=ChosenSerializer,
        responses={201: MadeSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Make these monitors; each learns and is tried out by a backtest, and is activated by whoever has read it."""
        keys = body_of(ChosenSerializer, request)["keys"]
        made = choosing.choose(keys, by=None, now=timezone.now())
        return Response(MadeSerializer({"results": made}).data, status=201)
