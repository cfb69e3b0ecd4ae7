"""Silences: made, changed and ended by people and by Alertmanager's API, with Alertmanager's meaning.

Messages are held back in the transaction of the change. Flags, and what is given back, follow: at once for up to AT_ONCE
open incidents, for the rest within seconds by the sweep.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction

from monitoring.labels import INCIDENT
from monitoring.models import Incident, IncidentState, Silence
from monitoring.quiet import suppression
from monitoring.quiet.everything import takes_any
from monitoring.quiet.waking import mirror_soon
from monitoring.routing.matchers import MATCHERS_MAX, Matcher, Operator, as_text, from_api

log = structlog.get_logger(__name__)

AT_ONCE = 50
COMMENT_MAX, NAME_MAX = 1_000, 200
LONGEST = timedelta(days=366)
MOST = 1_000
"""Silences that hold or are to hold, at one time."""


class InvalidSilence(ValueError):
    """What is wrong with a silence. field: where."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


class IncidentOver(InvalidSilence):
    """The only incident that it would be about is over."""


class SilenceOver(Exception):
    """It has ended already."""


def make(
    matchers: Iterable[Matcher],
    *,
    starts_at: datetime,
    ends_at: datetime,
    comment: str,
    created_by: str,
    now: datetime,
) -> Silence:
    """A new one, which holds from now on or from its start; a start in the past is now. Raises InvalidSilence."""
    wanted = list(matchers)
    starts_at = max(starts_at, now)
    check(wanted, starts_at=starts_at, ends_at=ends_at, comment=comment, created_by=created_by, now=now)
    with suppression.changing():
        if Silence.objects.filter(ends_at__gt=now).count() >= MOST:
            raise InvalidSilence(
                "matchers", f"There are {MOST} silences already; end some that nobody needs."
            )
        return _create(wanted, starts_at, ends_at, comment, created_by, now)


def change(
    silence_id: UUID,
    matchers: Iterable[Matcher],
    *,
    starts_at: datetime,
    ends_at: datetime,
    comment: str,
    created_by: str,
    now: datetime,
) -> Silence:
    """Another end or comment keeps the silence; other matchers, or another start while it holds, end it and make a new one.

    Raises InvalidSilence or Silence.DoesNotExist.
    """
    wanted = list(matchers)
    with suppression.changing():
        silence = Silence.objects.select_for_update().get(pk=silence_id)
        if not _is_same(silence, wanted, starts_at, ends_at, now):
            begins = max(starts_at, now)
            check(wanted, starts_at=begins, ends_at=ends_at, comment=comment, created_by=created_by, now=now)
            if silence.ends_at > now:
                _end(silence, created_by, now)
            return _create(wanted, begins, ends_at, comment, created_by, now)
        check(wanted, starts_at=starts_at, ends_at=ends_at, comment=comment, created_by=created_by, now=now)
        if silence.starts_at > now:
            silence.starts_at = starts_at
        silence.ends_at, silence.comment, silence.created_by = ends_at, comment, created_by
        silence.updated_at = now
        silence.save(update_fields=["starts_at", "ends_at", "comment", "created_by", "updated_at"])
        suppression.hold_at_once(now)
        _after_commit(now)
        transaction.on_commit(partial(log.info, "silence.changed", silence_id=str(silence.pk)))
    return silence


def end(silence_id: UUID, *, by: str, now: datetime) -> Silence:
    """It holds no longer; what is still true is told. Raises SilenceOver or Silence.DoesNotExist."""
    with suppression.changing():
        silence = Silence.objects.select_for_update().get(pk=silence_id)
        if silence.ends_at <= now:
            raise SilenceOver(f"This silence ended at {silence.ends_at:%Y-%m-%d %H:%M} UTC.")
        _end(silence, by, now)
    return silence


def again(silence_id: UUID, *, length: timedelta, created_by: str, now: datetime) -> Silence:
    """The same once more, from now on. Raises InvalidSilence or Silence.DoesNotExist."""
    former = Silence.objects.get(pk=silence_id)
    matchers = matchers_of(former)
    incident_id = incident_in(matchers)
    incident = Incident.objects.filter(pk=incident_id).first() if incident_id else None
    if incident is not None:
        exactly(incident)
    return make(
        matchers,
        starts_at=now,
        ends_at=now + length,
        comment=former.comment,
        created_by=created_by,
        now=now,
    )


def matchers_of(silence: Silence) -> list[Matcher]:
    return [from_api(one) for one in silence.matchers]


def exactly(incident: Incident) -> list[Matcher]:
    """The matcher of this incident and of no other, whatever becomes of its labels. Raises IncidentOver."""
    if incident.state == IncidentState.RESOLVED:
        raise IncidentOver(
            "matchers",
            "This incident is over: nobody is told more of it than that, and it has nothing to silence.",
        )
    return [Matcher(INCIDENT, Operator.EQUAL, str(incident.pk))]


def incident_in(matchers: Iterable[Matcher]) -> UUID | None:
    """The only one that they are about; None: they are about labels."""
    named = [one.value for one in matchers if one.name == INCIDENT and one.op == Operator.EQUAL]
    try:
        return UUID(named[0]) if named else None
    except ValueError:
        return None


def check(
    matchers: Sequence[Matcher],
    *,
    starts_at: datetime,
    ends_at: datetime,
    comment: str,
    created_by: str,
    now: datetime,
) -> None:
    """Raises InvalidSilence."""
    _check_matchers(matchers)
    if ends_at <= now:
        raise InvalidSilence("ends_at", "The end cannot be in the past.")
    if ends_at <= starts_at:
        raise InvalidSilence("ends_at", "It must end after it begins.")
    if ends_at - now > LONGEST:
        raise InvalidSilence(
            "ends_at", f"A silence ends within {LONGEST.days} days; change the routes instead."
        )
    for name, text, most in (("comment", comment, COMMENT_MAX), ("created_by", created_by, NAME_MAX)):
        if len(text) > most:
            raise InvalidSilence(name, f"The text has {len(text)} characters; the most is {most}.")
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidSilence(name, "The text holds a NUL character or half a surrogate pair; remove it.")


def _check_matchers(matchers: Sequence[Matcher]) -> None:
    if not matchers:
        raise InvalidSilence(
            "matchers", 'A silence needs at least one matcher, such as alertname="helpfulness".'
        )
    if len(matchers) > MATCHERS_MAX:
        raise InvalidSilence("matchers", f"There are {len(matchers)} matchers; the most is {MATCHERS_MAX}.")
    if all(one.matches({}) for one in matchers):
        raise InvalidSilence(
            "matchers",
            "At least one matcher must not match the empty string: these would silence nearly everything.",
        )
    if all(one.matches({}) or takes_any(one) for one in matchers):
        raise InvalidSilence(
            "matchers",
            "These match whatever the labels say, and would silence nearly everything: name values, or plan a maintenance "
            "window.",
        )


def state_of(silence: Silence, now: datetime) -> str:
    """active, pending or expired, in Alertmanager's words."""
    if silence.ends_at <= now:
        return "expired"
    return "active" if silence.starts_at <= now else "pending"


def _create(
    matchers: Sequence[Matcher],
    starts_at: datetime,
    ends_at: datetime,
    comment: str,
    created_by: str,
    now: datetime,
) -> Silence:
    silence = Silence.objects.create(
        matchers=[one.as_api() for one in matchers],
        starts_at=starts_at,
        ends_at=ends_at,
        comment=comment,
        created_by=created_by,
        created_at=now,
        updated_at=now,
    )
    suppression.hold_at_once(now)
    _after_commit(now)
    transaction.on_commit(partial(log.info, "silence.made", silence_id=str(silence.pk)))
    return silence


def _end(silence: Silence, by: str, now: datetime) -> None:
    silence.starts_at, silence.ends_at = min(silence.starts_at, now), now
    silence.updated_at, silence.ended_by = now, by[:NAME_MAX]
    silence.save(update_fields=["starts_at", "ends_at", "updated_at", "ended_by"])
    _after_commit(now)
    transaction.on_commit(partial(log.info, "silence.ended", silence_id=str(silence.pk)))


def _is_same(
    silence: Silence, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, now: datetime
) -> bool:
    """Whether it can be the same silence afterwards, as Alertmanager decides it."""
    state = state_of(silence, now)
    if state == "expired" or as_text(matchers_of(silence)) != as_text(matchers):
        return False
    if state == "pending":
        return starts_at >= now
    return int(starts_at.timestamp()) == int(silence.starts_at.timestamp()) and ends_at >= now


def _after_commit(now: datetime) -> None:
    """By then it can be seen by those that open incidents, so that none slips through."""
    transaction.on_commit(lambda: suppression.tend(now, AT_ONCE) and None)
    transaction.on_commit(mirror_soon)
