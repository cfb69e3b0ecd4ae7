"""Responses, quality records and feedback: read-only, as they came in."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline

from feedback.filters import first_id_at
from feedback.models import (
    EvaluatorKind,
    Feedback,
    FeedbackRevision,
    FeedbackType,
    QualityRecord,
    Response,
    ResponseStatus,
)
from triageops import wording
from triageops.admin import EstimatedPaginator, ReadOnlyAdmin, ReadOnlyPermission, Tone, badge, moment

_STATUS_TONES = {ResponseStatus.ERROR: Tone.HARM, ResponseStatus.CANCELLED: Tone.LOOK}
_MOST_RELATED = 50


class StoredFilter(admin.SimpleListFilter):
    """By the time in the primary key, so that the index answers; the last seven days unless asked otherwise."""

    title = "stored"
    parameter_name = "stored"
    spans: ClassVar = {
        "hour": ("last hour", timedelta(hours=1)),
        "day": ("last day", timedelta(days=1)),
        "week": ("last 7 days", timedelta(days=7)),
        "month": ("last 30 days", timedelta(days=30)),
        "ever": ("at any time", None),
    }

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(key, text) for key, (text, _) in self.spans.items()]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for key, text in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: key})
            yield {"selected": (self.value() or "week") == key, "query_string": query, "display": text}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _, span = self.spans.get(self.value() or "week", self.spans["week"])
        # Who asks for one id wants it whenever it was stored.
        if span is None or request.GET.get("q"):
            return queryset
        return queryset.filter(pk__gte=first_id_at(timezone.now() - span))


class FactAdmin(ReadOnlyAdmin):
    """Facts: read-only, found by id or by when they were stored, never counted in full."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    list_max_show_all = 0
    list_select_related = ("api_key",)
    ordering = ("-id",)
    # Only what the primary key answers: any other order would sort the whole table.
    sortable_by = ()
    exclude = ("tx", "digest", "idempotency_key", "author")

    @admin.display(description="occurred")
    def occurred(self, fact: Any) -> SafeString:
        return moment(fact.occurred_at)

    @admin.display(description="stored")
    def received(self, fact: Any) -> SafeString:
        return moment(fact.received_at)

    @admin.display(description="metrics")
    def measured(self, fact: Any) -> SafeString:
        return _pairs(fact.metrics)

    @admin.display(description="sent by")
    def sender(self, fact: Any) -> str:
        return str(fact.api_key)

    @admin.display(description="response")
    def response_link(self, fact: Any) -> SafeString:
        address = reverse("admin:feedback_response_changelist")
        return format_html(
            '<a class="to-link" href="{}?q={}">{}</a>', address, fact.response_id, fact.response_id
        )


def _pairs(values: dict[str, Any]) -> SafeString:
    pairs = (
        (key, wording.number(value) if isinstance(value, float) else value) for key, value in values.items()
    )
    return format_html_join(" ", '<span class="to-pair"><span>{}</span> {}</span>', pairs) or SafeString(
        wording.MISSING
    )


@admin.register(Response)
class ResponseAdmin(FactAdmin):
    list_display = ("response_id", "occurred", "model", "variant", "outcome", "latency", "tokens", "price")
    list_filter = (StoredFilter, "status", "cache_hit")
    search_fields = ("response_id__startswith",)
    search_help_text = "The response id, or how it begins."
    readonly_fields = (
        "occurred", "received", "sender", "outcome", "latency", "tokens", "price", "slices", "measured",
        "quality_said", "feedback_said",
    )  # fmt: skip

    def get_fieldsets(
        self, request: HttpRequest, obj: Response | None = None
    ) -> list[tuple[str | None, Any]]:
        content = [
            name for name in ("prompt", "answer") if obj is not None and getattr(obj, name) is not None
        ]
        shown = [
            (None, {"fields": ("response_id", "request_id", "occurred", "received", "sender")}),
            (
                "Who answered",
                {"fields": ("endpoint", "model", "provider", "experiment", "variant", "unit", "slices")},
            ),
            (
                "How it went",
                {"fields": ("outcome", "finish_reason", "latency", "tokens", "price", "cache_hit")},
            ),
            ("What was said of it", {"fields": ("measured", "quality_said", "feedback_said")}),
        ]
        return [*shown, ("Content", {"fields": content})] if content else shown

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Response | None:
        response = super().get_object(request, object_id, from_field)
        if response is not None:
            # Once for the page: the theme evaluates each read-only field several times.
            said_of_it = {"response_id": response.response_id}
            response.quality_records = list(
                QualityRecord.objects.filter(**said_of_it).order_by("id")[:_MOST_RELATED]
            )
            response.feedback = list(Feedback.objects.filter(**said_of_it).order_by("id")[:_MOST_RELATED])
        return response

    @admin.display(description="status")
    def outcome(self, response: Response) -> SafeString | str:
        tone = _STATUS_TONES.get(ResponseStatus(response.status))
        words = " ".join(filter(None, (response.status, response.error_type)))
        return badge(words, tone) if tone else words

    @admin.display(description="latency")
    def latency(self, response: Response) -> str:
        return wording.seconds(response.latency_seconds)

    @admin.display(description="tokens in, out")
    def tokens(self, response: Response) -> str:
        return f"{wording.count(response.input_tokens)}, {wording.count(response.output_tokens)}"

    @admin.display(description="cost")
    def price(self, response: Response) -> str:
        return wording.money(response.cost)

    @admin.display(description="attributes")
    def slices(self, response: Response) -> SafeString:
        return _pairs(response.attributes)

    @admin.display(description="quality records")
    def quality_said(self, response: Response) -> SafeString:
        rows = (
            (
                reverse("admin:feedback_qualityrecord_change", args=[record.pk]),
                record.evaluator_name,
                _pairs(record.metrics),
            )
            for record in response.quality_records  # type: ignore[attr-defined]
        )
        return format_html_join("", '<p><a class="to-link" href="{}">{}</a> {}</p>', rows) or SafeString(
            "none yet"
        )

    @admin.display(description="feedback")
    def feedback_said(self, response: Response) -> SafeString:
        rows = (
            (
                reverse("admin:feedback_feedback_change", args=[one.pk]),
                one.feedback_type,
                one.source,
                moment(one.occurred_at),
            )
            for one in response.feedback  # type: ignore[attr-defined]
        )
        return format_html_join(
            "", '<p><a class="to-link" href="{}">{}</a> via {}, {}</p>', rows
        ) or SafeString("none yet")


@admin.register(QualityRecord)
class QualityRecordAdmin(FactAdmin):
    list_display = ("id", "occurred", "response_link", "evaluator", "measured")
    list_filter = (StoredFilter, "evaluator_kind")
    search_fields = ("response_id__exact",)
    search_help_text = "The whole response id."
    fields = ("response_link", "occurred", "received", "sender", "evaluator", "measured")
    readonly_fields = fields

    @admin.display(description="evaluator")
    def evaluator(self, record: QualityRecord) -> str:
        kind = EvaluatorKind(record.evaluator_kind).label
        return " ".join(filter(None, (kind, record.evaluator_name, record.evaluator_version)))


class RevisionInline(ReadOnlyPermission, TabularInline):
    model = FeedbackRevision
    verbose_name_plural = "earlier states"
    fields = ("revision", "feedback_type", "rating", "comment", "occurred", "withdrawn")
    readonly_fields = ("occurred", "withdrawn")
    ordering = ("-revision",)
    extra = 0

    @admin.display(description="occurred")
    def occurred(self, revision: FeedbackRevision) -> SafeString:
        return moment(revision.occurred_at)

    @admin.display(description="withdrawn")
    def withdrawn(self, revision: FeedbackRevision) -> SafeString:
        return moment(revision.withdrawn_at, "no")


@admin.register(Feedback)
class FeedbackAdmin(FactAdmin):
    # Comments are people's own words about their health: on the page of one piece of feedback only.
    list_display = ("id", "occurred", "response_link", "said", "rating", "has_comment", "source", "state")
    list_filter = (StoredFilter, "feedback_type")
    search_fields = ("response_id__exact",)
    search_help_text = "The whole response id."
    fields = (
        "response_link", "said", "rating", "comment", "state", "user_id", "source", "metadata", "occurred", "received",
        "sender", "revision",
    )  # fmt: skip
    readonly_fields = ("response_link", "said", "state", "occurred", "received", "sender")

    def get_inlines(self, request: HttpRequest, obj: Feedback | None) -> list[type[RevisionInline]]:
        return [RevisionInline] if obj is not None and obj.revision > 1 else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        return super().get_queryset(request).defer("metadata")

    @admin.display(description="feedback")
    def said(self, feedback: Feedback) -> str:
        return FeedbackType(feedback.feedback_type).label

    @admin.display(description="comment", boolean=True)
    def has_comment(self, feedback: Feedback) -> bool:
        return bool(feedback.comment)

    @admin.display(description="state")
    def state(self, feedback: Feedback) -> SafeString:
        if feedback.withdrawn_at is not None:
            return format_html("{} {}", badge("withdrawn", Tone.LOOK), moment(feedback.withdrawn_at))
        return badge("stands" if feedback.revision == 1 else f"changed, revision {feedback.revision}")
