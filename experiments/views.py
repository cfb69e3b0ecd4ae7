from typing import ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments import allocation
from experiments.allocation import UnknownExperiment
from experiments.definition import is_key
from experiments.models import Experiment, State
from experiments.serializers import (
    AssignRequestSerializer,
    DecisionSerializer,
    ExperimentDetailSerializer,
    ExperimentSerializer,
)
from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from triageops.rest import InvalidInput, check_query

_QUERY = frozenset({"state", "cursor", "page_size"})


class ExperimentsView(ListAPIView[Experiment]):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}
    serializer_class = ExperimentSerializer
    queryset = Experiment.objects.all()

    @extend_schema(
        operation_id="experiments_list",
        parameters=[
            OpenApiParameter("state", str, enum=State.values, description="Only experiments in this state.")
        ],
    )
    def get(self, request: Request) -> Response:
        """Experiments, the last created first."""
        return self.list(request)

    def get_queryset(self) -> QuerySet[Experiment]:
        check_query(self.request.query_params, _QUERY)
        experiments = super().get_queryset()
        state = self.request.GET.get("state")
        if state is None:
            return experiments
        if state not in State.values:
            raise InvalidInput(
                f"There is no state {state!r}.", field="state", fix=f"Use one of: {', '.join(State.values)}."
            )
        return experiments.filter(state=state)


class ExperimentView(RetrieveAPIView[Experiment]):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}
    serializer_class = ExperimentDetailSerializer
    queryset = Experiment.objects.prefetch_related("variants")
    lookup_field = "key"

    @extend_schema(
        operation_id="experiments_read", responses={200: ExperimentDetailSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """One experiment with its variants, in the order of their buckets."""
        return self.retrieve(request)

    def get_object(self) -> Experiment:
        key = self.kwargs["key"]
        experiment = self.get_queryset().filter(key=key).first() if is_key(key) else None
        if experiment is None:
            raise UnknownExperiment(key)
        return experiment


class AssignView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_ASSIGN}

    @extend_schema(
        operation_id="experiments_assign",
        request=AssignRequestSerializer,
        responses={200: DecisionSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    def post(self, request: Request, key: str) -> Response:
        """The variant of one unit. The first call stores it; every later call gives the same answer."""
        serializer = AssignRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        decision = allocation.assign(key, serializer.validated_data["unit"], now=timezone.now())
        return Response(DecisionSerializer(decision).data)
