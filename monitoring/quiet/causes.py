"""What holds incidents back at a time: silences, open maintenance windows, and other incidents. Nothing is written."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db.models import F, Model, Q

from monitoring.history import flags
from monitoring.labels import labels_of, matched_labels_of
from monitoring.models import (
    CANARY_METRIC,
    Flag,
    Incident,
    IncidentFlag,
    InhibitRule,
    MaintenanceWindow,
    Signal,
    Silence,
)
from monitoring.models.incident import IncidentQuerySet
from monitoring.quiet import windows
from monitoring.quiet.inhibition import EQUAL, ERROR, OF_ONE_CHECK, OPERATIONS, SILENT, Party, Rule, Sources
from monitoring.routing.clock import InvalidHours
from monitoring.routing.matchers import InvalidMatcher, Matcher, from_api, matches_all, parse
from monitoring.slices import ALL
from monitoring.sources import VOLUME

log = structlog.get_logger(__name__)

UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
"""What a row raises whose stored values are not of the shape that they must have."""

_Row = TypeVar("_Row", bound=Model)
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Cause:
    """One reason for a flag. cause: a reference; why: in words that may leave the product, so not those of a comment."""

    kind: Flag
    cause: str
    why: str
    who: str = ""
    until: datetime | None = None

    @property
    def key(self) -> str:
        """The id within the reference."""
        return self.cause.partition(":")[2]


Causes = dict[Flag, list[Cause]]
"""By flag, the one that is noted first."""


@dataclass(frozen=True)
class Held:
    """A silence or an open window, with its matchers read."""

    matchers: tuple[Matcher, ...]
    cause: Cause


@dataclass
class Standing:
    """All that may hold something back at one time, the longest first."""

    held: list[Held] = field(default_factory=list)
    rules: tuple[Rule, ...] = ()


def read(now: datetime) -> Standing:
    """Three queries. What cannot be read holds nothing back, and says so in the log."""
    open_rows = MaintenanceWindow.objects.filter(is_enabled=True, starts_at__lte=now)
    found = [_read(window, now, _of_window) for window in open_rows]
    found += [_read(silence, now, _of_silence) for silence in Silence.objects.active(now)]
    held = [one for one in found if one is not None]
    held.sort(key=lambda one: (one.cause.until or now, one.cause.cause), reverse=True)
    rules = (_read(row, now, _of_rule) for row in InhibitRule.objects.filter(is_enabled=True))
    return Standing(held, tuple(rule for rule in rules if rule is not None))


def of_one(incident: Incident, now: datetime) -> Causes:
    """Everything that holds for it."""
    standing = read(now)
    return of_known(incident, standing, _sources_for(incident, standing.rules))


def of_all(incidents: Iterable[Incident], now: datetime) -> list[Causes]:
    """For all unresolved incidents, as `unresolved` reads them."""
    rows, standing = list(incidents), read(now)
    return of_each(rows, standing, sources_among(rows, standing.rules))


def sources_among(incidents: Iterable[Incident], rules: tuple[Rule, ...]) -> Sources:
    """Those of them that may hold others back."""
    sources = Sources(rules, held_by())
    parties = (_unless_broken(one, party_of) for one in incidents if one.is_open)
    sources.add(party for party in parties if party is not None)
    return sources


def of_each(incidents: Iterable[Incident], standing: Standing, sources: Sources) -> list[Causes]:
    """Nothing for one that cannot be read: the others must not wait for it."""
    found = (_unless_broken(one, lambda one: of_known(one, standing, sources)) for one in incidents)
    return [{} if causes is None else causes for causes in found]


def strongest(causes: Causes) -> Cause | None:
    return next((causes[kind][0] for kind in flags.STRENGTH if kind in causes), None)


def unresolved() -> IncidentQuerySet:
    """Open incidents and suspicions, without what is large, and with the trouble of a check."""
    rows: IncidentQuerySet = (
        Incident.objects.unresolved()
        .select_related("monitor")
        .defer("evidence")
        .annotate(trouble=F("evidence__trouble"))
    )
    return rows


def party_of(incident: Incident) -> Party:
    """The incident with its monitor, read by `unresolved` or whole."""
    monitor = incident.monitor
    is_whole = "evidence" not in incident.get_deferred_fields()
    trouble = incident.evidence.get("trouble") if is_whole else getattr(incident, "trouble", None)
    return Party(
        incident.pk,
        labels_of(incident),
        incident.slice_key,
        incident.signal,
        incident.severity,
        incident.opened_at,
        incident.monitor_id,
        monitor.metric if monitor is not None else "",
        tuple(str(incident.labels.get(name, "")) for name in EQUAL),
        str(trouble or ""),
        incident.effect.get("current"),
    )


def of_known(incident: Incident, standing: Standing, sources: Sources) -> Causes:
    party = party_of(incident)
    found: Causes = {}
    if party.metric == CANARY_METRIC and party.signal != Signal.CHECK:
        # The product's own test of its delivery: nobody hears it, and holding it back would look like a failure.
        return found
    labels = matched_labels_of(incident, party.labels)
    for held in standing.held:
        if matches_all(held.matchers, labels):
            found.setdefault(held.cause.kind, []).append(held.cause)
    inhibition = sources.holding(party)
    if inhibition is not None:
        who = inhibition.source.labels["alertname"]
        cause = Cause(Flag.INHIBITED, f"incident:{inhibition.source.id}", inhibition.why, who)
        found[Flag.INHIBITED] = [cause]
    check = sources.check_of(party)
    if check is not None and check.trouble == SILENT:
        found[Flag.NO_DATA] = [Cause(Flag.NO_DATA, f"incident:{check.id}", "no records come any more")]
    return found


def _sources_for(incident: Incident, rules: tuple[Rule, ...]) -> Sources:
    """Only those that could hold this one back: in a storm there are many others."""
    party = party_of(incident)
    rows = unresolved().open()
    if not any(matches_all(rule.target, party.labels) for rule in rules):
        if not party.is_of_records:
            return Sources(rules)
        wanted = Q(monitor=incident.monitor_id, slice_key__in=(ALL, OF_ONE_CHECK))
        if party.metric not in OPERATIONS:
            wanted |= Q(monitor__metric__in=(ERROR, VOLUME)) & _same_place(party)
        rows = rows.filter(wanted)
    found = [party_of(one) for one in rows if one.pk != incident.pk]
    sources = Sources(rules, held_by() if found else {})
    sources.add(found)
    return sources


def _same_place(party: Party) -> Q:
    same = Q()
    for name, value in zip(EQUAL, party.place, strict=True):
        is_equal = Q(**{f"labels__{name}": value})
        same &= is_equal if value else is_equal | ~Q(labels__has_key=name)
    return same


def held_by() -> dict[UUID, UUID]:
    """Which open incident is held back by which other."""
    rows = IncidentFlag.objects.active().filter(kind=Flag.INHIBITED)
    found = {}
    for pk, cause in rows.values_list("incident", "cause"):
        with suppress(ValueError):
            found[pk] = UUID(cause.removeprefix("incident:"))
    return found


def _of_silence(silence: Silence, _now: datetime) -> Held:
    why = f"a silence by {silence.created_by}" if silence.created_by else "a silence"
    cause = Cause(Flag.SILENCED, f"silence:{silence.pk}", why, silence.created_by, silence.ends_at)
    return Held(tuple(map(from_api, silence.matchers)), cause)


def _of_window(window: MaintenanceWindow, now: datetime) -> Held | None:
    span = windows.open_at(window, now)
    if span is None:
        return None
    why = f"the maintenance window “{window.name}”"
    cause = Cause(Flag.MAINTENANCE, f"window:{window.pk}", why, window.created_by, span[1])
    return Held(windows.matchers_of(window), cause)


def _of_rule(row: InhibitRule, _now: datetime) -> Rule:
    source, target = (tuple(_matchers(one)) for one in (row.source_matchers, row.target_matchers))
    return Rule(row.name, source, target, tuple(map(str, row.equal)))


def _matchers(stored: Iterable[Any]) -> Iterator[Matcher]:
    """As people write them, or in the shape of Alertmanager's API."""
    for one in stored:
        yield from parse(one) if isinstance(one, str) else [from_api(one)]


def _unless_broken(incident: Incident, reader: Callable[[Incident], _Found]) -> _Found | None:
    try:
        return reader(incident)
    except UNREADABLE:
        log.exception("suppression.broken", incident_id=str(incident.pk))
        return None


def _read(row: _Row, now: datetime, reader: Callable[[_Row, datetime], _Found]) -> _Found | None:
    """One broken row must not keep the others from holding."""
    try:
        return reader(row, now)
    except (InvalidMatcher, InvalidHours) as error:
        ids = {"row": f"{row._meta.model_name}:{row.pk}"}
        log.warning("suppression.unreadable", reason=str(error), **ids)
        return None
