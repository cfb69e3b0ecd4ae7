"""The list of monitors: how each stands, at one look."""

from typing import Any

from django.contrib import admin
from django.db.models import (
    Exists,
    Max,
    OuterRef,
    Q,
    QuerySet,
)
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.admin.opening import needing_count
from monitoring.admin.states import evidence_bar, state_of
from monitoring.models import Channel, Incident, Monitor
from monitoring.monitors.registry import is_rule
from monitoring.reading.sentences import lag_of
from monitoring.sources import title_of
from triageops import charts, wording
from triageops.admin import moment
from triageops.wording import due


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
    """With the highest evidence of their slices, whether an incident is open and a channel is told; and all open incidents."""
    is_open = Incident.objects.open().filter(monitor=OuterRef("pk"))
    highest = Max("slices__log_evidence", filter=Q(slices__is_tracked=True))
    told = Channel.objects.enabled().filter(monitors=OuterRef("pk"))
    return rows.select_related("reference").annotate(
        highest=highest,
        has_incident=Exists(is_open),
        is_told=Exists(told),
        needing_count=needing_count(),
    )


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
    if is_rule(monitor.kind):
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
