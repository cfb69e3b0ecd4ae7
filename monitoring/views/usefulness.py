"""How useful alerts were, and the numbers of each month."""

from typing import ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from monitoring.reading import numbers, usefulness
from monitoring.serializers.usefulness import NumbersSerializer, UsefulnessSerializer
from monitoring.views.opened import chosen
from triageops.rest import InvalidInput


class UsefulnessView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(operation_id="usefulness_read", responses=UsefulnessSerializer)
    def get(self, request: Request) -> Response:
        """What responders judged in 90 days: the precision of every monitor and channel, and what could be done."""
        chosen(request, {}, is_paged=False)
        return Response(UsefulnessSerializer(usefulness.read(timezone.now())).data)


class NumbersView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(
        operation_id="incidents_numbers",
        responses={200: NumbersSerializer, 400: ProblemSerializer},
        parameters=[
            OpenApiParameter("months", int, description="How many, this one included; 12 by default.")
        ],
    )
    def get(self, request: Request) -> Response:
        """Incidents and alerts month by month, the newest first; this month so far."""
        given = chosen(request, {"months": None}, is_paged=False)
        months = _months(given.get("months", str(numbers.MONTHS)))
        return Response(NumbersSerializer({"results": numbers.read(timezone.now(), months)}).data)


def _months(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if not 1 <= number <= numbers.MOST_MONTHS:
        raise InvalidInput(
            "It is no number of months that can be read.",
            field="months",
            fix=f"Give a whole number from 1 to {numbers.MOST_MONTHS}.",
        )
    return number
