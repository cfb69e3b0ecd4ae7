"""What each word after `bin/manage monitors` does: the same functions as REST, the same fields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rest_framework.serializers import BaseSerializer

from monitoring import definitions, fleet, transitions
from monitoring.comparisons import compare
from monitoring.management.console import parsing, words
from monitoring.models import DriftEvaluation, Marker, Monitor
from monitoring.serializers import (
    BudgetInputSerializer,
    BudgetSerializer,
    ComparisonSerializer,
    EvaluationSerializer,
    MarkerEndSerializer,
    MarkerInputSerializer,
    MarkerSerializer,
    MonitorInputSerializer,
    MonitorSerializer,
    MonitorWithSlicesSerializer,
    ReferenceSerializer,
)
from monitoring.serializers.fleet import marker_values
from triageops.rest import NotFound

Options = Mapping[str, Any]

_SHOWN = 20


@dataclass(frozen=True)
class Said:
    """As JSON, and in lines."""

    data: Any
    lines: list[str]


Act = Callable[[Options, datetime], Said]


def show_all(options: Options, now: datetime) -> Said:
    rows = Monitor.objects.select_related("reference").prefetch_related("channels").order_by("pk")
    if options["state"]:
        rows = rows.filter(state=options["state"])
    if options["metric"]:
        rows = rows.filter(metric=options["metric"])
    found = _data(MonitorSerializer, rows, many=True)
    return Said(found, words.monitors(found))


def show(options: Options, now: datetime) -> Said:
    return _shown(parsing.monitor_named(options["monitor"]))


def create(options: Options, now: datetime) -> Said:
    given = parsing.settings_of(options["pairs"])
    body = {**given, "name": options["name"]}
    made = definitions.create(parsing.checked(MonitorInputSerializer, body), now=now)
    return _shown(made)


def change(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    given = parsing.settings_of(options["pairs"], monitor)
    values = parsing.checked(MonitorInputSerializer, given, partial=True)
    definitions.edit(monitor.pk, values, by=parsing.person(options["by"]), reason=options["reason"], now=now)
    return _shown(monitor)


def activate(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    why = options["without_backtest"] or ""
    transitions.activate(monitor, without_backtest=why, by=parsing.person(options["by"]), now=now)
    return _shown(monitor)


def pause(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    transitions.pause(monitor)
    return _shown(monitor)


def learn(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    transitions.learn(monitor, by=parsing.person(options["by"]), reason=options["reason"], now=now)
    return _learnt(monitor)


def accept(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    count = transitions.accept(
        monitor,
        by=parsing.person(options["by"]),
        reason=options["reason"],
        start_at=parsing.moment(options["start"], "--from"),
        end_at=parsing.moment(options["end"], "--to"),
        now=now,
    )
    said = _learnt(monitor)
    return Said(
        {**said.data, "resolved_count": count}, [*said.lines, f"Incidents that are over by that: {count}."]
    )


def check(options: Options, now: datetime) -> Said:
    monitor = parsing.monitor_named(options["monitor"])
    count = transitions.check_now(monitor, now=now)
    newest = DriftEvaluation.objects.filter(slice__monitor=monitor).select_related("slice")
    rows = _data(EvaluationSerializer, newest.order_by("-bucket_at", "slice__key")[:_SHOWN], many=True)
    lines = [f"Buckets that were checked now: {count}.", "", *words.evaluations(rows)]
    return Said({"row_count": count, "evaluations": rows}, lines)


def effects(options: Options, now: datetime) -> Said:
    found = compare(parsing.monitor_named(options["monitor"]), options["slice"], now)
    if found is None:
        raise NotFound(
            "There is nothing to compare: the slice has no reference with a histogram, or no records since."
        )
    data = _data(ComparisonSerializer, found)
    return Said(data, words.effects(data))


def markers(options: Options, now: datetime) -> Said:
    rows = _data(MarkerSerializer, Marker.objects.select_related("created_by")[:_SHOWN], many=True)
    return Said(rows, words.markers(rows))


def add_marker(options: Options, now: datetime) -> Said:
    given = {name: options[name] for name in ("kind", "name", "minutes", "starts_at", "ends_at")}
    body = {name: value for name, value in given.items() if value is not None}
    where = parsing.settings_of([f"where.{pair}" for pair in options["where"]])
    values = marker_values(parsing.checked(MarkerInputSerializer, {**body, **where}), now)
    return _marker(fleet.add_marker(values, by=parsing.person(options["by"])))


def end_marker(options: Options, now: datetime) -> Said:
    given = parsing.checked(MarkerEndSerializer, {"ends_at": options["at"] or now.isoformat()})
    try:
        return _marker(fleet.end_marker(options["id"], given["ends_at"]))
    except Marker.DoesNotExist:
        raise NotFound("There is no marker with this id.") from None


def budget(options: Options, now: datetime) -> Said:
    given = parsing.settings_of(options["pairs"])
    if given:
        fleet.set_budget(parsing.checked(BudgetInputSerializer, given, partial=True))
    data = _data(BudgetSerializer, fleet.overview(now))
    return Said(data, words.budget(data))


def _shown(monitor: Monitor) -> Said:
    data = _data(MonitorWithSlicesSerializer, parsing.monitor_named(str(monitor.pk)))
    return Said(data, words.monitor(data))


def _learnt(monitor: Monitor) -> Said:
    monitor.refresh_from_db()
    reference = monitor.reference
    if reference is None:
        raise NotFound("Nothing was learnt.")
    data = {**_data(ReferenceSerializer, reference), "is_current": True}
    line = f"Version {data['version']}, learnt from {data['n']} records of {data['start_at']} to {data['end_at']}."
    rows = [[one["key"], one["n"], one["mean"], one["sd"]] for one in data["slices"]]
    return Said(data, [line, "", *words.table(["slice", "n", "mean", "sd"], rows)])


def _marker(marker: Marker) -> Said:
    data = _data(MarkerSerializer, marker)
    return Said(data, words.markers([data]))


def _data(serializer: type[BaseSerializer[Any]], found: object, **options: Any) -> Any:
    return serializer(found, **options).data
