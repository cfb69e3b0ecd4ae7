"""What the page of one channel shows before its form: whether it works, how to set up the other side, what a test came to."""

from datetime import datetime
from typing import Any

from monitoring.admin import channel_health
from monitoring.admin.channel_form import ABOUT, STEPS, hook_address
from monitoring.channels import registry
from monitoring.models import Channel, DeliveryAttempt, MessageStatus, OutboxMessage
from triageops import wording

_ENDED = frozenset({MessageStatus.DELIVERED, MessageStatus.DEAD, MessageStatus.SUPERSEDED})


def page_of(channel: Channel, now: datetime) -> dict[str, Any]:
    found = channel_health.of_channel(channel, now)
    return {
        **found,
        "kind_title": _title(channel.kind),
        "about": ABOUT.get(channel.kind, ""),
        "steps": STEPS.get(channel.kind, ()),
        "hook_address": hook_address(channel) if channel.kind == "pagerduty" else "",
        "hears_back": bool(channel.inbound_secret),
        "old_secret_until": channel.previous_secret_until
        if channel.previous_secret_until and channel.previous_secret_until > now
        else None,
    }


def outcome_of(message: OutboxMessage) -> dict[str, Any]:
    """A sentence for what is known, and every attempt; `is_over`: nothing more will come."""
    attempts: list[DeliveryAttempt] = list(message.attempts.order_by("number"))
    last = attempts[-1] if attempts else None
    is_over = message.status in _ENDED
    tone = "neutral"
    if message.status == MessageStatus.DELIVERED and last is not None:
        sentence = f"The test message arrived: the receiver took it in {wording.seconds(last.seconds)}."
    elif message.status == MessageStatus.DELIVERED:
        sentence = "The test message arrived."
    elif message.status == MessageStatus.DEAD:
        sentence, tone = f"The test message did not arrive: {message.reason}.", "harm"
    elif is_over:
        sentence, tone = f"The test message was not sent: {message.reason}.", "look"
    elif not message.channel.is_enabled:
        sentence, tone = "The test message waits: the channel is disabled.", "look"
    elif message.attempt_count and message.status == MessageStatus.PENDING:
        sentence, tone = f"The test message did not arrive yet, and is tried again: {message.reason}.", "look"
    else:
        sentence = "The test message is on its way."
    return {"sentence": sentence, "tone": tone, "attempts": attempts, "is_over": is_over}


def _title(kind: str) -> str:
    try:
        return registry.kind_named(kind).title
    except LookupError:
        return kind
