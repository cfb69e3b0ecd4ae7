"""What stands under an experiment: its variants and its audit."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline

from experiments.forms import VariantForm, VariantFormSet
from experiments.models import Experiment, ExperimentEvent, Variant
from triageops.admin import ReadOnlyPermission
from triageops.wording import moment


class VariantInline(TabularInline):
    """Editable in a draft, frozen after."""

    model = Variant
    form = VariantForm
    formset = VariantFormSet
    fields = ("key", "is_control", "weight_bp", "config")
    template_after = "experiments/weights.html"
    hide_title = True

    class Media:
        js = ("experiments/weights.js",)

    def get_extra(self, request: HttpRequest, obj: Experiment | None = None, **options: Any) -> int:
        return 2 if obj is None else 0

    def get_fields(self, request: HttpRequest, obj: Experiment | None = None) -> tuple[str, ...]:
        return self.fields if self._is_open(obj) else ("key", "role", "weight_in_percent", "config")

    def get_readonly_fields(self, request: HttpRequest, obj: Experiment | None = None) -> tuple[str, ...]:
        return () if self._is_open(obj) else ("role", "weight_in_percent")

    def has_add_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return self._is_open(obj) and bool(super().has_add_permission(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return self._is_open(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return self._is_open(obj) and bool(super().has_delete_permission(request, obj))

    @staticmethod
    def _is_open(obj: Experiment | None) -> bool:
        return obj is None or obj.is_draft

    @admin.display(description="role")
    def role(self, variant: Variant) -> str:
        return "control" if variant.is_control else "variant"

    @admin.display(description="weight")
    def weight_in_percent(self, variant: Variant) -> str:
        return variant.weight_in_percent


class EventInline(ReadOnlyPermission, TabularInline):
    """The audit, newest first."""

    model = ExperimentEvent
    tab = True
    extra = 0
    fields = ("when", "who", "action", "reason", "changes")
    readonly_fields = fields
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExperimentEvent]:
        events: QuerySet[ExperimentEvent] = super().get_queryset(request)
        return events.select_related("by")

    @admin.display(description="when")
    def when(self, event: ExperimentEvent) -> SafeString:
        return moment(event.at, exact=True)

    @admin.display(description="by")
    def who(self, event: ExperimentEvent) -> str:
        return str(event.by or "the system")

    @admin.display(description="what changed")
    def changes(self, event: ExperimentEvent) -> SafeString:
        names = [
            name for name in event.after if event.before.get(name) != event.after[name] and name != "version"
        ]
        lines = ((name, _shown(event.before.get(name)), _shown(event.after[name])) for name in names)
        return format_html_join("", "<div>{}: {} → {}</div>", lines)


def _shown(value: object) -> object:
    return "–" if value is None else value
