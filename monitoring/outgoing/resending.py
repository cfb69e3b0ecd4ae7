"""Alertmanager forgets what is not said again: what it was told of, and still fires, is sent anew every minute.

Never while a delivery to it is under way, and the other way round: an old picture must not overtake a resolve.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

import structlog
from django.db import transaction

from monitoring import endpoints
from monitoring.channels import registry
from monitoring.channels.alertmanager import KEEP_RESOLVED, RESEND_SECONDS, Alertmanager
from monitoring.channels.channel import DeliveryError, Outgoing
from monitoring.models import Channel, Incident, MessageKind, MessageStatus, OutboxMessage
from monitoring.outgoing.notices import outgoing_of, settings_of

log = structlog.get_logger(__name__)

# The sweep comes every RESEND_SECONDS, at times a little earlier.
_EVERY = timedelta(seconds=RESEND_SECONDS * 0.8)

Clock = Callable[[], datetime]


def resend(clock: Clock) -> int:
    """Send each Alertmanager what it is to know; to how many something was sent."""
    channels = Channel.objects.enabled().filter(kind=Alertmanager.name)
    return sum(_resend(channel, clock) for channel in channels)


def _resend(channel: Channel, clock: Clock) -> bool:
    now = clock()
    if not picture_of(channel, now):
        return False
    is_probe = _begin(channel, now)
    if is_probe is None:
        return False
    # Read anew, now that no delivery is under way.
    picture = picture_of(channel, now)
    began = monotonic()
    error = _send(channel, picture, now) if picture else None
    _end(channel, [endpoints.Call(error, is_probe)] if picture else [], clock())
    facts = {"channel_id": channel.pk, "alerts": len(picture), "seconds": round(monotonic() - began, 3)}
    if error is None:
        log.info("alerts.resent", **facts)
    else:
        log.warning("alerts.resend_failed", reason=error.reason, **facts)
    return bool(picture)


def picture_of(channel: Channel, now: datetime) -> list[Outgoing]:
    """What it was told of and is open, and what it was told is over since a short time: the last word on each incident."""
    since = now - KEEP_RESOLVED
    told = OutboxMessage.objects.filter(channel=channel, status=MessageStatus.DELIVERED).order_by(
        "incident_id", "-seq"
    )
    news = (MessageKind.TRIGGER, MessageKind.RESOLVE)
    fires = told.filter(incident__in=Incident.objects.unresolved(), kind__in=news)
    # What is over, but was not yet told, is for the delivery to tell.
    ended = told.filter(kind=MessageKind.RESOLVE, delivered_at__gte=since, incident__resolved_at__gte=since)
    # Two questions, as each has an index. Of two with the same labels the newer one counts, and comes last.
    found = [*fires.distinct("incident_id"), *ended.distinct("incident_id")]
    return [outgoing_of(message) for message in sorted(found, key=lambda message: str(message.incident_id))]


def _begin(channel: Channel, now: datetime) -> bool | None:
    """Take the channel for one call: whether it is the one try after a rest; None while it cannot be had."""
    with transaction.atomic():
        health = endpoints.known([channel.pk]) and endpoints.locked_unless_busy(channel.pk)
        if not health or not endpoints.calls_allowed(health, now):
            return None
        if health.resent_at is not None and now - health.resent_at < _EVERY:
            return None
        health.resent_at = now
        health.save(update_fields=["resent_at"])
        return endpoints.begin(health, 1, now)


def _send(channel: Channel, picture: list[Outgoing], now: datetime) -> DeliveryError | None:
    kind = registry.make(channel.kind, settings_of(channel, now))
    if not isinstance(kind, Alertmanager):
        return None
    try:
        kind.resend(picture, now=now)
    except DeliveryError as error:
        return error
    return None


def _end(channel: Channel, calls: list[endpoints.Call], now: datetime) -> None:
    with transaction.atomic():
        for health in endpoints.locked([channel.pk]).values():
            endpoints.judge(health, calls, now)
