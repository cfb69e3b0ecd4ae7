"""REST for facts: create, bulk, list, read, withdraw."""

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response as RestResponse
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from feedback import authentication, ingest
from feedback.authentication import grant_in
from feedback.decoding import Decoder
from feedback.filters import FEEDBACK_FILTERS, QUALITY_FILTERS, RESPONSE_FILTERS, filtered, parameters
from feedback.ingest import Outcome
from feedback.intake import FactView
from feedback.models import Feedback, QualityMetric, QualityRecord, Response, Scope
from feedback.schema import body_of, bulk_body_of, page_of
from feedback.serializers import (
    BulkReceiptSerializer,
    FeedbackSerializer,
    FeedbackWithHistorySerializer,
    ProblemSerializer,
    QualityMetricSerializer,
    QualityMetricsSerializer,
    QualityRecordSerializer,
    ReceiptSerializer,
    ResponseSerializer,
    TokenRequestSerializer,
    TokenSerializer,
)
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape
from feedback.tables import FEEDBACK, QUALITY_RECORDS, RESPONSES
from triageops.rest import CursorPagination, InvalidInput, NotFound

ModelT = TypeVar("ModelT", bound=Model)

_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Makes a call without an id of its own repeatable.",
)
_ANSWERS: dict[int, Any] = {201: ReceiptSerializer, 400: ProblemSerializer, 409: ProblemSerializer}
_BULK_ANSWERS: dict[int, Any] = {200: BulkReceiptSerializer, 400: ProblemSerializer, 413: ProblemSerializer}


def paged(
    queryset: QuerySet[Any], request: Request, view: APIView, serializer: type[BaseSerializer[Any]]
) -> RestResponse:
    pagination = CursorPagination()
    page = pagination.paginate_queryset(queryset, request, view)
    return pagination.get_paginated_response(serializer(page, many=True).data)


def found(queryset: QuerySet[ModelT], **conditions: Any) -> ModelT:
    row = queryset.filter(**conditions).first()
    if row is None:
        raise NotFound("Nothing is stored under this id.")
    return row


class ResponseFactView(FactView[ResponseShape]):
    table: ClassVar = RESPONSES
    decoder: ClassVar = Decoder(ResponseShape)
    required_scopes: ClassVar = {"GET": Scope.RESPONSES_READ, "POST": Scope.RESPONSES_WRITE}
    had_content = False

    def finish(self, item: ResponseShape, request: Request, index: int | None) -> None:
        if item.has_content:
            self.had_content = True
            if not settings.STORE_CONTENT:
                item.drop_content()
        if self.call_key and item.response_id is None and item.idempotency_key is None:
            item.idempotency_key = self.key_of(index)

    def extras(self) -> dict[str, str]:
        return {"content": "stored" if settings.STORE_CONTENT else "dropped"} if self.had_content else {}


class ResponsesView(ResponseFactView):
    @extend_schema(
        operation_id="responses_create", request=body_of(ResponseShape), responses=_ANSWERS, parameters=[_KEY]
    )
    def post(self, request: Request) -> HttpResponse:
        """Record one answer of the LLM service. Sending it again gives the same receipt and stores nothing new."""
        return self.create_one(request)

    @extend_schema(
        operation_id="responses_list",
        responses=page_of(ResponseSerializer),
        parameters=parameters(RESPONSE_FILTERS),
    )
    def get(self, request: Request) -> RestResponse:
        """Responses, the last received first."""
        queryset = filtered(Response.objects.all(), request.GET, RESPONSE_FILTERS)
        return paged(queryset, request, self, ResponseSerializer)


class ResponsesBulkView(ResponseFactView):
    @extend_schema(
        operation_id="responses_bulk",
        request=bulk_body_of(ResponseShape),
        responses=_BULK_ANSWERS,
        parameters=[_KEY],
    )
    def post(self, request: Request) -> HttpResponse:
        """Record up to 5 000 responses or 5 MB: a JSON array, or NDJSON. The good ones are stored in any case."""
        return self.create_many(request)


class ResponseView(APIView):
    required_scopes: ClassVar = {"GET": Scope.RESPONSES_READ}

    @extend_schema(operation_id="responses_read", responses=ResponseSerializer)
    def get(self, request: Request, response_id: str) -> RestResponse:
        """One response, by the client's own id."""
        if "\0" in response_id:
            raise NotFound("Nothing is stored under this id.")
        return RestResponse(ResponseSerializer(found(Response.objects.all(), response_id=response_id)).data)


class QualityFactView(FactView[QualityShape]):
    table: ClassVar = QUALITY_RECORDS
    decoder: ClassVar = Decoder(QualityShape)
    required_scopes: ClassVar = {"GET": Scope.QUALITY_READ, "POST": Scope.QUALITY_WRITE}


class QualityRecordsView(QualityFactView):
    @extend_schema(operation_id="quality_create", request=body_of(QualityShape), responses=_ANSWERS)
    def post(self, request: Request) -> HttpResponse:
        """Record what one evaluator says of one response, whether that response is known yet or not."""
        return self.create_one(request)

    @extend_schema(
        operation_id="quality_list",
        responses=page_of(QualityRecordSerializer),
        parameters=parameters(QUALITY_FILTERS),
    )
    def get(self, request: Request) -> RestResponse:
        """Quality records, the last received first."""
        queryset = filtered(QualityRecord.objects.all(), request.GET, QUALITY_FILTERS)
        return paged(queryset, request, self, QualityRecordSerializer)


class QualityRecordsBulkView(QualityFactView):
    @extend_schema(operation_id="quality_bulk", request=bulk_body_of(QualityShape), responses=_BULK_ANSWERS)
    def post(self, request: Request) -> HttpResponse:
        """Record up to 5 000 quality records or 5 MB: a JSON array, or NDJSON."""
        return self.create_many(request)


class QualityRecordView(APIView):
    required_scopes: ClassVar = {"GET": Scope.QUALITY_READ}

    @extend_schema(operation_id="quality_read", responses=QualityRecordSerializer)
    def get(self, request: Request, record_id: UUID) -> RestResponse:
        """One quality record."""
        return RestResponse(QualityRecordSerializer(found(QualityRecord.objects.all(), pk=record_id)).data)


class QualityMetricsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.QUALITY_READ}

    @extend_schema(operation_id="quality_metrics_list", responses=QualityMetricsSerializer)
    def get(self, request: Request) -> RestResponse:
        """What each metric name means; `discovered` ones wait for an admin."""
        return RestResponse({"results": QualityMetricSerializer(QualityMetric.objects.all(), many=True).data})


class FeedbackFactView(FactView[FeedbackShape]):
    table: ClassVar = FEEDBACK
    decoder: ClassVar = Decoder(FeedbackShape)
    required_scopes: ClassVar = {"GET": Scope.FEEDBACK_READ, "POST": Scope.FEEDBACK_WRITE}

    def finish(self, item: FeedbackShape, request: Request, index: int | None) -> None:
        if self.call_key and not item.idempotency_key:
            item.idempotency_key = self.key_of(index)
        grant = grant_in(request)
        if not grant.is_token:
            return
        if index is not None:
            raise InvalidInput("A feedback token is for one piece of feedback.", fix="Post to /feedback.")
        if item.response_id != grant.response_id:
            raise InvalidInput(
                "This feedback token is bound to another response.",
                field="response_id",
                fix="Ask your server for a token of this response.",
            )
        if item.user_id not in {"", grant.user_id}:
            raise InvalidInput(
                "This feedback token is bound to another user.", field="user_id", fix="Leave user_id out."
            )
        item.user_id = grant.user_id or ""
        item.source = grant.source

    def receipt(self, outcome: Outcome) -> dict[str, Any]:
        return super().receipt(outcome) | {"revision": outcome.stored.revision}


class FeedbackListView(FeedbackFactView):
    @extend_schema(
        operation_id="feedback_create", request=body_of(FeedbackShape), responses=_ANSWERS, parameters=[_KEY]
    )
    def post(self, request: Request) -> HttpResponse:
        """Say what a person thinks of one response. The same person and source saying something else changes it."""
        return self.create_one(request)

    @extend_schema(
        operation_id="feedback_list",
        responses=page_of(FeedbackSerializer),
        parameters=parameters(FEEDBACK_FILTERS),
    )
    def get(self, request: Request) -> RestResponse:
        """Feedback as it stands now, the first received last."""
        queryset = filtered(Feedback.objects.all(), request.GET, FEEDBACK_FILTERS)
        return paged(queryset, request, self, FeedbackSerializer)


class FeedbackBulkView(FeedbackFactView):
    @extend_schema(
        operation_id="feedback_bulk",
        request=bulk_body_of(FeedbackShape),
        responses=_BULK_ANSWERS,
        parameters=[_KEY],
    )
    def post(self, request: Request) -> HttpResponse:
        """Up to 5 000 pieces of feedback or 5 MB: a JSON array, or NDJSON."""
        return self.create_many(request)


class FeedbackView(APIView):
    required_scopes: ClassVar = {"GET": Scope.FEEDBACK_READ, "DELETE": Scope.FEEDBACK_WRITE}

    @extend_schema(operation_id="feedback_read", responses=FeedbackWithHistorySerializer)
    def get(self, request: Request, feedback_id: UUID) -> RestResponse:
        """One piece of feedback with its earlier revisions."""
        feedback = found(Feedback.objects.prefetch_related("revisions"), pk=feedback_id)
        return RestResponse(FeedbackWithHistorySerializer(feedback).data)

    @extend_schema(operation_id="feedback_withdraw", responses={204: None, 404: ProblemSerializer})
    def delete(self, request: Request, feedback_id: UUID) -> HttpResponse:
        """Withdraw feedback; its history is kept. Doing it again changes nothing."""
        grant = grant_in(request)
        conditions: dict[str, Any] = {"pk": feedback_id}
        if grant.is_token:
            conditions |= {
                "response_id": grant.response_id, "author": f"user:{grant.user_id}", "source": grant.source,
            }  # fmt: skip
        found(Feedback.objects.all(), **conditions)
        ingest.withdraw(str(feedback_id), key_id=grant.key_id, now=timezone.now())
        return HttpResponse(status=204)


class FeedbackTokenView(APIView):
    required_scopes: ClassVar = {"POST": Scope.FEEDBACK_WRITE}

    @extend_schema(
        operation_id="feedback_token", request=TokenRequestSerializer, responses={201: TokenSerializer}
    )
    def post(self, request: Request) -> RestResponse:
        """A token with which a browser may post feedback on this one response, without an API key."""
        if grant_in(request).is_token:
            raise InvalidInput(
                "A token cannot issue tokens.", fix="Call this from your server, with an API key."
            )
        serializer = TokenRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        now = timezone.now()
        grant = replace(
            grant_in(request),
            response_id=asked["response_id"],
            # Without a user the token stands for one: who has it can change what was said with it, and nothing else.
            user_id=asked["user_id"] or f"anon-{secrets.token_hex(8)}",
            source=asked["source"],
            expires_at=(now + timedelta(seconds=asked["lifetime_seconds"])).timestamp(),
        )
        token, expires_at = authentication.issue_token(grant)
        return RestResponse({"token": token, "expires_at": expires_at}, status=201)
