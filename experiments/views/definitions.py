"""Experiments as they are defined: listed, read, made, edited, copied, exported, imported."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments import drafts
from experiments.models import Experiment, State
from experiments.serializers import (
    CloneSerializer,
    DefinitionSerializer,
    ExperimentDetailSerializer,
    ExperimentSerializer,
    ExportSerializer,
    checked_object,
)
from experiments.views.opened import as_seen, caller, checked, found
from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from triageops.rest import InvalidInput, check_query

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The version that the change is meant for, as in ETag.",
)
REFUSALS: dict[int, Any] = {400: ProblemSerializer, 404: ProblemSerializer, 409: ProblemSerializer}

_QUERY = frozenset({"state", "cursor", "page_size"})
_EXPORT_FIELDS = ("format", "key", "definition")


def described(experiment: Experiment, status: int = 200) -> Response:
    """The whole experiment as it is stored now, with its version as ETag."""
    rows = Experiment.objects.select_related("owner", "layer").prefetch_related("variants", "metrics", "ramp")
    fresh = rows.get(pk=experiment.pk)
    response = Response(ExperimentDetailSerializer(fresh).data, status=status)
    response["ETag"] = f'"{fresh.version}"'
    return response


def _text(body: dict[str, Any], name: str) -> str:
    value = body.pop(name, "")
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is not text.", field=name, fix="Send text.")
    return value


class ExperimentsView(ListAPIView[Experiment]):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ, "POST": Scope.EXPERIMENTS_WRITE}
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

    @extend_schema(
        operation_id="experiments_create",
        request=DefinitionSerializer,
        responses={201: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A draft. Only `key` and `name` are needed; the rest can be said later."""
        body = dict(checked_object(request.data))
        key = _text(body, "key")
        made = drafts.create(key, body, by=caller(request), now=timezone.now())
        return described(made, 201)

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


class ExperimentView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ, "PATCH": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_read", responses={200: ExperimentDetailSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """One experiment with its variants, in the order of their buckets."""
        return described(found(key))

    @extend_schema(
        operation_id="experiments_edit",
        request=DefinitionSerializer,
        parameters=[IF_MATCH],
        responses={200: ExperimentDetailSerializer} | REFUSALS,
    )
    def patch(self, request: Request, key: str) -> Response:
        """Change a draft, or after the start what is no promise: the name, the hypothesis, the planned end.

        `variants`, `metrics` and `ramp` replace what was there. Needs `version`, or If-Match.
        """
        body = dict(checked_object(request.data))
        experiment = as_seen(key, request, body, is_needed=True)
        body.pop("version", None)
        reason = _text(body, "reason")
        drafts.edit(experiment, body, by=caller(request), now=timezone.now(), reason=reason)
        return described(experiment)


class CloneView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_clone",
        request=CloneSerializer,
        responses={201: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """A draft with the same definition under another key, and a salt of its own."""
        wanted = checked(CloneSerializer, request)["key"]
        return described(drafts.clone(found(key), wanted, by=caller(request), now=timezone.now()), 201)


class ExportView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_export", responses={200: ExportSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """The definition as a document that `import` takes, here or in another installation."""
        return Response(drafts.exported(found(key)))


class ImportView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_import",
        request=ExportSerializer,
        responses={201: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """A draft of an exported document, under its `key`."""
        document = checked_object(request.data)
        for name in document:
            if name not in _EXPORT_FIELDS:
                raise InvalidInput(
                    f"The field {name!r} is not known.",
                    field=name,
                    fix=f"Leave it out; known: {', '.join(_EXPORT_FIELDS)}.",
                )
        return described(drafts.imported(document, by=caller(request), now=timezone.now()), 201)
