"""Monitors: what is watched, how it stands, and the form that says so."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from monitoring import budget, lifecycle
from monitoring.admin import monitor_list as columns
from monitoring.admin.monitor_buttons import BUTTONS, allowed
from monitoring.admin.monitor_comparison import comparison
from monitoring.admin.monitor_dialogs import REFUSALS, monitor_of, text_of
from monitoring.admin.monitor_fields import CONDITIONS, READ, fieldsets
from monitoring.admin.monitor_form import APPLY, MonitorForm
from monitoring.admin.monitor_moves import ask_backtest
from monitoring.admin.monitor_page import SETTINGS, page
from monitoring.admin.monitor_trends import with_trends
from monitoring.admin.opening import keep_count
from monitoring.models import Monitor, MonitorState
from monitoring.questions import FIELDS, put, question_of
from monitoring.tasks import wake_delivery
from triageops.admin import NoDeleteAdmin

_OF_FORM = [name for name in (*MonitorForm.Meta.fields, "parameters") if name != "channels"]
_HOW_OFTEN = ["alarms_per_30_days", "weight"]


@admin.register(Monitor)
class MonitorAdmin(NoDeleteAdmin):
    form = MonitorForm
    list_display = (
        "name", columns.shown_state, columns.metric, columns.trend, columns.evidence, columns.budget, columns.check,
    )  # fmt: skip
    list_filter = ("state", "kind", columns.MetricFilter, columns.IncidentFilter)
    search_fields = ("name", "metric")
    list_before_template = "monitoring/monitor_list_head.html"
    empty_text = "Each monitor will appear here with its evidence, its last check and its next one."
    empty_link, empty_link_text = "admin:monitoring_monitor_add", "Make the first monitor"
    change_form_outer_before_template = "monitoring/monitor.html"
    conditional_fields = CONDITIONS
    actions_detail = tuple(BUTTONS)

    class Media:
        css = {"all": ("monitoring/monitor.css",)}

    backtest = BUTTONS["backtest"]
    activate = BUTTONS["activate"]
    activate_untried = BUTTONS["activate_untried"]
    resume = BUTTONS["resume"]
    pause = BUTTONS["pause"]
    learn_now = BUTTONS["learn_now"]
    accept_baseline = BUTTONS["accept_baseline"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.comparison)
        own = path("<int:monitor_id>/comparison", view, name="monitoring_monitor_comparison")
        return [own, *super().get_urls()]

    def comparison(self, request: HttpRequest, monitor_id: int) -> HttpResponse:
        """The records of now beside the reference, for the page's script: it reads rollups, so the page does not wait."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        context = comparison(monitor_of(str(monitor_id)), request.GET.get("slice", ""), timezone.now())
        return TemplateResponse(request, "monitoring/comparison.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Monitor]:
        return columns.annotated(super().get_queryset(request))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        found = super().get_changelist_instance(request)
        found.result_list = with_trends(found.result_list, timezone.now())
        return found

    def get_form(
        self,
        request: HttpRequest,
        obj: Monitor | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django calls it so
        **kwargs: Any,
    ) -> type[forms.ModelForm[Monitor]]:
        # The parameters are fields that only the form knows of; the admin must not look for them on the model.
        fields = () if _is_page(request, obj) else MonitorForm.Meta.fields
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": fields})

    def get_fieldsets(self, request: HttpRequest, obj: Monitor | None = None) -> list[Any]:
        if _is_page(request, obj):
            return []
        if not self.has_change_permission(request, obj):
            return READ
        return fieldsets(is_live=obj is not None and obj.is_watching)

    def save_model(self, request: HttpRequest, obj: Monitor, form: Any, change: bool) -> None:  # noqa: FBT001
        """A live monitor goes on with what it asks, unless a person says that the change is to be applied."""
        question = question_of(obj)
        is_live = change and obj.is_watching and form.is_changed
        if is_live:
            put(obj, form.before)
        if change:
            # Only what the form shows: a check may have moved on since the row was read.
            obj.save(update_fields=_OF_FORM)
        else:
            super().save_model(request, obj, form, change)
        if is_live and form.cleaned_data["way"] == APPLY:
            self._apply(request, obj, form, question)
        elif is_live:
            request.__dict__["to_try"] = question

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)
        monitor = form.instance
        if change and not monitor.is_watching and _asks_anew(monitor, form.before):
            over = lifecycle.ask_anew(monitor, now=timezone.now())
            self._tell_over(request, over)

    def _apply(self, request: HttpRequest, monitor: Monitor, form: Any, question: dict[str, Any]) -> None:
        if not _is_other(question, form.before):
            # How often it may be wrong is no other question: the evidence stays.
            put(monitor, question)
            monitor.save(update_fields=_HOW_OFTEN)
            budget.redistribute_after_commit()
            return
        by: Any = request.user
        reason = form.cleaned_data["reason"]
        try:
            with transaction.atomic():
                over = lifecycle.change(monitor, question, by=by, reason=reason, now=timezone.now())
        except REFUSALS as refused:
            put(monitor, form.before)
            messages.error(request, f"The change was not applied: {text_of(refused)}")
        else:
            self.log_change(request, monitor, f"Changed what is watched. {reason}")
            self._tell_over(request, over)

    def _tell_over(self, request: HttpRequest, over: int) -> None:
        wake_delivery()
        ended = f", and {over} open incidents are over" if over else ""
        messages.info(request, f"What is watched was changed: the evidence begins anew{ended}.")

    def response_add(
        self, request: HttpRequest, obj: Monitor, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To its page, where the next step is."""
        messages.success(request, f"“{obj}” was made. It does not watch yet: try it out on the past first.")
        return HttpResponseRedirect(reverse("admin:monitoring_monitor_change", args=[obj.pk]))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        monitor = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if monitor is not None and _is_page(request, monitor):
            context = {**page(monitor, request, timezone.now()), "show_save": False}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # One way to save: it leads to the monitor's page.
        only = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **only})

    def response_change(self, request: HttpRequest, obj: Monitor) -> HttpResponse:
        to_try = request.__dict__.get("to_try")
        if to_try is not None:
            return HttpResponseRedirect(ask_backtest(self, request, obj, to_try))
        messages.success(request, f"“{obj}” was saved.")
        return HttpResponseRedirect(reverse("admin:monitoring_monitor_change", args=[obj.pk]))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Monitor | None:
        """The row, read once for each request: the page, its buttons and its form all ask for it."""
        read: dict[str, Monitor | None] = request.__dict__.setdefault("monitors_read", {})
        if object_id not in read:
            read[object_id] = super().get_object(request, object_id, from_field)
            keep_count(request, read[object_id])
        return read[object_id]

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        monitor = self.get_object(request, str(object_id))
        found = super().get_actions_detail(request, object_id)
        return allowed(monitor, found) if monitor else []


def _is_page(request: HttpRequest, monitor: Monitor | None) -> bool:
    """Whether it shows how the monitor stands; its settings are a form of their own."""
    return monitor is not None and request.method == "GET" and SETTINGS not in request.GET


def _is_other(question: dict[str, Any], before: dict[str, Any]) -> bool:
    return any(question[name] != before[name] for name in FIELDS)


def _asks_anew(monitor: Monitor, before: dict[str, Any]) -> bool:
    """What was tried out was tried out with its budget; what is paused only minds another question."""
    question = question_of(monitor)
    return _is_other(question, before) or (monitor.state == MonitorState.BACKTESTED and question != before)
