"""What leased messages say to a channel: their frozen payloads, what is known of earlier attempts, and an admin's own words."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from monitoring import endpoints
from monitoring.channels.channel import Notice, Outgoing, Written
from monitoring.models import Channel, DeliveryAttempt, MessageTemplate, OutboxMessage
from monitoring.outgoing.outbox import Batch
from monitoring.templating import texts

log = structlog.get_logger(__name__)


def notices_of(batches: Collection[Batch], now: datetime) -> list[Notice]:
    """One for each; at most two queries for all of them together."""
    messages = [message for batch in batches for message in batch.messages]
    doubtful = _doubtful(messages)
    grouped = [one for batch in batches if endpoints.is_grouped(batch.channel) for one in batch.messages]
    threads = _threads(grouped)
    found = []
    for batch in batches:
        outgoing = tuple(
            _outgoing(message, is_possible_repeat=message.pk in doubtful, thread=_thread(message, threads))
            for message in batch.messages
        )
        written, complaint = _written(batch.channel, outgoing, now)
        found.append(Notice(outgoing, written, _labels(batch.messages[0].group_key), complaint))
    return found


def outgoing_of(message: OutboxMessage) -> Outgoing:
    """The message as it stands, without what is known of earlier attempts."""
    return _outgoing(message, is_possible_repeat=False, thread="")


def settings_of(channel: Channel, now: datetime) -> dict[str, Any]:
    """What kinds of channels are made of."""
    until = channel.previous_secret_until
    is_changing = until is not None and until > now
    return {
        "url": channel.url,
        "secret": channel.secret,
        "previous_secret": channel.previous_secret if is_changing else "",
        "recipients": channel.recipients,
    }


def _outgoing(message: OutboxMessage, *, is_possible_repeat: bool, thread: str) -> Outgoing:
    since = message.suppressed_since
    return Outgoing(
        message.webhook_id,
        message.kind,
        message.payload,
        message.attempt_count,
        is_possible_repeat,
        message.dedup_key,
        message.seq,
        "" if since is None else since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        message.suppressed_by,
        thread,
    )


def _doubtful(messages: Iterable[OutboxMessage]) -> set[UUID]:
    """Those that an earlier attempt may have brought there."""
    tried = [message.pk for message in messages if message.attempt_count > 1]
    if not tried:
        return set()
    found = DeliveryAttempt.objects.filter(message__in=tried, is_ambiguous=True)
    return set(found.values_list("message", flat=True))


def _threads(messages: Collection[OutboxMessage]) -> dict[tuple[UUID, int], OutboxMessage]:
    """The first message of each incident to each channel."""
    if not messages:
        return {}
    first = OutboxMessage.objects.filter(
        incident__in={message.incident_id for message in messages if message.incident_id},
        channel__in={message.channel_id for message in messages},
    )
    ordered = first.order_by("incident_id", "channel_id", "seq").distinct("incident_id", "channel_id")
    return {
        (one.incident_id, one.channel_id): one
        for one in ordered.only("pk", "incident", "channel")
        if one.incident_id is not None
    }


def _thread(message: OutboxMessage, threads: Mapping[tuple[UUID, int], OutboxMessage]) -> str:
    if message.incident_id is None:
        return ""
    first = threads.get((message.incident_id, message.channel_id))
    return "" if first is None or first.pk == message.pk else first.webhook_id


def _written(channel: Channel, messages: tuple[Outgoing, ...], now: datetime) -> tuple[Written | None, str]:
    """What the channel's template makes of them; or why it cannot, for the small print."""
    template = channel.template
    if template is None or messages[0].kind == "test":
        return None, ""
    try:
        return texts.render(template.title, template.body, [message.payload for message in messages]), ""
    except texts.BrokenText as error:
        _note_broken(template, error.reason, channel, now)
        return None, f"The text “{template.name}” could not be used: {error.reason}"


def _note_broken(template: MessageTemplate, reason: str, channel: Channel, now: datetime) -> None:
    MessageTemplate.objects.filter(pk=template.pk).update(broken_reason=reason[:300], broken_at=now)
    log.error("template.broken", template=template.pk, channel_id=channel.pk, reason=reason[:300])


def _labels(group_key: str) -> dict[str, str]:
    """What all of a group have in common, as its key says: “<route>:{…}”."""
    _, _, text = group_key.partition(":")
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        # Cut, because it was too long to be stored whole.
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
