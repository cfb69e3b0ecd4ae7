"""Sets the flags that say what holds an incident back, and holds or gives back its messages.

Who opens or moves an incident calls `apply` under its lock; `tend` finds what begins and ends by time, or was made and ended
by people.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from monitoring.history import flags
from monitoring.labels import labels_of
from monitoring.models import (
    SUPPRESSING,
    Flag,
    Incident,
    IncidentFlag,
    IncidentState,
    MessageStatus,
    Monitor,
    OutboxMessage,
)
from monitoring.quiet import causes, held
from monitoring.quiet.causes import Cause, Causes
from monitoring.routing.matchers import Matcher, matches_all

_LOCK = 0x7126_5117
_KINDS = (*SUPPRESSING, Flag.NO_DATA)
_ENDED = {
    Flag.SILENCED: "no silence matches it any more",
    Flag.MAINTENANCE: "no maintenance window is open for it any more",
    Flag.INHIBITED: "what held it back is over",
    Flag.NO_DATA: "records come again",
}


def current(incident: Incident, now: datetime) -> Cause | None:
    """The strongest that holds; nothing is written."""
    return causes.strongest(causes.of_one(incident, now))


def begin(incident: Incident, now: datetime) -> Cause | None:
    """Set the flags of one that opens now, before its first message is written. The strongest that holds."""
    found = _found(incident, now)
    for kind in _KINDS:
        if kind in found:
            _set(incident, found[kind][0], now)
    return causes.strongest(found)


def apply(incident: Incident, now: datetime) -> Cause | None:
    """Make its flags and messages what they must be; it must be locked. The strongest that holds. Raises IncidentChanged."""
    if incident.state == IncidentState.RESOLVED:
        flags.end_all(incident, now=now)
        held.drop(incident)
        return None
    found = _found(incident, now)
    standing = flags.active(incident)
    for kind in _KINDS:
        if kind in found:
            _set(incident, found[kind][0], now)
        elif kind in standing:
            flags.unflag(incident, kind, why=_ENDED[kind], now=now)
    strongest = causes.strongest(found)
    if strongest is None:
        held.release(incident, now=now)
    else:
        held.hold(incident, strongest.why, now=now)
    return strongest


def _found(incident: Incident, now: datetime) -> Causes:
    with connection.cursor() as cursor:
        # Who makes a silence waits for us: either it is seen here, or it finds this incident.
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
    return causes.of_one(incident, now)


def _set(incident: Incident, one: Cause, now: datetime) -> None:
    flags.flag(incident, one.kind, why=one.why, who=one.who, cause=one.cause, until=one.until, now=now)


@contextmanager
def changing() -> Iterator[None]:
    """Around a change of what holds: incidents that are being opened are waited for, so that they are found afterwards."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


def tend(now: datetime, most: int | None = None) -> int:
    """Put right every incident whose flags or messages are not as they must be; how many were. most: at most so many."""
    moved = 0
    for incident_id in _wrong(now)[:most]:
        with transaction.atomic():
            incident = _locked_unless_busy(incident_id)
            if incident is not None:
                apply(incident, now)
                moved += 1
    return moved


def matched_by(matchers: Iterable[Matcher]) -> list[Incident]:
    """Open incidents that all of them match, the newest first."""
    wanted = tuple(matchers)
    rows = causes.unresolved().open().genuine().order_by("-id")
    return [one for one in rows if matches_all(wanted, labels_of(one))]


def _wrong(now: datetime) -> list[UUID]:
    """Ids of incidents to be put right, in a fixed number of queries; whatever holds others back comes first."""
    incidents = list(causes.unresolved().order_by("id"))
    standing: dict[UUID, dict[str, tuple[str, datetime | None]]] = defaultdict(dict)
    for flag in IncidentFlag.objects.active().filter(kind__in=_KINDS):
        standing[flag.incident_id][flag.kind] = (flag.cause, flag.until)
    loose = _with_messages(held.holdable().exclude(incident=None))
    kept = _with_messages(OutboxMessage.objects.filter(status=MessageStatus.SUPPRESSED))
    wrong = []
    for incident, found in zip(incidents, causes.of_all(incidents, now), strict=True):
        wanted = _noted(found)
        is_held = any(kind in wanted for kind in SUPPRESSING)
        if wanted != standing.get(incident.pk, {}) or incident.pk in (loose if is_held else kept):
            wrong.append(incident.pk)
    return wrong + sorted((kept | set(standing)) - {one.pk for one in incidents})


def _noted(found: Causes) -> dict[str, tuple[str, datetime | None]]:
    return {kind: (found[kind][0].cause, found[kind][0].until) for kind in _KINDS if kind in found}


def _with_messages(rows: held.Messages) -> set[UUID]:
    found = rows.order_by().values_list("incident", flat=True).distinct()
    return set(found)


def _locked_unless_busy(incident_id: UUID) -> Incident | None:
    """Resolved ones too; None while another worker is at it or its monitor: the next sweep comes soon."""
    monitor_id = Incident.objects.values_list("monitor_id", flat=True).get(pk=incident_id)
    if monitor_id is not None:
        monitors = Monitor.objects.select_for_update(no_key=True, skip_locked=True)
        if not monitors.filter(pk=monitor_id).exists():
            return None
    rows = Incident.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    return rows.select_related("monitor").filter(pk=incident_id).first()
