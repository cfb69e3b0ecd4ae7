"""What happened to an experiment: its epochs, and who changed what."""

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments.models import ExperimentEvent
from experiments.serializers import AuditSerializer, EpochsSerializer
from experiments.views.opened import found
from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from triageops.rest import check_query

_QUERY = frozenset({"cursor", "page_size"})


class EpochsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_epochs", responses={200: EpochsSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """How units were dealt from the start on: an epoch for each change of weights, coverage or configs."""
        rows = found(key).epochs.order_by("number").select_related("by")
        return Response(EpochsSerializer({"results": rows}).data)


class AuditView(ListAPIView[ExperimentEvent]):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}
    serializer_class = AuditSerializer
    queryset = ExperimentEvent.objects.select_related("by", "api_key")

    @extend_schema(operation_id="experiments_audit")
    def get(self, request: Request, key: str) -> Response:
        """Every change with the state before and after, the last first."""
        return self.list(request)

    def get_queryset(self) -> QuerySet[ExperimentEvent]:
        check_query(self.request.query_params, _QUERY)
        return super().get_queryset().filter(experiment=found(self.kwargs["key"]))
