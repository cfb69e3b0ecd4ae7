"""The outbox: every message, every attempt, and what the receiver said."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from monitoring.admin.dialogs import in_page
from monitoring.admin.first_line import FirstLine
from monitoring.models import DeliveryAttempt, MessageStatus, OutboxMessage
from monitoring.outgoing import outbox
from monitoring.reading.channel_health import MOST_MESSAGES, WINDOW, in_words
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import (
    EstimatedPaginator,
    ReadOnlyAdmin,
    ReadOnlyPermission,
    Tone,
    as_uuid,
    badge,
    moment,
)

_OVER = frozenset({MessageStatus.DELIVERED, MessageStatus.DEAD, MessageStatus.SUPERSEDED})
_TONES = {MessageStatus.DEAD: Tone.HARM, MessageStatus.LEASED: Tone.NEUTRAL}


def status_badge(message: OutboxMessage) -> SafeString:
    is_retried = message.status == MessageStatus.PENDING and message.attempt_count > 0
    tone = Tone.LOOK if is_retried else _TONES.get(MessageStatus(message.status), Tone.NEUTRAL)
    return badge("waiting for the next try" if is_retried else message.get_status_display(), tone)


class ReplayForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


class AttemptInline(ReadOnlyPermission, TabularInline):
    model = DeliveryAttempt
    fields = ("number", "started", "lasted", "shown_outcome", "status_code", "reason", "answer")
    readonly_fields = fields
    extra = 0

    @admin.display(description="started")
    def started(self, attempt: DeliveryAttempt) -> SafeString:
        return moment(attempt.started_at, exact=True)

    @admin.display(description="lasted")
    def lasted(self, attempt: DeliveryAttempt) -> str:
        return wording.seconds(attempt.seconds)

    @admin.display(description="outcome")
    def shown_outcome(self, attempt: DeliveryAttempt) -> str:
        doubt = "; the receiver may have taken it all the same" if attempt.is_ambiguous else ""
        return attempt.get_outcome_display() + doubt


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin, FirstLine):
    list_display = ("title", "kind", "channel", "state", "attempt_count", "why", "created", "next_try")
    list_filter = ("status", "kind", "channel", "route")
    list_select_related = ("channel", "incident")
    paginator = EstimatedPaginator
    list_before_template = "monitoring/list_head.html"
    empty_text = "Every message to a channel will appear here, with each attempt and the receiver's answer."
    empty_link, empty_link_text = "admin:monitoring_channel_changelist", "Channels, with a test"
    show_full_result_count = False
    fields = (
        "incident", "channel", "kind", "state", "why", "because", "route", "step", "group_key", "suppressed_by",
        "held_since", "attempt_count", "created", "next_try", "expires", "delivered", "webhook_id", "dedup_key", "payload",
    )  # fmt: skip
    readonly_fields = fields
    inlines = (AttemptInline,)
    actions = ("replay_selected",)
    actions_detail = ("replay",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxMessage]:
        return super().get_queryset(request).select_related("channel", "incident", "route")

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        """Reads what is undecided, and the newest rows only."""
        now = timezone.now()
        newest = OutboxMessage.objects.order_by("-pk").values("pk")[:MOST_MESSAGES]
        dead = OutboxMessage.objects.dead().filter(pk__in=newest, created_at__gt=now - WINDOW).count()
        waiting = OutboxMessage.objects.undecided()[:MOST_MESSAGES].count()
        waits = wording.plural(waiting, "message waits", "messages wait") if waiting else "nothing waits"
        if dead:
            given_up = wording.plural(dead, "message was", "messages were")
            return f"{given_up} given up in 24 hours; {waits}.", Tone.HARM
        return f"Nothing was given up in 24 hours; {waits}.", Tone.NEUTRAL

    def has_replay_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("monitoring.change_outboxmessage")

    @in_page
    @action(
        description="Send again",
        url_path="replay",
        icon="replay",
        permissions=["replay"],
        dialog={
            "title": "Send this message again?",
            "description": "It gets a new life of 24 hours, and so does what was dropped because of it. The receiver sees "
            "the same message id as before.",
            "form_class": ReplayForm,
            "form_submit_text": "Send again",
        },
    )
    def replay(self, request: HttpRequest, form: ReplayForm, object_id: str) -> HttpResponse:
        self._replay(request, [get_object_or_404(OutboxMessage, pk=as_uuid(object_id)).pk])
        address = reverse("admin:monitoring_outboxmessage_change", args=[object_id])
        return HttpResponse(headers={"HX-Redirect": address})

    @admin.action(description="Send the dead ones again", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        self._replay(
            request,
            list(queryset.filter(status=MessageStatus.DEAD).order_by("id").values_list("pk", flat=True)),
        )

    def _replay(self, request: HttpRequest, message_ids: list[UUID]) -> None:
        now = timezone.now()
        done = 0
        for message_id in message_ids:
            try:
                message = outbox.replay(message_id, now=now)
            except outbox.NotReplayable as error:
                messages.error(request, str(error))
                continue
            self.log_change(request, message, "Sent again.")
            done += 1
        if done:
            wake_delivery()
        messages.info(request, f"{done} on their way again.")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        is_dead = OutboxMessage.objects.dead().filter(pk=as_uuid(object_id)).exists()
        return super().get_actions_detail(request, object_id) if is_dead else []

    @admin.display(description="message")
    def title(self, message: OutboxMessage) -> str:
        return str(message.payload.get("title", message.kind))

    @admin.display(description="state", ordering="status")
    def state(self, message: OutboxMessage) -> SafeString:
        return status_badge(message)

    @admin.display(description="reason")
    def why(self, message: OutboxMessage) -> str:
        return in_words(message.reason) or "–"

    @admin.display(description="made", ordering="id")
    def created(self, message: OutboxMessage) -> SafeString:
        return moment(message.created_at)

    @admin.display(description="next try", ordering="not_before")
    def next_try(self, message: OutboxMessage) -> SafeString:
        return moment(message.not_before if message.status == MessageStatus.PENDING else None, "–")

    @admin.display(description="held back since")
    def held_since(self, message: OutboxMessage) -> SafeString:
        return moment(message.suppressed_since, "–", exact=True)

    @admin.display(description="given up at")
    def expires(self, message: OutboxMessage) -> SafeString:
        """Only while it may still be sent: what is over is not given up any more."""
        is_over = message.status in _OVER
        return moment(None if is_over else message.expires_at, "–", exact=True)

    @admin.display(description="delivered")
    def delivered(self, message: OutboxMessage) -> SafeString:
        return moment(message.delivered_at, "–", exact=True)
