"""What a monitor has learnt, what its checks saw, and how far now is from what is usual."""

from typing import Any, ClassVar

from django.db.models import BooleanField, Case, Prefetch, Value, When
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring.comparisons import compare
from monitoring.models import DriftEvaluation, MonitorSlice, Reference, ReferenceSlice
from monitoring.serializers import (
    ComparisonSerializer,
    EvaluationSerializer,
    MonitorSliceSerializer,
    ReferenceSerializer,
)
from monitoring.slices import ALL
from monitoring.views.opened import READ_REFUSALS, chosen, found, moment, page
from triageops.rest import CursorPagination, InvalidInput, NotFound

_SLICE = OpenApiParameter("slice", str, description="Key of a slice, for example all.")


class _FewReferences(CursorPagination):
    page_size = 20
    """A version may have a thousand slices."""


class _NewestChecks(CursorPagination):
    ordering: Any = ("-bucket_at", "-id")


class _ReadView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}


class ReferencesView(_ReadView):
    @extend_schema(
        operation_id="monitors_references",
        responses={200: ReferenceSerializer(many=True)} | READ_REFUSALS,
    )
    def get(self, request: Request, monitor_id: int) -> Response:
        """All versions of what is usual, the newest first: who made them, why, from when, and what each slice can see."""
        chosen(request, {})
        monitor = found(monitor_id)
        slices = ReferenceSlice.objects.defer("learnt", "histogram")
        is_current = Case(
            When(pk=monitor.reference_id, then=Value(value=True)),
            default=Value(value=False),
            output_field=BooleanField(),
        )
        rows = (
            Reference.objects.filter(monitor=monitor)
            .annotate(is_current=is_current)
            .select_related("made_by")
            .prefetch_related(Prefetch("slices", slices))
        )
        return page(rows, request, self, ReferenceSerializer, _FewReferences)


class SlicesView(_ReadView):
    @extend_schema(
        operation_id="monitors_slices", responses={200: MonitorSliceSerializer(many=True)} | READ_REFUSALS
    )
    def get(self, request: Request, monitor_id: int) -> Response:
        """Every slice with its evidence; `is_tracked` is false for those that the present question does not watch."""
        chosen(request, {})
        rows = MonitorSlice.objects.filter(monitor=found(monitor_id)).defer("evidence")
        return page(rows, request, self, MonitorSliceSerializer)


class EvaluationsView(_ReadView):
    @extend_schema(
        operation_id="monitors_evaluations",
        responses={200: EvaluationSerializer(many=True)} | READ_REFUSALS,
        parameters=[
            _SLICE,
            OpenApiParameter("from", str, description="Buckets that begin at this time or later."),
            OpenApiParameter("to", str, description="Buckets that begin before this time."),
        ],
    )
    def get(self, request: Request, monitor_id: int) -> Response:
        """What the checks saw in each bucket, the newest first."""
        given = chosen(request, {"slice": None, "from": None, "to": None})
        start, end = moment(given, "from"), moment(given, "to")
        if start is not None and end is not None and start >= end:
            raise InvalidInput("to is not after from.", field="to", fix="Send a later time.")
        rows = DriftEvaluation.objects.filter(slice__monitor=found(monitor_id)).select_related("slice")
        if "slice" in given:
            rows = rows.filter(slice__key=given["slice"])
        if start is not None:
            rows = rows.filter(bucket_at__gte=start)
        if end is not None:
            rows = rows.filter(bucket_at__lt=end)
        return page(rows, request, self, EvaluationSerializer, _NewestChecks)


class EffectsView(_ReadView):
    @extend_schema(
        operation_id="monitors_effects",
        responses={200: ComparisonSerializer} | READ_REFUSALS,
        parameters=[_SLICE],
    )
    def get(self, request: Request, monitor_id: int) -> Response:
        """How far the last 24 hours, or the time since the onset of the open incident, are from the reference."""
        given = chosen(request, {"slice": None}, is_paged=False)
        found_now = compare(found(monitor_id), given.get("slice", ALL), timezone.now())
        if found_now is None:
            raise NotFound(
                "There is nothing to compare: the slice has no reference with a histogram, or no records since.",
                field="slice",
                fix="Send the key of a slice that …/references has.",
            )
        return Response(ComparisonSerializer(found_now).data)
