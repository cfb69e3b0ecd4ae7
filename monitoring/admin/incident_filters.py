"""What the list of incidents is narrowed by."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from monitoring.models import (
    Channel,
    Flag,
    Incident,
    IncidentFlag,
    IncidentState,
    MessageStatus,
    OutboxMessage,
    Resolution,
    Source,
    Usefulness,
)

Rows = QuerySet[Any]
Choices = list[tuple[str, str]]
_Filter = admin.SimpleListFilter


class StateFilter(_Filter):
    """Suspicions, and those that passed, are shown to who asks for them only: nobody was told of them."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        states = [
            (IncidentState.FIRING, "firing"),
            (IncidentState.ACKNOWLEDGED, "acknowledged"),
            (IncidentState.RECOVERING, "recovering"),
        ]
        return [
            ("open", "open"),
            *((one.value, text) for one, text in states),
            ("resolved", "resolved"),
            ("suspect", "suspicions"),
            ("faded", "suspicions that passed"),
        ]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        faded, chosen = Resolution.FADED, self.value() or ""
        if chosen == "open":
            return queryset.exclude(state__in=(IncidentState.RESOLVED, IncidentState.SUSPECT))
        if chosen == "faded":
            return queryset.filter(resolution=faded)
        if chosen in IncidentState.values:
            return queryset.filter(state=chosen).exclude(resolution=faded)
        return queryset.exclude(state=IncidentState.SUSPECT).exclude(resolution=faded)


class AboutFilter(_Filter):
    title = "about"
    parameter_name = "about"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [("monitor", "monitor"), ("experiment", "experiment"), ("report", "report of another system")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        choices = {
            "monitor": Incident.objects.of_monitors,
            "experiment": Incident.objects.of_experiments,
            "report": Incident.objects.reported,
        }
        chosen = choices.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(pk__in=chosen().values("pk"))


class SourceFilter(_Filter):
    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(value, str(label)) for value, label in Source.choices]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(source=self.value()) if self.value() in Source.values else queryset


class FlagFilter(_Filter):
    title = "flag"
    parameter_name = "flag"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(value, str(label)) for value, label in Flag.choices]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in Flag.values:
            return queryset
        return queryset.filter(Exists(_flags().filter(kind=self.value())))


def _flags() -> QuerySet[IncidentFlag]:
    return IncidentFlag.objects.active().filter(incident=OuterRef("pk"))


class UsefulnessFilter(_Filter):
    title = "judged as"
    parameter_name = "judged"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [*((value, value) for value in Usefulness.values), ("none", "not judged")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() == "none":
            return queryset.filter(usefulness="")
        return queryset.filter(usefulness=self.value()) if self.value() in Usefulness.values else queryset


class ToldFilter(_Filter):
    """Channels that have a message of it."""

    title = "channel told"
    parameter_name = "told"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(str(pk), name) for pk, name in Channel.objects.of_people().values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        chosen = self.value() or ""
        if not chosen.isdecimal() or len(chosen) > 17:
            return queryset
        told = OutboxMessage.objects.filter(
            incident=OuterRef("pk"), channel=int(chosen), status=MessageStatus.DELIVERED
        )
        return queryset.filter(Exists(told))
