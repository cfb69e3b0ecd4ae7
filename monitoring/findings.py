"""What an audit of deliveries can find: incidents of which somebody will not hear, and messages that nobody sends."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from monitoring import endpoints
from monitoring.models import (
    EventKind,
    Incident,
    IncidentEvent,
    IncidentFlag,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.notifying import telling
from triageops import wording

UNTOLD, UNDELIVERED, HELD, OVERDUE, NOBODY = "untold", "undelivered", "held", "overdue", "nobody"
KINDS = (UNTOLD, UNDELIVERED, HELD, OVERDUE, NOBODY)
LATE_AFTER = timedelta(minutes=5)
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


def of_all(now: datetime) -> tuple[int, list[Finding]]:
    """How many open incidents there are, and what is wrong with telling them."""
    rows = list(Incident.objects.open().select_related("monitor").order_by("pk"))
    triggers: dict[UUID, list[OutboxMessage]] = defaultdict(list)
    known = OutboxMessage.objects.filter(incident__in=Incident.objects.open(), kind=MessageKind.TRIGGER)
    for message in known.select_related("channel").defer("payload"):
        if message.incident_id is not None:
            triggers[message.incident_id].append(message)
    held = _held(triggers)
    noted = _noted(triggers)
    found: list[Finding] = []
    for incident in rows:
        told = triggers.get(incident.pk)
        found += (
            _of_told(incident, told, noted, is_held=incident.pk in held) if told else _of_untold(incident)
        )
    return len(rows), found + _overdue(now)


def _held(ids: Iterable[UUID]) -> set[UUID]:
    flags = IncidentFlag.objects.suppressing().filter(incident__in=list(ids))
    return set(flags.values_list("incident", flat=True))


def _noted(ids: Iterable[UUID]) -> set[str]:
    events = IncidentEvent.objects.filter(kind=EventKind.UNDELIVERED, incident__in=list(ids))
    return set(events.values_list("details__message", flat=True))


def _of_untold(incident: Incident) -> list[Finding]:
    legs = telling.legs_of(incident, MessageKind.TRIGGER, now=incident.opened_at)
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


def _of_told(
    incident: Incident, told: Sequence[OutboxMessage], noted: set[str], *, is_held: bool
) -> list[Finding]:
    by_channel: dict[int, list[OutboxMessage]] = defaultdict(list)
    for message in told:
        by_channel[message.channel_id].append(message)
    found = []
    for channel_id, mine in by_channel.items():
        if not any(_is_settled(message, noted, is_held=is_held) for message in mine):
            last = max(mine, key=lambda message: message.seq)
            is_stuck = last.status == MessageStatus.SUPPRESSED
            text = f"{last.channel.name} was not told of “{incident.title}”: the message is {last.status}"
            text += ", but nothing holds it back any more." if is_stuck else ", and nobody was told instead."
            found.append(Finding(HELD if is_stuck else UNDELIVERED, text, str(incident.pk), channel_id))
    return found


def _is_settled(message: OutboxMessage, noted: set[str], *, is_held: bool) -> bool:
    """It was told, will be, or others were told instead."""
    if message.status == MessageStatus.SUPPRESSED:
        return is_held
    if message.status == MessageStatus.DEAD:
        return message.webhook_id in noted
    return message.status in {MessageStatus.DELIVERED, MessageStatus.PENDING, MessageStatus.LEASED}


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
