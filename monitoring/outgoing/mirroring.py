"""Our silences, as the Alertmanagers know them that we send to: what fires there is silenced there too.

A silence is told again until the Alertmanager has its present state; why it has not is kept and shown.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.urls import reverse

from monitoring.channels import registry
from monitoring.channels.alertmanager import Alertmanager, label_name
from monitoring.channels.channel import DeliveryError
from monitoring.labels import is_small
from monitoring.models import Channel, Incident, Silence, SilenceMirror
from monitoring.outgoing.notices import settings_of
from monitoring.quiet import silences, suppression

log = structlog.get_logger(__name__)

RETRY = timedelta(seconds=60)
KEPT = timedelta(days=5)
"""An ended silence is no longer told after that long: an Alertmanager forgets it then as well."""
MOST = 200
"""Calls of one sweep."""
TOO_SMALL = "it names a group that is too small to be named outside"


def mirror(now: datetime) -> int:
    """Tell every enabled Alertmanager channel what it does not know yet; how many silences were told."""
    channels = list(Channel.objects.enabled().filter(kind=Alertmanager.name))
    if not channels:
        return 0
    _add_missing(channels, now)
    tried_lately = Q(tried_at__gt=now - RETRY) & ~Q(reason="")
    due = (
        SilenceMirror.objects.filter(channel__in=channels, silence__ends_at__gt=now - KEPT)
        .filter(Q(mirrored_at=None) | Q(mirrored_at__lt=F("silence__updated_at")))
        .exclude(tried_lately)
    )
    small = [one for one in suppression.matched_by([]) if is_small(one)] if due.exists() else []
    told, unreachable = 0, set[int]()
    for pk, channel in due.order_by("tried_at", "pk").values_list("pk", "channel")[:MOST]:
        if channel not in unreachable:
            reached = _mirror_one(pk, small, now)
            told += bool(reached)
            if reached is False:
                # The others would wait for it in vain as well.
                unreachable.add(channel)
    return told


def _add_missing(channels: Iterable[Channel], now: datetime) -> None:
    """What ended before a channel was there need not be told."""
    for channel in channels:
        unknown = Silence.objects.filter(ends_at__gt=now).exclude(mirrors__channel=channel)
        rows = [SilenceMirror(silence=one, channel=channel) for one in unknown]
        SilenceMirror.objects.bulk_create(rows, ignore_conflicts=True)


def _mirror_one(mirror_id: int, small: Iterable[Incident], now: datetime) -> bool | None:
    """Whether it was told; None: another worker is at it, or nothing may be told.

    Under the row's lock, which others skip, so that a silence is not made twice there.
    """
    with transaction.atomic():
        rows = SilenceMirror.objects.select_for_update(skip_locked=True, of=("self",))
        row = rows.select_related("silence", "channel").filter(pk=mirror_id).first()
        if row is None:
            return None
        state_told = row.silence.updated_at
        row.tried_at = now
        reached: bool | None = False
        try:
            reached = _tell(row, small, now)
        except DeliveryError as error:
            row.reason = error.reason[:300]
            log.warning(
                "silence.not_mirrored",
                silence_id=str(row.silence_id),
                channel_id=row.channel_id,
                reason=row.reason,
            )
        else:
            row.mirrored_at = state_told
        row.save(update_fields=["remote_id", "mirrored_at", "tried_at", "reason"])
    return reached


def _tell(row: SilenceMirror, small: Iterable[Incident], now: datetime) -> bool | None:
    """None: nothing may be told, or need be. Raises DeliveryError."""
    silence = row.silence
    row.reason = ""
    if silence.ends_at <= now:
        if not row.remote_id:
            return None
        _alertmanager(row.channel, now).expire_silence(row.remote_id, now=now)
        return True
    if _names_one_of(silence, small):
        row.reason = TOO_SMALL
        return None
    row.remote_id = _alertmanager(row.channel, now).put_silence(shape_of(silence, row.remote_id), now=now)[
        :100
    ]
    return True


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


def _names_one_of(silence: Silence, small: Iterable[Incident]) -> bool:
    """Whether it says of which group a small incident is."""
    named = {(one.name, one.value) for one in silences.matchers_of(silence) if one.is_equal}
    return any(named & set(_texts(one.labels)) for one in small)


def _texts(labels: Mapping[str, object]) -> set[tuple[str, str]]:
    return {(name, str(value)) for name, value in labels.items()}


def _alertmanager(channel: Channel, now: datetime) -> Alertmanager:
    made = registry.make(channel.kind, settings_of(channel, now))
    if not isinstance(made, Alertmanager):
        raise DeliveryError(f"a channel of the kind “{channel.kind}” knows no silences", permanent=True)
    return made


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
