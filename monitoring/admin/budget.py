"""The budget of false alarms: its page is that of all monitors; its form shows what each would get before it is saved."""

from copy import copy
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from monitoring import budget, fleet
from monitoring.admin import fleet as fleet_page
from monitoring.admin.opening import render, require
from monitoring.models import FleetBudget, Monitor
from monitoring.monitors.registry import is_rule
from triageops.admin import NoDeleteAdmin

MOST_SHOWN = 100


class BudgetForm(forms.ModelForm[FleetBudget]):
    class Meta:
        model = FleetBudget
        fields = ("alarms_per_30_days", "whole_share", "slice_share", "deep_share")
        labels: ClassVar = {
            "alarms_per_30_days": "False alarms in 30 days, of all monitors together",
            "whole_share": "Part for all records together",
            "slice_share": "Part for slices by one dimension, such as variant",
            "deep_share": "Part for slices by several dimensions at once",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})


@admin.register(FleetBudget)
class FleetBudgetAdmin(NoDeleteAdmin):
    """One row; its list is the page of all monitors."""

    class Media:
        css = {"all": ("monitoring/fleet.css",)}

    def get_urls(self) -> list[URLPattern]:
        page = path("all/", self.admin_site.admin_view(self.changelist_view), name="monitoring_fleet")
        return [page, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return fleet_page.page(self, request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The numbers, then what they do and the question."""
        may_change = self.has_change_permission(request)
        require(request, "monitoring.view_fleetbudget", "monitoring.change_fleetbudget")
        row = budget.fleet_budget()
        if request.method == "POST":
            require(request, "monitoring.change_fleetbudget")
        before = copy(row)
        form = BudgetForm(request.POST or None, instance=row)
        title = "Budget of false alarms"
        if not form.is_valid():
            allowed = fleet_page.alarms(before.alarms_per_30_days)
            return render(
                self, request, "budget", title, form=form, may_change=may_change, row=before, allowed=allowed
            )
        if request.POST.get("step") == "confirm":
            fleet.set_budget(form.cleaned_data)
            self.log_change(request, row, f"{_said(before)} became {_said(row)}.")
            messages.success(request, "The budget is changed; the next checks go by it.")
            return HttpResponseRedirect(reverse("admin:monitoring_fleet"))
        for field in form.fields.values():
            field.widget = field.hidden_widget()
        return render(self, request, "budget", title, form=form, may_change=True, **_effects(before, row))


def _said(row: FleetBudget) -> str:
    return f"{row.alarms_per_30_days:g} in 30 days ({row.whole_share:g}, {row.slice_share:g}, {row.deep_share:g})"


def _effects(before: FleetBudget, after: FleetBudget) -> dict[str, Any]:
    """What each monitor that watches may raise in 30 days, now and then."""
    rows = [row for row in Monitor.objects.active() if not is_rule(row.kind)]
    found = {}
    for name, one in (("now", before), ("then", after)):
        budget.split(one, rows)
        found[name] = [row.promised_alarms for row in rows]
    effects = [
        {"name": row.name, "is_own": row.alarms_per_30_days is not None, "now": now, "then": then}
        for row, now, then in zip(rows, found["now"], found["then"], strict=True)
    ]
    return {
        "effects": effects[:MOST_SHOWN],
        "more": len(effects[MOST_SHOWN:]),
        "now": sum(found["now"]),
        "then": sum(found["then"]),
        "has_effects": True,
    }
