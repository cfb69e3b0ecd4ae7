"""Monitors: what is watched, how it stands, and the form that says so."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from monitoring import lifecycle, plots
from monitoring.admin.incident_page import state_badge
from monitoring.admin.monitor_form import PARAMETER, MonitorForm, parameter_fields
from monitoring.models import Incident, Monitor, MonitorState
from monitoring.monitors import registry
from monitoring.monitors.kind import InvalidParameters
from monitoring.sentences import evidence_share, monitor_sentence, promise_sentence
from monitoring.slices import described
from monitoring.tasks import wake_delivery
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class ConfirmForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


@admin.register(Monitor)
class MonitorAdmin(NoDeleteAdmin):
    form = MonitorForm
    list_display = ("name", "shown_state", "metric", "evidence", "last_check", "buckets", "next_check")
    list_filter = ("state", "kind")
    search_fields = ("name", "metric")
    list_before_template = "monitoring/list_head.html"
    empty_text = "Each monitor will appear here with its evidence, its last check and its next one."
    empty_link, empty_link_text = "admin:monitoring_monitor_add", "Make the first monitor"
    readonly_fields = ("shown_state", "started", "last_check", "buckets", "next_check", "check_error")
    change_form_outer_before_template = "monitoring/monitor.html"
    actions_detail = ("start", "pause")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Monitor]:
        is_open = Incident.objects.open().filter(monitor=OuterRef("pk"))
        highest = Max("slices__log_evidence", filter=Q(slices__is_tracked=True))
        return super().get_queryset(request).annotate(highest=highest, has_incident=Exists(is_open))

    def get_form(
        self,
        request: HttpRequest,
        obj: Monitor | None = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django calls it so
        **kwargs: Any,
    ) -> type[forms.ModelForm[Monitor]]:
        # The parameters are fields that only the form knows of; the admin must not look for them on the model.
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": MonitorForm.Meta.fields})

    def get_fieldsets(self, request: HttpRequest, obj: Monitor | None = None) -> list[Any]:
        parameters = [PARAMETER + name for name in parameter_fields((obj or Monitor()).kind)]
        sets = [
            ("What is watched", {"fields": ["name", "description", "kind", "metric", *parameters, "where", "split_by", "max_slices"]}),
            ("What may happen", {"fields": ["alarms_per_30_days", "severity", "channels", "runbook_url"]}),
            ("When it is over", {"fields": ["resolve_after_buckets", "recovery_n_min", "hold_seconds"]}),
        ]  # fmt: skip
        return [*sets, ("Checks", {"fields": self.readonly_fields})] if obj else sets

    def save_related(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        change: bool,  # noqa: FBT001 - Django calls it so
    ) -> None:
        super().save_related(request, form, formsets, change)
        now = timezone.now()
        changed = {"parameters" if name.startswith(PARAMETER) else name for name in form.changed_data}
        if not change:
            lifecycle.start(form.instance, now=now)
        elif changed & lifecycle.QUESTION_FIELDS:
            resolved = lifecycle.ask_anew(form.instance, now=now)
            wake_delivery()
            text = "What is watched was changed: the evidence starts anew"
            messages.info(request, text + (f", and {resolved} open incidents are over." if resolved else "."))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        monitor = self.get_object(request, object_id) if request.method == "GET" else None
        context = {} if monitor is None else _page(monitor)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Monitor | None:
        """The row, read once for each request: the page, its buttons and its form all ask for it."""
        read: dict[str, Monitor | None] = request.__dict__.setdefault("monitors_read", {})
        if object_id not in read:
            read[object_id] = super().get_object(request, object_id, from_field)
        return read[object_id]

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        monitor = self.get_object(request, str(object_id))
        hidden = "start" if monitor and monitor.state == MonitorState.ACTIVE else "pause"
        return [one for one in super().get_actions_detail(request, object_id) if one.path != hidden]

    @action(
        description="Start",
        url_path="start",
        icon="play_arrow",
        permissions=["change"],
        dialog={
            "title": "Start this monitor?",
            "description": "It watches from now on, with no evidence from before.",
            "form_class": ConfirmForm,
            "form_submit_text": "Start",
        },
    )
    def start(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        monitor = get_object_or_404(Monitor, pk=object_id)
        try:
            lifecycle.start(monitor, now=timezone.now())
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            self.log_change(request, monitor, "Started.")
            messages.success(request, f"“{monitor}” watches from now on.")
        return _reload(monitor)

    @action(
        description="Pause",
        url_path="pause",
        icon="pause",
        permissions=["change"],
        dialog={
            "title": "Pause this monitor?",
            "description": "Nothing is watched until it is started again, and then with no evidence from before. "
            "Open incidents stay open.",
            "form_class": ConfirmForm,
            "form_submit_text": "Pause",
        },
    )
    def pause(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        monitor = get_object_or_404(Monitor, pk=object_id)
        lifecycle.pause(monitor)
        self.log_change(request, monitor, "Paused.")
        messages.success(request, f"“{monitor}” is paused.")
        return _reload(monitor)

    @admin.display(description="state", ordering="state")
    def shown_state(self, monitor: Monitor) -> SafeString:
        if getattr(monitor, "has_incident", False):
            return badge("incident open", Tone.HARM)
        if monitor.check_error:
            return badge("check fails", Tone.HARM)
        return badge(monitor.state, Tone.LOOK if monitor.state == MonitorState.PAUSED else Tone.NEUTRAL)

    @admin.display(description="evidence, of the alarm line")
    def evidence(self, monitor: Monitor) -> str:
        highest = getattr(monitor, "highest", None)
        return "–" if highest is None else evidence_share(highest)

    @admin.display(description="last check", ordering="checked_at")
    def last_check(self, monitor: Monitor) -> SafeString:
        return moment(monitor.checked_at)

    @admin.display(description="buckets seen", ordering="check_row_count")
    def buckets(self, monitor: Monitor) -> int:
        return monitor.check_row_count

    @admin.display(description="next check", ordering="due_at")
    def next_check(self, monitor: Monitor) -> SafeString:
        return moment(monitor.due_at, "–")

    @admin.display(description="watches since", ordering="started_at")
    def started(self, monitor: Monitor) -> SafeString:
        return moment(monitor.started_at)


def _reload(monitor: Monitor) -> HttpResponse:
    return HttpResponse(
        headers={"HX-Redirect": reverse("admin:monitoring_monitor_change", args=[monitor.pk])}
    )


def _level(monitor: Monitor) -> float | None:
    try:
        return registry.kind_named(monitor.kind).read(monitor.parameters).level
    except (LookupError, InvalidParameters):
        return None


def _page(monitor: Monitor) -> dict[str, Any]:
    now = timezone.now()
    rows = plots.evaluations_of(monitor, now - plots.SHOWN, now + timedelta(minutes=1))
    recent = list(monitor.incidents.order_by("-id")[:10])
    still_open = [incident for incident in recent if incident.is_open]
    places = list(monitor.slices.tracked())
    known = [place.log_evidence for place in places if place.log_evidence is not None]
    sentence = monitor_sentence(monitor, still_open, max(known, default=None))
    shown = [incident for incident in recent if (incident.resolved_at or now) > now - plots.SHOWN]
    tone = "harm" if still_open or monitor.check_error else "neutral"
    return {
        "sentence": sentence,
        "tone": tone if monitor.state == MonitorState.ACTIVE or still_open else "look",
        "promise": promise_sentence(monitor),
        "charts": [
            plots.metric_chart(monitor, rows, shown, _level(monitor), title=sentence.rstrip("."), now=now),
            plots.evidence_chart(rows),
        ],
        "slices": [
            {
                "name": described(place.labels, place.key) or "all records",
                "evidence": "–" if place.log_evidence is None else evidence_share(place.log_evidence),
                "bucket_at": place.bucket_at,
            }
            for place in places
        ],
        "incidents": [(incident, state_badge(incident)) for incident in recent],
    }
