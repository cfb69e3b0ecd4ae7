"""The list of experiments: what narrows it down, and what each row says."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from experiments.models import Experiment, Layer, State


class StateFilter(admin.SimpleListFilter):
    """Archived ones are out of sight unless they are asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [*((state.value, state.label) for state in State), ("all", "all, with archived ones")]

    def choices(self, changelist: Any) -> Any:
        first, *rest = super().choices(changelist)
        return [first | {"display": "not archived"}, *rest]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> QuerySet[Experiment]:
        chosen = self.value()
        if chosen == "all":
            return queryset
        if chosen in State.values:
            return queryset.filter(state=chosen)
        return queryset.exclude(state=State.ARCHIVED)


class _RowFilter(admin.SimpleListFilter):
    """Rows that something refers to, and nothing else."""

    parameter_name: str = ""
    model: type[Layer] | type[User]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        used = Experiment.objects.order_by().values(self.parameter_name)
        return [(str(row.pk), str(row)) for row in self.model._default_manager.filter(pk__in=used)[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> QuerySet[Experiment]:
        chosen = self.value() or ""
        if not chosen.isdecimal() or len(chosen) > 18:
            return queryset
        return queryset.filter(**{f"{self.parameter_name}_id": int(chosen)})


class LayerFilter(_RowFilter):
    title, parameter_name, model = "layer", "layer", Layer


class OwnerFilter(_RowFilter):
    title, parameter_name, model = "owner", "owner", User
