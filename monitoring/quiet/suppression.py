"""Sets the flags that say what holds an incident back, and holds or gives back its messages.

Who opens or moves an incident calls `apply` under its lock; `tend` finds what begins and ends by time, or was made and ended
by people.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from time import monotonic
from uuid import UUID

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import Q

from monitoring.history import flags
from monitoring.history.chain import IncidentChanged
from monitoring.labels import matched_labels_of
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
from monitoring.quiet.causes import Cause, Causes, Standing
from monitoring.quiet.inhibition import Sources
from monitoring.routing.matchers import Matcher, matches_all

log = structlog.get_logger(__name__)

SECONDS = 5.0
"""Of one sweep; the next one comes after as long."""

_AT_A_TIME = 50
_LOCK = 0x7126_5117
_KINDS = (*SUPPRESSING, Flag.NO_DATA)
_ENDED = {
    Flag.SILENCED: "no silence matches it any more",
    Flag.MAINTENANCE: "no maintenance window is open for it any more",
    Flag.INHIBITED: "what held it back is over",
    Flag.NO_DATA: "records come again",
}


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
    return _note(incident, _found(incident, now), now)


def _note(incident: Incident, found: Causes, now: datetime) -> Cause | None:
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
    _keep_as_it_is()
    return causes.of_one(incident, now)


def _keep_as_it_is() -> None:
    """Who makes a silence waits for this transaction: either it is seen here, or it finds this incident."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])


def _set(incident: Incident, one: Cause, now: datetime) -> None:
    flags.flag(incident, one.kind, why=one.why, who=one.who, cause=one.cause, until=one.until, now=now)


@contextmanager
def changing() -> Iterator[None]:
    """Around a change of what holds: incidents that are being opened are waited for, so that they are found afterwards."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


def hold_at_once(now: datetime) -> int:
    """Within `changing`: after it no message leaves that a silence or window is to hold back. Flags follow in the sweep."""
    rows = list(causes.unresolved().filter(pk__in=_with_messages(held.holdable())))
    standing = replace(causes.read(now), rules=())
    found = zip(rows, causes.of_each(rows, standing, Sources()), strict=True)
    return _hold_back(((one.pk, of_it) for one, of_it in found), now, waits=True)


def tend(now: datetime, most: int | None = None) -> int:
    """Put right incidents whose flags or messages are not as they must be; how many were. most: at most so many.

    Messages are held back at once. The rest takes at most SECONDS: the next sweep goes on with what is left.
    """
    began, moved = monotonic(), 0
    wrong, sources = _wrong(now)
    wrong = wrong[:most]
    for start in range(0, len(wrong), _AT_A_TIME):
        moved += _put_right(wrong[start : start + _AT_A_TIME], sources, now)
        if monotonic() - began > SECONDS:
            break
    return moved


def matched_by(matchers: Iterable[Matcher]) -> list[Incident]:
    """Open incidents that all of them match, the newest first."""
    wanted = tuple(matchers)
    rows = causes.unresolved().open().genuine().order_by("-id")
    return [one for one in rows if matches_all(wanted, matched_labels_of(one))]


def _wrong(now: datetime) -> tuple[list[UUID], Sources]:
    """Ids of incidents to be put right, in a fixed number of queries, and what holds others back, which comes first.

    What is news of those that are to be held back is so by then.
    """
    incidents, rules = list(causes.unresolved().order_by("id")), causes.read(now)
    sources = causes.sources_among(incidents, rules.rules)
    found = dict(zip((one.pk for one in incidents), causes.of_each(incidents, rules, sources), strict=True))
    loose = _with_messages(held.holdable().exclude(incident=None))
    _hold_back(((pk, found[pk]) for pk in loose if pk in found), now, waits=False)
    kept = _with_messages(OutboxMessage.objects.filter(status=MessageStatus.SUPPRESSED))
    standing = _standing()
    wrong = []
    for pk, of_it in found.items():
        is_loose = pk in loose if causes.strongest(of_it) else pk in kept
        if _noted(of_it) != standing.get(pk, {}) or is_loose:
            wrong.append(pk)
    return wrong + sorted((kept | set(standing)) - set(found)), sources


def _standing() -> dict[UUID, dict[str, tuple[str, datetime | None]]]:
    found: dict[UUID, dict[str, tuple[str, datetime | None]]] = defaultdict(dict)
    for flag in IncidentFlag.objects.active().filter(kind__in=_KINDS):
        found[flag.incident_id][flag.kind] = (flag.cause, flag.until)
    return found


def _hold_back(found: Iterable[tuple[UUID, Causes]], now: datetime, *, waits: bool) -> int:
    """One update for each cause."""
    by_said: dict[str, list[UUID]] = defaultdict(list)
    for pk, of_it in found:
        strongest = causes.strongest(of_it)
        if strongest is not None:
            by_said[strongest.why].append(pk)
    return sum(held.hold_each(ids, said, now=now, waits=waits) for said, ids in by_said.items())


def _put_right(ids: Sequence[UUID], sources: Sources, now: datetime) -> int:
    with transaction.atomic():
        _keep_as_it_is()
        standing = causes.read(now)
        sources.held_by = causes.held_by()
        return sum(_put_one_right(one, standing, sources, now) for one in _locked_unless_busy(ids))


def _put_one_right(incident: Incident, standing: Standing, sources: Sources, now: datetime) -> bool:
    """One that cannot be put right must not keep the others from it."""
    try:
        with transaction.atomic():
            if incident.state == IncidentState.RESOLVED:
                apply(incident, now)
                return True
            found = causes.of_known(incident, standing, sources)
            _note(incident, found, now)
    except IncidentChanged:
        log.info("incident.busy", incident_id=str(incident.pk))
        return False
    except (*causes.UNREADABLE, DatabaseError):
        log.exception("suppression.broken", incident_id=str(incident.pk))
        return False
    if Flag.INHIBITED in found:
        sources.held_by[incident.pk] = UUID(found[Flag.INHIBITED][0].key)
    return True


def _noted(found: Causes) -> dict[str, tuple[str, datetime | None]]:
    return {kind: (found[kind][0].cause, found[kind][0].until) for kind in _KINDS if kind in found}


def _with_messages(rows: held.Messages) -> set[UUID]:
    found = rows.order_by().values_list("incident", flat=True).distinct()
    return set(found)


def _locked_unless_busy(ids: Sequence[UUID]) -> list[Incident]:
    """Resolved ones too; without those that another worker is at, or at their monitor: the next sweep comes soon."""
    wanted = Incident.objects.filter(pk__in=ids)
    watched = set(wanted.exclude(monitor=None).values_list("monitor", flat=True))
    monitors = Monitor.objects.select_for_update(no_key=True, skip_locked=True).filter(pk__in=watched)
    free = list(monitors.values_list("pk", flat=True)) if watched else []
    rows = wanted.filter(Q(monitor=None) | Q(monitor__in=free)).select_related("monitor").order_by("pk")
    return list(rows.select_for_update(no_key=True, skip_locked=True, of=("self",)))
