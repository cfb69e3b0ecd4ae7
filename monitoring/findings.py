"""What an audit of deliveries can find: incidents of which somebody will not hear, and messages that nobody sends."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from monitoring import endpoints
from monitoring.channels.sink import Sink
from monitoring.models import (
    Channel,
    EventKind,
    Incident,
    IncidentEvent,
    IncidentFlag,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Severity,
    Source,
)
from monitoring.notifying import telling
from triageops import wording

UNTOLD, UNDELIVERED, HELD, OVERDUE, NOBODY = "untold", "undelivered", "held", "overdue", "nobody"
KINDS = (UNTOLD, UNDELIVERED, HELD, OVERDUE, NOBODY)
OWN = "delivery"
"""Key of the incident that says what the audit found. That it is not heard is no finding: it would keep itself open."""
LATE_AFTER = timedelta(minutes=5)
HEARD_WITHIN = timedelta(minutes=15)
"""After the time that it was to be told: by then somebody must have heard of what is severe."""
_SEVERE = (Severity.CRITICAL, Severity.ERROR)
_BUSY = timedelta(minutes=1)
_MOST = 1_000


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be. kind `nobody`: no channel is chosen for the incident, which may be meant so."""

    kind: str
    text: str
    incident: str = ""
    channel: int | None = None

    @property
    def fails(self) -> bool:
        return self.kind != NOBODY

    @property
    def about(self) -> tuple[str, str, int | None]:
        return self.kind, self.incident, self.channel

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"fails": self.fails}


@dataclass(frozen=True)
class _Sight:
    """What the audit knows beside an incident's messages. is_known: somebody heard; answered: ids of those told by others."""

    now: datetime
    is_held: bool
    is_known: bool
    answered: Collection[str]


def of_all(now: datetime) -> tuple[int, list[Finding]]:
    """How many open incidents there are, and what is wrong with telling them."""
    rows = list(Incident.objects.open().select_related("monitor").order_by("pk"))
    triggers: dict[UUID, list[OutboxMessage]] = defaultdict(list)
    known = OutboxMessage.objects.filter(incident__in=Incident.objects.open(), kind=MessageKind.TRIGGER)
    for message in known.select_related("channel").defer("payload"):
        if message.incident_id is not None:
            triggers[message.incident_id].append(message)
    held = _held(triggers)
    answered = _answered(triggers)
    found: list[Finding] = []
    for incident in rows:
        told = [one for one in triggers.get(incident.pk, ()) if _is_heard(incident, one.channel)]
        if told:
            sight = _Sight(now, incident.pk in held, _is_known(incident, told), answered)
            found += _of_told(incident, told, sight)
        else:
            found += _of_untold(incident)
    return len(rows), found + _overdue(now)


def _held(ids: Iterable[UUID]) -> set[UUID]:
    flags = IncidentFlag.objects.suppressing().filter(incident__in=list(ids))
    return set(flags.values_list("incident", flat=True))


def _answered(ids: Iterable[UUID]) -> set[str]:
    """Messages that did not arrive, and instead of which others are told: what becomes of that shows in their messages."""
    events = IncidentEvent.objects.filter(kind=EventKind.UNDELIVERED, incident__in=list(ids))
    return set(events.exclude(details__told=[]).values_list("details__message", flat=True))


def _is_known(incident: Incident, told: Iterable[OutboxMessage]) -> bool:
    """Somebody heard of it, or it is not for anybody to hear."""
    is_own = incident.source == Source.SELF and incident.slice_key == OWN
    if is_own or incident.acknowledged_at is not None or telling.is_planted(incident):
        return True
    return any(message.status == MessageStatus.DELIVERED for message in told)


def _is_heard(incident: Incident, channel: Channel) -> bool:
    """The product's own channel tells nobody; it counts for what the canary planted only."""
    return channel.kind != Sink.name or telling.is_planted(incident)


def _of_untold(incident: Incident) -> list[Finding]:
    chosen = telling.legs_of(incident, MessageKind.TRIGGER, now=incident.opened_at)
    legs = [leg for leg in chosen if _is_heard(incident, leg.channel)]
    if not legs:
        return [Finding(NOBODY, f"No channel is chosen for “{incident.title}”.", str(incident.pk))]
    return [
        Finding(
            UNTOLD,
            f"Nobody was told of “{incident.title}”, although {leg.channel.name} should be.",
            str(incident.pk),
            leg.channel.pk,
        )
        for leg in legs
    ]


def _of_told(incident: Incident, told: Sequence[OutboxMessage], sight: _Sight) -> list[Finding]:
    by_channel: dict[int, list[OutboxMessage]] = defaultdict(list)
    for message in told:
        by_channel[message.channel_id].append(message)
    found = []
    for channel_id, mine in by_channel.items():
        if not any(_is_settled(message, sight) for message in mine):
            last = max(mine, key=lambda message: message.seq)
            is_stuck = last.status == MessageStatus.SUPPRESSED
            text = f"{last.channel.name} was not told of “{incident.title}”: the message is {last.status}"
            text += ", but nothing holds it back any more." if is_stuck else ", and nobody was told instead."
            found.append(Finding(HELD if is_stuck else UNDELIVERED, text, str(incident.pk), channel_id))
    is_severe = incident.severity in _SEVERE
    if is_severe and not found and not sight.is_known and not any(_is_proof(one, sight) for one in told):
        text = f"Nobody has heard of “{incident.title}”: {_why_unheard(told)}."
        found.append(Finding(UNDELIVERED, text, str(incident.pk)))
    return found


def _is_settled(message: OutboxMessage, sight: _Sight) -> bool:
    """It was told, will be, or others were told instead."""
    if message.status == MessageStatus.SUPPRESSED:
        return sight.is_held
    if message.status == MessageStatus.DEAD:
        return sight.is_known or message.webhook_id in sight.answered
    return message.status in {MessageStatus.DELIVERED, MessageStatus.PENDING, MessageStatus.LEASED}


def _is_proof(message: OutboxMessage, sight: _Sight) -> bool:
    """Of what nobody has heard yet: it is held back, or its time is to come or came only a short while ago."""
    if message.status == MessageStatus.SUPPRESSED:
        return sight.is_held
    is_waiting = message.status in {MessageStatus.PENDING, MessageStatus.LEASED}
    planned_at = message.expires_at - OutboxMessage.LIFETIME
    return is_waiting and message.channel.is_enabled and sight.now < planned_at + HEARD_WITHIN


def _why_unheard(told: Iterable[OutboxMessage]) -> str:
    waiting = [one for one in told if one.status in {MessageStatus.PENDING, MessageStatus.LEASED}]
    if not waiting:
        return "no message arrived"
    if all(not message.channel.is_enabled for message in waiting):
        return "the channels that are to be told are disabled"
    return f"no message arrived within {wording.seconds(HEARD_WITHIN.total_seconds())}"


def _overdue(now: datetime) -> list[Finding]:
    """Messages whose time came long ago, and that nothing keeps: no rest, no rate, no earlier message, no disabled channel."""
    limit = now - LATE_AFTER
    is_late = Q(status=MessageStatus.PENDING, not_before__lte=limit) | Q(
        status=MessageStatus.LEASED, lease_until__lte=limit
    )
    earlier = OutboxMessage.objects.undecided().filter(
        incident=OuterRef("incident"), channel=OuterRef("channel"), seq__lt=OuterRef("seq")
    )
    rows = OutboxMessage.objects.filter(is_late, ~Exists(earlier), channel__is_enabled=True)
    late = list(rows.select_related("channel").defer("payload").order_by("not_before")[:_MOST])
    counts: Mapping[int, int] = _counted(late)
    healths = endpoints.known(counts)
    return [
        Finding(
            OVERDUE,
            f"{wording.plural(count, 'message')} for {healths[pk].channel.name} should have been sent minutes ago.",
            channel=pk,
        )
        for pk, count in counts.items()
        if endpoints.free_at(healths[pk], now) <= now
        and not _is_worked_on(healths[pk].last_success_at, count, now)
    ]


def _counted(rows: Iterable[OutboxMessage]) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for row in rows:
        counts[row.channel_id] += 1
    return counts


def _is_worked_on(last_success_at: datetime | None, count: int, now: datetime) -> bool:
    """A crowd that its rate lets through one after the other."""
    return count > 1 and last_success_at is not None and now - last_success_at < _BUSY
