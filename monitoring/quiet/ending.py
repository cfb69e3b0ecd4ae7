"""What would be told if a silence ended now. Nothing is written."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from monitoring.labels import matched_labels_of
from monitoring.models import Incident, MessageStatus, OutboxMessage, Silence
from monitoring.quiet import causes, silences
from monitoring.routing.matchers import matches_all


@dataclass(frozen=True)
class Ending:
    """Incidents that a silence covers. told: with the channels that hear of it; held: with what else holds it back.

    silent: nothing of them waits to be told.
    """

    told: tuple[tuple[Incident, tuple[str, ...]], ...] = ()
    held: tuple[tuple[Incident, str], ...] = ()
    silent: tuple[Incident, ...] = ()


def ending(silence: Silence, now: datetime) -> Ending:
    """Raises InvalidMatcher."""
    if not silence.starts_at <= now < silence.ends_at:
        return Ending()
    wanted = silences.matchers_of(silence)
    rows = list(causes.unresolved().genuine().order_by("-id"))
    covered = [one for one in rows if matches_all(wanted, matched_labels_of(one))]
    standing = causes.read(now)
    rest = replace(
        standing, held=[one for one in standing.held if one.cause.cause != f"silence:{silence.pk}"]
    )
    found = causes.of_each(covered, rest, causes.sources_among(rows, rest.rules))
    others = {one.pk: causes.strongest(of_it) for one, of_it in zip(covered, found, strict=True)}
    waiting = _waiting([one.pk for one in covered])
    return Ending(
        told=tuple((one, waiting[one.pk]) for one in covered if one.pk in waiting and not others[one.pk]),
        held=tuple((one, cause.why) for one in covered if (cause := others[one.pk]) is not None),
        silent=tuple(one for one in covered if one.pk not in waiting and not others[one.pk]),
    )


def _waiting(ids: list[UUID]) -> dict[UUID, tuple[str, ...]]:
    """The channels that are to be told what is held back, by incident."""
    rows = OutboxMessage.objects.filter(incident__in=ids, status=MessageStatus.SUPPRESSED)
    found: dict[UUID, set[str]] = defaultdict(set)
    for pk, channel in rows.order_by().values_list("incident", "channel__name").distinct():
        found[pk].add(channel)
    return {pk: tuple(sorted(names)) for pk, names in found.items()}
