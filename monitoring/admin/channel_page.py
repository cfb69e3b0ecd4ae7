"""What the page of one channel shows before its form: whether it works, how to set up the other side, what a test came to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone

from monitoring import channel_settings
from monitoring.admin import channel_health
from monitoring.admin.channel_form import ABOUT, STEPS, hook_address
from monitoring.admin.opening import Admin, render, require
from monitoring.admin.usefulness import told_of
from monitoring.channel_uses import uses_of
from monitoring.channels import registry
from monitoring.channels.email import SETTING, Email
from monitoring.models import Channel, DeliveryAttempt, MessageKind, MessageStatus, OutboxMessage
from monitoring.reading import usefulness
from monitoring.reading.channel_health import in_words
from triageops import wording

_ENDED = frozenset({MessageStatus.DELIVERED, MessageStatus.DEAD, MessageStatus.SUPERSEDED})


def page_of(channel: Channel, now: datetime) -> dict[str, Any]:
    found = channel_health.of_channel(channel, now)
    return {
        **found,
        "kind_title": _title(channel.kind),
        "missing": _missing(channel.kind),
        "about": ABOUT.get(channel.kind, ""),
        "steps": STEPS.get(channel.kind, ()),
        "hook_address": hook_address(channel) if channel.kind == "pagerduty" else "",
        "hears_back": bool(channel.inbound_secret),
        "old_secret_until": channel.previous_secret_until
        if channel.previous_secret_until and channel.previous_secret_until > now
        else None,
    }


def page_of_new(kind: str) -> dict[str, Any]:
    return {
        "title": f"New channel: {_title(kind)}",
        "kinds": [
            (title.partition(" (")[0], f"?kind={name}", name == kind) for name, title in registry.choices()
        ],
        "about": ABOUT[kind],
        "missing": _missing(kind),
        "steps": STEPS[kind],
    }


def uses(request: HttpRequest, channel_id: int) -> HttpResponse:
    """What uses it and what people say of it, for the page's script: the page does not wait."""
    require(request, *channel_health.VIEW)
    channel = get_object_or_404(Channel, pk=channel_id)
    context = {
        "uses": uses_of(channel),
        "told": told_of(usefulness.of_channel(channel, timezone.now())),
        "channel": channel,
    }
    return TemplateResponse(request, "monitoring/channel_uses.html", context)


def outcome(admin: Admin, request: HttpRequest, channel_id: int, message_id: UUID) -> HttpResponse:
    """What came of a test message; the page asks again until it is known."""
    require(request, *channel_health.VIEW)
    rows = OutboxMessage.objects.filter(kind=MessageKind.TEST, channel=channel_id).select_related("channel")
    message = get_object_or_404(rows, pk=message_id)
    context = {"message": message, **outcome_of(message)}
    if "HX-Request" in request.headers:
        return TemplateResponse(request, "monitoring/channel_outcome_live.html", context)
    return render(admin, request, "channel_outcome", f"Test of “{message.channel}”", **context)


def new_secret(admin: Admin, request: HttpRequest, channel_id: int) -> HttpResponse:
    """Asks, then makes one and shows it, which happens once."""
    require(request, "monitoring.change_channel")
    channel = get_object_or_404(Channel, pk=channel_id)
    made = ""
    if request.method == "POST" and channel_settings.is_signed(channel.kind):
        made = channel_settings.rotate_secret(channel, timezone.now())
        admin.log_change(request, channel, "Made a new signing secret.")
    answer = render(
        admin, request, "channel_secret", f"New secret of “{channel}”", channel=channel, made=made,
        is_signed=channel_settings.is_signed(channel.kind),
    )  # fmt: skip
    answer.headers["Cache-Control"] = "no-store"
    return answer


def outcome_of(message: OutboxMessage) -> dict[str, Any]:
    """A sentence for what is known, and every attempt; `is_over`: nothing more will come."""
    attempts: list[DeliveryAttempt] = list(message.attempts.order_by("number"))
    last = attempts[-1] if attempts else None
    is_over, reason = message.status in _ENDED, in_words(message.reason).rstrip(".")
    tone = "neutral"
    if message.status == MessageStatus.DELIVERED and last is not None:
        sentence = f"The test message arrived: the receiver took it in {wording.seconds(last.seconds)}."
    elif message.status == MessageStatus.DELIVERED:
        sentence = "The test message arrived."
    elif message.status == MessageStatus.DEAD:
        sentence, tone = f"The test message did not arrive: {reason}.", "harm"
    elif is_over:
        sentence, tone = f"The test message was not sent: {reason}.", "look"
    elif not message.channel.is_enabled:
        sentence, tone = "The test message waits: the channel is disabled.", "look"
    elif message.attempt_count and message.status == MessageStatus.PENDING:
        sentence, tone = f"The test message did not arrive yet, and is tried again: {reason}.", "look"
    else:
        sentence = "The test message is on its way."
    return {"sentence": sentence, "tone": tone, "attempts": attempts, "is_over": is_over}


def _missing(kind: str) -> str:
    """What the deployment lacks for this kind; empty if nothing."""
    is_smtp = settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend"
    if kind != Email.name or not is_smtp or settings.EMAIL_HOST:
        return ""
    return f"Nothing can be sent yet: this deployment knows no mail server. Whoever runs it sets {SETTING}."


def _title(kind: str) -> str:
    try:
        return registry.kind_named(kind).title
    except LookupError:
        return kind
