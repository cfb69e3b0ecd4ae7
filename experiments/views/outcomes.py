"""REST for what an experiment found: all numbers of its page, every look, what a plan needs."""

import csv
import io
import math
from typing import Any, ClassVar

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments import planning
from experiments.models import ExperimentMetric, Role
from experiments.results import lines, results
from experiments.views.opened import found
from experiments.views.outcome_shapes import LookSerializer, PlanSerializer, ResultsSerializer
from feedback.models import Scope
from feedback.schema import page_of
from feedback.serializers import ProblemSerializer
from triageops.rest import CursorPagination, InvalidInput, check_query

_NOTHING: frozenset[str] = frozenset()


class ResultsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_results", responses={200: ResultsSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """Every number of the experiment's page: the last look with its decision, health, segments, the looks before."""
        check_query(request.query_params, _NOTHING)
        return Response(results(found(key), timezone.now()))


class ResultsCsvView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_results_csv",
        responses={(200, "text/csv"): OpenApiTypes.STR, 404: ProblemSerializer},
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """The estimates of the last look, a line for each metric and variant."""
        check_query(request.query_params, _NOTHING)
        text = io.StringIO()
        csv.writer(text).writerows(lines(results(found(key), timezone.now())))
        return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")


class LooksView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(operation_id="experiments_looks", responses=page_of(LookSerializer))
    def get(self, request: Request, key: str) -> Response:
        """Every look with its estimates, the last first; looks are never changed."""
        check_query(request.query_params, frozenset({"cursor", "page_size"}))
        pagination = CursorPagination()
        rows = found(key).looks.order_by("-id").prefetch_related("estimates")
        page = pagination.paginate_queryset(rows, request, self)
        return pagination.get_paginated_response(LookSerializer(page, many=True).data)


class PowerView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_power",
        parameters=[
            OpenApiParameter("metric", str, description="Key of a metric; the primary one without."),
            OpenApiParameter("effect", float, description="Smallest difference that is worth finding."),
            OpenApiParameter("power", float, description="Chance to find it, 0.5 to 0.99; 0.8 without."),
        ],
        responses={
            200: PlanSerializer,
            404: ProblemSerializer,
            409: OpenApiResponse(ProblemSerializer, description="Too few units in the last 30 days."),
        },
    )
    def get(self, request: Request, key: str) -> Response:
        """Units and days that three designs need, from how units behaved in the last 30 days."""
        check_query(request.query_params, frozenset({"metric", "effect", "power"}))
        experiment = found(key)
        metric = _metric(list(experiment.metrics.all()), request.query_params.get("metric", ""))
        power = _number(request, "power", 0.8)
        if power is None or not 0.5 <= power <= 0.99:
            raise InvalidInput("The power is out of range.", field="power", fix="Send 0.5 to 0.99.")
        effect = _number(request, "effect", experiment.minimum_effect)
        needed = planning.plan(experiment, metric, effect=effect, power=power, now=timezone.now())
        return Response(PlanSerializer(needed).data)


def _metric(metrics: list[ExperimentMetric], key: str) -> ExperimentMetric:
    wanted = [one for one in metrics if (one.key == key if key else one.role == Role.PRIMARY)]
    if not wanted:
        raise InvalidInput(
            f"There is no metric {key!r}." if key else "The experiment has no primary metric.",
            field="metric",
            fix=f"Use one of: {', '.join(one.key for one in metrics)}." if metrics else "Add a metric.",
        )
    return wanted[0]


def _number(request: Request, name: str, default: float | None) -> float | None:
    text: Any = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInput(f"{name}={text!r} is no number.", field=name, fix="Send a number.")
    return value
