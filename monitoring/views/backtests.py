"""Backtests: asked for, followed, cancelled, put into force."""

from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.models import Scope
from monitoring import backtests, transitions
from monitoring.models import Backtest
from monitoring.serializers import (
    AcceptedSerializer,
    AskSerializer,
    BacktestDetailSerializer,
    BacktestSerializer,
    ReasonNeededSerializer,
)
from monitoring.tasks import wake_delivery
from monitoring.views.opened import READ_REFUSALS, REFUSALS, body_of, chosen, found, page, signed
from triageops.rest import NotFound


def _found(backtest_id: UUID) -> Backtest:
    row = Backtest.objects.filter(pk=backtest_id).select_related("asked_by", "monitor").first()
    if row is None:
        raise NotFound("There is no backtest with this id.")
    return row


class BacktestsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.MONITORS_WRITE}

    @extend_schema(
        operation_id="backtests_list", responses={200: BacktestSerializer(many=True)} | READ_REFUSALS
    )
    def get(self, request: Request, monitor_id: int) -> Response:
        """All backtests of this monitor, the newest first, without their reports."""
        chosen(request, {})
        rows = Backtest.objects.filter(monitor=found(monitor_id)).select_related("asked_by").defer("report")
        return page(rows, request, self, BacktestSerializer)

    @extend_schema(
        operation_id="backtests_start",
        request=AskSerializer,
        responses={202: BacktestDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request, monitor_id: int) -> Response:
        """Try its settings out on the past, or with `question` other ones; one at a time.

        The answer comes at once: follow `GET /backtests/{id}` until its state is done, failed or cancelled.
        """
        monitor = found(monitor_id)
        question: dict[str, Any] | None = body_of(AskSerializer, request).get("question")
        backtest = transitions.try_out(
            monitor, None if question is None else dict(question), by=None, now=timezone.now()
        )
        backtests.start(backtest)
        return Response(BacktestDetailSerializer(backtest).data, status=202)


class BacktestView(APIView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    @extend_schema(operation_id="backtests_read", responses={200: BacktestDetailSerializer} | READ_REFUSALS)
    def get(self, _request: Request, backtest_id: UUID) -> Response:
        """One backtest: how far it is (`progress` from 0 to 1), and its report when it is done."""
        return Response(BacktestDetailSerializer(_found(backtest_id)).data)


class CancelView(APIView):
    required_scopes: ClassVar = {"POST": Scope.MONITORS_WRITE}

    @extend_schema(
        operation_id="backtests_cancel",
        request=None,
        responses={200: BacktestDetailSerializer} | REFUSALS,
    )
    def post(self, _request: Request, backtest_id: UUID) -> Response:
        """Stop it; one that is over is a 409."""
        transitions.cancel(_found(backtest_id), now=timezone.now())
        return Response(BacktestDetailSerializer(_found(backtest_id)).data)


class ApplyView(APIView):
    required_scopes: ClassVar = {"POST": Scope.MONITORS_WRITE}

    @extend_schema(
        operation_id="backtests_apply",
        request=ReasonNeededSerializer,
        responses={200: AcceptedSerializer} | REFUSALS,
    )
    def post(self, request: Request, backtest_id: UUID) -> Response:
        """Put the settings that were tried into force; open incidents are over, and the evidence begins anew."""
        backtest = _found(backtest_id)
        reason = signed(body_of(ReasonNeededSerializer, request)["reason"], request)
        count = transitions.apply(backtest, by=None, reason=reason, now=timezone.now())
        wake_delivery()
        reference = found(backtest.monitor_id).reference
        version = None if reference is None else reference.version
        return Response({"reference_version": version, "resolved_count": count})
