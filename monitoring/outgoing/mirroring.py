"""Our silences, as the Alertmanagers know them that we send to: what fires there is silenced there too.

A silence is told again until the Alertmanager has its present state; why it has not is kept and shown. As with messages: lease,
commit, send, record. A worker that dies after it made a silence there may leave one more there, which ends at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.urls import reverse

from monitoring import endpoints
from monitoring.channels import registry
from monitoring.channels.alertmanager import Alertmanager, label_name
from monitoring.channels.channel import DeliveryError
from monitoring.labels import INCIDENT, is_small
from monitoring.models import Channel, Incident, Silence, SilenceMirror
from monitoring.outgoing.notices import settings_of
from monitoring.quiet import silences
from monitoring.routing.matchers import InvalidMatcher, Matcher
from monitoring.slices import SMALLEST_NAMED_GROUP

log = structlog.get_logger(__name__)

RETRY = timedelta(seconds=60)
"""Also how long a worker has a row for its call."""
KEPT = timedelta(days=5)
"""An ended silence is no longer told after that long: an Alertmanager forgets it then as well."""
MOST = 200
LONGEST = timedelta(minutes=1)
"""Silences, and time, of one sweep for one channel."""
TOO_SMALL = "it names a group that is too small to be named outside"
OF_ONE = "it is about one incident, which has no name of its own outside"
UNDER_WAY = "it is being told"
RESTS = "its channel is left alone for a while, after failures in a row"
_ANYTHING = "\ue000"
"""No group is called so."""

Labels = Set[tuple[str, str]]
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class _Taken:
    """row: None when the channel cannot be had now. state: the silence's, which is told."""

    row: SilenceMirror | None
    at: datetime
    state: datetime
    is_probe: bool = False


OF_ONE = "it is about one incident, and an Alertmanager knows labels only"


def mirror(now: datetime) -> int:
    """Tell every enabled Alertmanager channel what it does not know yet; how many silences were told."""
    channels = list(Channel.objects.enabled().filter(kind=Alertmanager.name))
    if not channels:
        return 0
    _add_missing(channels, now)
    began = monotonic()
    small = unnamed() if _due(now).filter(channel__in=channels).exists() else set()
    return sum(
        _mirror_to(channel, small, lambda: now + timedelta(seconds=monotonic() - began))
        for channel in channels
    )


def _add_missing(channels: Iterable[Channel], now: datetime) -> None:
    """What ended before a channel was there need not be told."""
    for channel in channels:
        unknown = Silence.objects.filter(ends_at__gt=now).exclude(mirrors__channel=channel)
        rows = [SilenceMirror(silence=one, channel=channel) for one in unknown]
        SilenceMirror.objects.bulk_create(rows, ignore_conflicts=True)


def _due(now: datetime) -> QuerySet[SilenceMirror]:
    return SilenceMirror.objects.filter(
        Q(tried_at=None) | Q(tried_at__lte=now - RETRY) | Q(reason=""),
        Q(mirrored_at=None) | Q(mirrored_at__lt=F("silence__updated_at")),
        silence__ends_at__gt=now - KEPT,
    ).order_by(F("tried_at").asc(nulls_first=True), "pk")


def _mirror_to(channel: Channel, small: Labels, clock: Clock) -> int:
    """Until all is told, or the channel cannot be had; how many silences were told."""
    began, told = clock(), 0
    for pk in list(_due(began).filter(channel=channel).values_list("pk", flat=True)[:MOST]):
        if clock() - began > LONGEST:
            break
        taken = _take(pk, channel, small, clock())
        if taken is None:
            continue
        if taken.row is None:
            break
        error = _tell(taken.row, taken.at)
        _record(taken, error, clock())
        if error is not None and not error.permanent:
            # The others would wait for it in vain as well.
            break
        told += error is None
    return told


def _take(pk: int, channel: Channel, small: Labels, now: datetime) -> _Taken | None:
    """Lease a row and the channel for one call. None: another worker has it, or there is nothing to call for."""
    with transaction.atomic():
        health = endpoints.known([channel.pk]) and endpoints.locked_unless_busy(channel.pk)
        rows = _due(now).select_for_update(skip_locked=True, of=("self",))
        row = rows.select_related("silence", "channel").filter(pk=pk).first()
        if row is None or _is_settled(row, small, now):
            return None
        if not health or not endpoints.calls_allowed(health, now):
            if health and endpoints.is_resting(health, now):
                _due(now).filter(channel=channel).update(reason=RESTS)
            return _Taken(None, now, row.silence.updated_at)
        row.tried_at, row.reason = now, UNDER_WAY
        row.save(update_fields=["tried_at", "reason"])
        return _Taken(row, now, row.silence.updated_at, endpoints.begin(health, 1, now))


def _is_settled(row: SilenceMirror, small: Labels, now: datetime) -> bool:
    """Without a call: nothing may be told, or need be."""
    reason = ""
    if row.silence.ends_at > now:
        try:
            reason = _why_not(silences.matchers_of(row.silence), small)
        except InvalidMatcher as error:
            reason = f"it cannot be read: {error}"[:300]
        if not reason:
            return False
    elif row.remote_id:
        return False
    row.reason, row.tried_at, row.mirrored_at = reason, now, row.silence.updated_at
    row.save(update_fields=["reason", "tried_at", "mirrored_at"])
    return True


def _why_not(matchers: list[Matcher], small: Labels) -> str:
    if any(one.name == INCIDENT for one in matchers):
        return OF_ONE
    return TOO_SMALL if names_one_of(matchers, small) else ""


def _tell(row: SilenceMirror, now: datetime) -> DeliveryError | None:
    """No transaction is open meanwhile. Sets the row's id there."""
    silence = row.silence
    try:
        there = _alertmanager(row.channel, now)
        if silence.ends_at <= now:
            there.expire_silence(row.remote_id, now=now)
        else:
            row.remote_id = there.put_silence(shape_of(silence, row.remote_id), now=now)[:100]
    except DeliveryError as error:
        ids = {"silence_id": str(row.silence_id), "channel_id": row.channel_id}
        log.warning("silence.not_mirrored", reason=error.reason[:300], **ids)
        return error
    return None


def _record(taken: _Taken, error: DeliveryError | None, now: datetime) -> None:
    """Unless its lease ran out, and another worker has it now."""
    row = taken.row
    if row is None:
        return
    values: dict[str, Any] = (
        {"reason": error.reason[:300] or "unknown"}
        if error
        else {
            "reason": "",
            "mirrored_at": taken.state,
            "remote_id": row.remote_id,
        }
    )
    with transaction.atomic():
        for health in endpoints.locked([row.channel_id]).values():
            endpoints.judge(health, [endpoints.Call(error, taken.is_probe)], now)
        SilenceMirror.objects.filter(pk=row.pk, tried_at=taken.at).update(**values)


def shape_of(silence: Silence, remote_id: str = "") -> dict[str, Any]:
    """As API v2 takes it. The comment stays here: it is a person's own words."""
    where = settings.BASE_URL + reverse("admin:monitoring_silence_changelist")
    shape: dict[str, Any] = {
        "matchers": [{**one.as_api(), "name": label_name(one.name)} for one in silences.matchers_of(silence)],
        "startsAt": _iso(silence.starts_at),
        "endsAt": _iso(silence.ends_at),
        "createdBy": silence.created_by or "TriageOps",
        "comment": f"Mirrored from TriageOps: {where}",
    }
    return {**shape, "id": remote_id} if remote_id else shape


def unnamed() -> Labels:
    """Labels of groups that were too small to be named in every incident of theirs, open or over."""
    watched = Incident.objects.of_monitors().exclude(labels={})
    is_named = Q(effect__n__gte=SMALLEST_NAMED_GROUP) | Q(effect__n=0)
    named, small = _pairs_of(watched.filter(is_named)), _pairs_of(watched.exclude(is_named))
    for halted in Incident.objects.of_experiments().exclude(labels={}):
        (small if is_small(halted) else named).update(_pairs(halted.labels))
    return small - named


def names_one_of(matchers: Iterable[Matcher], small: Labels) -> bool:
    """Whether a matcher says of such a group what it does not say of just any: `=~".+"` names none, `!="rare"` does."""
    anything = [(one, one.matches({one.name: _ANYTHING})) for one in matchers]
    return any(
        name == one.name and one.matches({name: value}) != usual
        for one, usual in anything
        for name, value in small
    )


def _pairs_of(incidents: QuerySet[Incident]) -> set[tuple[str, str]]:
    rows = incidents.order_by().values_list("labels", flat=True).distinct()
    return {pair for labels in rows for pair in _pairs(labels)}


def _pairs(labels: Mapping[str, object]) -> set[tuple[str, str]]:
    return {(name, str(value)) for name, value in labels.items()}


def _alertmanager(channel: Channel, now: datetime) -> Alertmanager:
    made = registry.make(channel.kind, settings_of(channel, now))
    if not isinstance(made, Alertmanager):
        raise DeliveryError(f"a channel of the kind “{channel.kind}” knows no silences", permanent=True)
    return made


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
