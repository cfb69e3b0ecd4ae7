"""How all monitors stand: what they promised and raised, how each of their slices stands."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet, Sum

from monitoring import budget
from monitoring.digest import Found, Place, discoveries
from monitoring.models import (
    CANARY_METRIC,
    PLANTED,
    BudgetEntry,
    Incident,
    IncidentState,
    Marker,
    Monitor,
    MonitorSlice,
    Resolution,
    Signal,
)
from monitoring.models.monitor import BUDGET_DAYS, WATCHING
from monitoring.slices import ALL, OTHER, described
from monitoring.sources import maturity_of

SILENT_AFTER = timedelta(hours=2)
State = Literal["incident", "evidence", "no_data", "frozen", "off"]


@dataclass(frozen=True)
class Cell:
    """One slice. share: of the alarm line; None without evidence."""

    key: str
    name: str
    state: State
    log_evidence: float | None = None
    incident: str = ""

    @property
    def share(self) -> float | None:
        return None if self.log_evidence is None else math.exp(min(0.0, self.log_evidence))


@dataclass(frozen=True)
class Row:
    """One monitor over the last 30 days, and its slices: the whole first, then by evidence."""

    monitor: Monitor
    cells: Sequence[Cell]
    expected: float = 0.0
    alarm_count: int = 0
    signal_count: int = 0
    inhibited_count: int = 0
    false_count: int = 0

    @property
    def has_incident(self) -> bool:
        return any(one.state == "incident" for one in self.cells)

    @property
    def highest(self) -> float:
        return max(
            (one.log_evidence for one in self.cells if one.log_evidence is not None), default=-math.inf
        )

    @property
    def rank(self) -> tuple[bool, bool, float, str]:
        return not self.has_incident, not self.monitor.is_watching, -self.highest, self.monitor.name


class Day(NamedTuple):
    day: date
    expected: float
    alarm_count: int
    signal_count: int
    inhibited_count: int


@dataclass(frozen=True)
class Fleet:
    """month: since the first of the month. days: of the last 30 days or of the month, those that have entries."""

    month: budget.Ledger
    rows: Sequence[Row]
    days: Sequence[Day]
    digest: Sequence[Found]
    place_count: int


def read(now: datetime) -> Fleet:
    """Seven queries, whatever the number of monitors."""
    monitors = list(Monitor.objects.exclude(metric=CANARY_METRIC))
    first = min(now.date() - timedelta(days=BUDGET_DAYS - 1), now.date().replace(day=1))
    days = _days(first)
    judged = _incidents(now)
    places = _places()
    rows = _rows(monitors, places, judged, now)
    by_id = {row.pk: row for row in monitors if row.is_watching}
    live = [place for place in places if place.monitor_id in by_id]
    told = {(one.monitor_id, one.slice_key) for one in judged if one.is_open}
    return Fleet(
        month=_month(days, judged, monitors, now),
        rows=sorted(rows, key=lambda row: row.rank),
        days=days,
        digest=discoveries([one for one in live if (one.monitor_id, one.key) not in told], by_id, now),
        place_count=len(live),
    )


def _days(first: date) -> list[Day]:
    sums = {name: Sum(name) for name in Day._fields[1:]}
    found = _entries(first).order_by("day").values("day")
    return [Day(*row) for row in found.annotate(**_renamed(sums)).values_list("day", *_renamed(sums))]


def _entries(since: date) -> QuerySet[BudgetEntry]:
    """Of all but the canary, whose alarms are of drift that is planted every day."""
    return BudgetEntry.objects.filter(day__gte=since).exclude(monitor__metric=CANARY_METRIC)


def _renamed(sums: Mapping[str, Any]) -> dict[str, Any]:
    return {f"all_{name}": value for name, value in sums.items()}


def _month(
    days: Sequence[Day], judged: Sequence[Incident], monitors: Sequence[Monitor], now: datetime
) -> budget.Ledger:
    own = [day for day in days if day.day >= now.date().replace(day=1)]
    false = [
        one
        for one in judged
        if one.resolution == Resolution.FALSE_POSITIVE and one.opened_at > now - timedelta(days=now.day)
    ]
    return budget.Ledger(
        sum(day.expected for day in own),
        sum(row.promised_alarms for row in monitors if row.is_watching),
        sum(day.alarm_count for day in own),
        sum(day.signal_count for day in own),
        sum(day.inhibited_count for day in own),
        len(false),
    )


def _incidents(now: datetime) -> list[Incident]:
    """Those that are open, and those of 30 days that a person called false."""
    false = Q(
        resolution=Resolution.FALSE_POSITIVE, opened_at__gt=now - timedelta(days=max(BUDGET_DAYS, now.day))
    )
    rows = (
        Incident.objects.of_monitors()
        .exclude(PLANTED)
        .filter(~Q(state__in=(IncidentState.RESOLVED, IncidentState.SUSPECT)) | false)
    )
    return list(
        rows.exclude(signal=Signal.CHECK).only("monitor_id", "slice_key", "state", "resolution", "opened_at")
    )


def _places() -> list[Place]:
    rows = MonitorSlice.objects.tracked().exclude(monitor__metric=CANARY_METRIC).order_by("monitor_id", "key")
    return [Place(*row) for row in rows.values_list(*Place._fields)]


def _rows(
    monitors: Sequence[Monitor], places: Sequence[Place], judged: Sequence[Incident], now: datetime
) -> list[Row]:
    names = Day._fields[1:]
    since = now.date() - timedelta(days=BUDGET_DAYS - 1)
    sums = _renamed({name: Sum(name) for name in names})
    spent = {
        pk: numbers
        for pk, *numbers in _entries(since)
        .order_by("monitor_id")
        .values("monitor_id")
        .annotate(**sums)
        .values_list("monitor_id", *sums)
    }
    of: dict[int, list[Place]] = defaultdict(list)
    for place in places:
        of[place.monitor_id].append(place)
    is_open = {(one.monitor_id, one.slice_key): str(one.pk) for one in judged if one.is_open}
    limit = now - timedelta(days=BUDGET_DAYS)
    false = [one.monitor_id for one in judged if not one.is_open and one.opened_at > limit]
    markers = list(Marker.objects.between(now - timedelta(seconds=settings.BUCKET_SECONDS), now))
    return [
        Row(
            row,
            _cells(row, of[row.pk], is_open, markers, now),
            **dict(zip(names, spent.get(row.pk, (0.0, 0, 0, 0)), strict=True)),
            false_count=false.count(row.pk) if false else 0,
        )
        for row in monitors
    ]


def _cells(
    monitor: Monitor,
    places: Sequence[Place],
    is_open: Mapping[tuple[int | None, str], str],
    markers: Sequence[Marker],
    now: datetime,
) -> list[Cell]:
    hours = monitor.maturity_hours
    age = maturity_of(monitor.metric, None if hours is None else timedelta(hours=hours))
    found = []
    for place in places:
        incident = is_open.get((monitor.pk, place.key), "")
        last = place.bucket_at if monitor.kind == "volume" else place.last_row_at
        state: State = "evidence"
        if incident:
            state = "incident"
        elif not monitor.is_watching:
            state = "off"
        elif markers and any(marker.concerns(place.labels) for marker in markers):
            state = "frozen"
        elif last is None or last < now - age - SILENT_AFTER:
            state = "no_data"
        name = "all records" if place.key == ALL else described(place.labels, place.key)
        found.append(Cell(place.key, name, state, place.log_evidence, incident))
    return sorted(found, key=lambda one: (one.key != ALL, one.key == OTHER, -(one.share or 0.0), one.key))


class Used(NamedTuple):
    """False alarms: promised since the first of the month, and in 30 days."""

    promised: float
    per_30_days: float


_USED = """
SELECT sum(m.whole_alarms + m.slice_alarms * CASE WHEN m.split_by = '{}' THEN 0 ELSE m.max_slices + 1 END),
    (SELECT coalesce(sum(e.expected), 0) FROM monitoring_budgetentry e JOIN monitoring_monitor w ON w.id = e.monitor_id
     WHERE e.day >= %(first)s AND w.metric <> %(canary)s)
FROM monitoring_monitor m WHERE m.state = ANY(%(watching)s) AND m.metric <> %(canary)s
"""


def used_this_month(now: datetime) -> Used | None:
    """One query, for the home page; None while nothing is watched."""
    first, watching = now.date().replace(day=1), [state.value for state in WATCHING]
    values: dict[str, Any] = {"first": first, "canary": CANARY_METRIC, "watching": watching}
    with connection.cursor() as cursor:
        cursor.execute(_USED, values)
        per_30_days, promised = cursor.fetchone()
    return None if per_30_days is None else Used(promised, per_30_days)
