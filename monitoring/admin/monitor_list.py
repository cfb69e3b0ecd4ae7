"""The list of monitors: how each stands, at one look."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Avg, Exists, F, FloatField, Max, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Cast, NullIf, TruncHour
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.admin.states import evidence_bar, state_of
from monitoring.models import DriftEvaluation, Incident, Monitor
from monitoring.sentences import lag_of
from monitoring.slices import ALL
from monitoring.sources import title_of
from triageops import charts, wording
from triageops.admin import moment
from triageops.wording import due

TREND = timedelta(hours=24)


class IncidentFilter(admin.SimpleListFilter):
    title = "incident"
    parameter_name = "incident"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("yes", "with an open incident"), ("no", "without one")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"yes": True, "no": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(has_incident=wanted)


class MetricFilter(admin.SimpleListFilter):
    title = "metric"
    parameter_name = "metric"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        keys = Monitor.objects.order_by("metric").values_list("metric", flat=True).distinct()
        return [(key, title_of(key)) for key in keys]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(metric=self.value()) if self.value() else queryset


def annotated(rows: QuerySet[Monitor]) -> QuerySet[Monitor]:
    """With the highest evidence of their slices, and whether an incident is open."""
    is_open = Incident.objects.open().filter(monitor=OuterRef("pk"))
    highest = Max("slices__log_evidence", filter=Q(slices__is_tracked=True))
    return rows.select_related("reference").annotate(highest=highest, has_incident=Exists(is_open))


def with_trends(monitors: Iterable[Monitor], now: datetime) -> list[Any]:
    """Each with the hourly values of its last day, as the points of a small line. One query for all of them."""
    rows: list[Any] = list(monitors)
    wholes = [row.pk for row in rows if row.has_whole]
    found = (
        DriftEvaluation.objects.filter(bucket_at__gte=now - TREND, bucket_at__lte=now)
        .filter(
            Q(slice__monitor__in=wholes, slice__key=ALL)
            | Q(slice__monitor__in=[row.pk for row in rows if not row.has_whole])
        )
        .annotate(hour=TruncHour("bucket_at"))
        .values("slice__monitor", "hour")
        .annotate(
            of_records=Sum(F("mean") * F("n"), output_field=FloatField())
            / NullIf(Cast(Sum("n"), FloatField()), 0.0),
            of_buckets=Avg("mean"),
        )
        .order_by("hour")
        .values_list("slice__monitor", "hour", "of_records", "of_buckets")
    )
    by_monitor: dict[int, dict[datetime, tuple[float | None, float | None]]] = {}
    for pk, hour, of_records, of_buckets in found:
        by_monitor.setdefault(pk, {})[hour] = (of_records, of_buckets)
    for row in rows:
        row.trend = _trend(by_monitor.get(row.pk, {}), is_counted=row.kind == "volume")
    return rows


def _trend(
    hours: dict[datetime, tuple[float | None, float | None]], *, is_counted: bool
) -> Sequence[float | None]:
    """One value for each hour from the first known one on; None for an hour without records."""
    if not hours:
        return []
    first, last = min(hours), max(hours)
    count = round((last - first).total_seconds() / 3600) + 1
    pairs = [hours.get(first + timedelta(hours=number), (None, None)) for number in range(count)]
    return [of_buckets if is_counted else of_records for of_records, of_buckets in pairs]


@admin.display(description="last 24 h")
def trend(monitor: Any) -> SafeString:
    values = getattr(monitor, "trend", [])
    points = charts.sparkline(values)
    known = [value for value in values if value is not None]
    if not points:
        return format_html('<span class="to-quiet">{}</span>', wording.MISSING)
    label = (
        f"From {wording.number(known[0])} to {wording.number(known[-1])} in the last 24 hours, by the hour"
    )
    return format_html(
        '<svg class="mo-trend" viewBox="0 0 96 24" role="img" aria-label="{}"><title>{}</title>'
        '<polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>',
        label,
        label,
        points,
    )


@admin.display(description="state", ordering="state")
def shown_state(monitor: Any) -> SafeString:
    return state_of(monitor, has_incident=monitor.has_incident, now=timezone.now())


@admin.display(description="metric", ordering="metric")
def metric(monitor: Monitor) -> str:
    return title_of(monitor.metric)


@admin.display(description="evidence / alarm", ordering="highest")
def evidence(monitor: Any) -> SafeString | str:
    return (
        wording.MISSING
        if monitor.highest is None or not monitor.is_watching
        else evidence_bar(monitor.highest)
    )


@admin.display(description="budget / 30 d")
def budget(monitor: Monitor) -> str:
    if not monitor.is_watching:
        return wording.MISSING
    if monitor.kind in {"never", "burn_rate"}:
        return "a rule"
    return f"{float(f'{monitor.promised_alarms:.2g}'):g}"


@admin.display(description="last check, next", ordering="checked_at")
def check(monitor: Monitor) -> SafeString:
    found = lag_of(monitor, timezone.now())
    if found is None:
        return moment(monitor.checked_at)
    return format_html(
        '<span>{}<span class="to-quiet mo-below">lag {}, next {}</span></span>',
        moment(monitor.checked_at),
        wording.seconds(round(found.total_seconds())),
        due(monitor.due_at, wording.MISSING),
    )
