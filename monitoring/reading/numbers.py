"""Incidents and alerts month by month: how many, how soon found, acknowledged and over, and what was sent for them.

Months are those of UTC. Suspicions and what the canary planted are left out everywhere.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from django.db.models import (
    Aggregate,
    Case,
    CharField,
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import TruncMonth

from monitoring.models import (
    CANARY_METRIC,
    BudgetEntry,
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Resolution,
    Severity,
    Signal,
    Usefulness,
)
from monitoring.reading.noise import NOTHING, Judgements

MONTHS = 12
MOST_MONTHS = 36
ORIGINS = ("monitor", "experiment", "reported")
_PLANTED_MESSAGE = Q(incident__monitor__metric=CANARY_METRIC) & ~Q(incident__signal=Signal.CHECK)


@dataclass(frozen=True)
class Durations:
    """Seconds. n: of how many incidents; None where there is none."""

    median: float | None = None
    p90: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Month:
    """False alarms: incidents that a person called false; promised: most of them on average, by the budget.

    detect: without reports that name no onset. resolve: of those that are over.
    """

    start: date
    severities: Mapping[str, int] = field(default_factory=dict)
    origins: Mapping[str, int] = field(default_factory=dict)
    detect: Durations = Durations()
    acknowledge: Durations = Durations()
    resolve: Durations = Durations()
    judgements: Judgements = NOTHING
    false_count: int = 0
    promised: float = 0.0
    sent_count: int = 0
    reminder_count: int = 0
    dead_count: int = 0

    @property
    def incident_count(self) -> int:
        return sum(self.severities.values())

    @property
    def acknowledged_share(self) -> float | None:
        return self.acknowledge.n / self.incident_count if self.incident_count else None


class Percentile(Aggregate):
    """PostgreSQL's percentile_cont."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"

    def __init__(self, expression: Any, share: float, **extra: Any) -> None:
        super().__init__(expression, share=share, **extra)


def read(now: datetime, months: int = MONTHS) -> list[Month]:
    """The last months, the newest first; this month so far. Four queries."""
    starts = starts_of(now, months)
    since = datetime(starts[-1].year, starts[-1].month, 1, tzinfo=UTC)
    counts, facts = _counts(since), _facts(since)
    sent, promised = _sent(since), _promised(starts[-1])
    found = []
    for start in starts:
        severities, origins = counts.get(start, ({}, {}))
        values: dict[str, Any] = {**facts.get(start, {}), **sent.get(start, {})}
        found.append(Month(start, severities, origins, promised=promised.get(start, 0.0), **values))
    return found


def starts_of(now: datetime, months: int) -> list[date]:
    """First days of the last months, the newest first."""
    at = now.astimezone(UTC)
    number = at.year * 12 + at.month - 1
    return [date((number - back) // 12, (number - back) % 12 + 1, 1) for back in range(months)]


def _incidents(since: datetime) -> QuerySet[Incident]:
    found = Incident.objects.genuine().exclude(state=IncidentState.SUSPECT)
    told = found.exclude(resolution=Resolution.FADED).filter(opened_at__gte=since)
    return told.annotate(month=TruncMonth("opened_at", tzinfo=UTC)).order_by()


def _counts(since: datetime) -> dict[date, tuple[dict[str, int], dict[str, int]]]:
    origin = Case(
        When(monitor__isnull=False, then=Value("monitor")),
        When(~Q(experiment=""), then=Value("experiment")),
        default=Value("reported"),
        output_field=CharField(),
    )
    rows = _incidents(since).annotate(origin=origin)
    found: dict[date, tuple[dict[str, int], dict[str, int]]] = {}
    for month, severity, where, n in rows.values_list("month", "severity", "origin").annotate(n=Count("pk")):
        severities, origins = found.setdefault(
            month.date(), (dict.fromkeys(Severity.values, 0), dict.fromkeys(ORIGINS, 0))
        )
        severities[severity] = severities.get(severity, 0) + n
        origins[where] += n
    return found


def _facts(since: datetime) -> dict[date, dict[str, Any]]:
    """An acknowledgement may have ended again, so the first one is looked up in the log."""
    acknowledged = IncidentEvent.objects.filter(incident=OuterRef("pk"), kind=EventKind.ACKNOWLEDGED)
    first = Subquery(acknowledged.order_by().values("incident").annotate(at=Min("at")).values("at"))
    spans = {
        "acknowledge": ("first", "opened_at"),
        "resolve": ("resolved_at", "opened_at"),
    }
    # A report without an onset begins when it comes: what its source needed to find it is not known.
    is_known = Q(source="") | Q(onset_at__lt=F("opened_at"))
    wanted: dict[str, Any] = {}
    for name, (end, start) in spans.items():
        span = ExpressionWrapper(F(end) - F(start), output_field=DurationField())
        wanted[f"{name}_median"] = Percentile(span, 0.5)
        wanted[f"{name}_p90"] = Percentile(span, 0.9)
        wanted[f"{name}_n"] = Count(end)
    for name in Usefulness.values:
        wanted[name] = Count("pk", filter=Q(usefulness=name))
    detected = Case(When(is_known, then=F("opened_at") - F("onset_at")), output_field=DurationField())
    wanted |= {
        "detect_median": Percentile(detected, 0.5),
        "detect_p90": Percentile(detected, 0.9),
        "detect_n": Count("pk", filter=is_known),
    }
    wanted["false_count"] = Count(
        "pk", filter=Q(resolution=Resolution.FALSE_POSITIVE, monitor__isnull=False) & ~Q(signal=Signal.CHECK)
    )
    rows: Any = _incidents(since).annotate(first=first).values("month").annotate(**wanted)
    return {
        row["month"].date(): {
            **{name: _durations(row, name) for name in ("detect", *spans)},
            "judgements": Judgements(*(row[name] for name in ("useful", "noise", "expected"))),
            "false_count": row["false_count"],
        }
        for row in rows
    }


def _durations(row: Mapping[str, Any], name: str) -> Durations:
    median, p90 = row[f"{name}_median"], row[f"{name}_p90"]
    return Durations(
        None if median is None else median.total_seconds(),
        None if p90 is None else p90.total_seconds(),
        row[f"{name}_n"],
    )


def _sent(since: datetime) -> dict[date, dict[str, int]]:
    """By the month in which a message was written; tests are left out."""
    rows = OutboxMessage.objects.filter(pk__gte=first_id(since)).exclude(kind=MessageKind.TEST)
    found: Any = (
        rows.exclude(_PLANTED_MESSAGE)
        .annotate(month=TruncMonth("created_at", tzinfo=UTC))
        .order_by()
        .values("month")
        .annotate(
            sent_count=Count("pk", filter=Q(status=MessageStatus.DELIVERED)),
            reminder_count=Count("pk", filter=Q(status=MessageStatus.DELIVERED, kind=MessageKind.REMINDER)),
            dead_count=Count("pk", filter=Q(status=MessageStatus.DEAD)),
        )
    )
    return {row.pop("month").date(): row for row in found}


def _promised(since: date) -> dict[date, float]:
    rows = BudgetEntry.objects.filter(day__gte=since).exclude(monitor__metric=CANARY_METRIC)
    found: dict[date, float] = defaultdict(float)
    for month, expected in (
        rows.annotate(month=TruncMonth("day")).order_by().values_list("month").annotate(Sum("expected"))
    ):
        found[month] += expected
    return dict(found)


def first_id(at: datetime) -> UUID:
    """The smallest id that a row (uuid7) made at this time can have: the primary key is in order of time."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
