"""Incidents: what happened, who was told, and what a person does about it."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant

from monitoring import incidents
from monitoring.admin.dialogs import in_page
from monitoring.admin.incident_dialogs import AcknowledgeForm, IncidentBaselineForm, ResolveForm
from monitoring.admin.incident_filters import AboutFilter, OpenFilter
from monitoring.admin.incident_page import can_accept, page, state_badge
from monitoring.admin.monitor_buttons import BASELINE_DIALOG
from monitoring.admin.monitor_moves import accept
from monitoring.admin.opening import keep_count, open_incident_count
from monitoring.models import Incident, IncidentState, Resolution, Severity
from monitoring.sentences import size_text
from monitoring.tasks import wake_delivery
from triageops.admin import EstimatedPaginator, ReadOnlyAdmin, Tone, as_uuid, badge, moment

_LIST, _OF_MONITOR = "monitoring_incident_changelist", "monitor__id__exact"


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    list_display = (
        "title",
        "shown_state",
        "shown_severity",
        "size",
        "onset",
        "opened",
        "resolved",
        "about",
    )
    list_filter = (OpenFilter, AboutFilter, "severity", "monitor")
    list_select_related = ("monitor",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    search_fields = ("title", "experiment")
    search_help_text = "A part of the title, or of an experiment's key."
    list_before_template = "monitoring/list_head.html"
    empty_text = "An incident will appear here when a monitor finds that a metric is worse than it may be, or an experiment is halted."
    empty_link, empty_link_text = "admin:monitoring_monitor_changelist", "What is watched"
    fields = ()
    change_form_outer_before_template = "monitoring/incident.html"
    actions_detail = ("acknowledge", "accept_baseline", "resolve", "resolve_halt")

    class Media:
        css = {"all": ("monitoring/monitor.css",)}

    def has_act_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("monitoring.change_incident")

    def has_accept_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("monitoring.change_monitor")

    def get_fieldsets(self, request: HttpRequest, obj: Incident | None = None) -> list[Any]:
        return []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        incident = self.get_object(request, object_id)
        context = {} if incident is None else page(incident, request)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Incident | None:
        """The row, read once for each request: the page and its buttons ask for it."""
        read: dict[str, Incident | None] = request.__dict__.setdefault("incidents_read", {})
        if object_id not in read:
            read[object_id] = super().get_object(request, object_id, from_field)
            keep_count(request, read[object_id])
        return read[object_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        """In the list without what was planted, unless a monitor is chosen: that of the canary shows them."""
        rows = super().get_queryset(request).select_related("monitor", "acknowledged_by", "resolved_by")
        is_list = request.resolver_match is not None and request.resolver_match.url_name == _LIST
        if not is_list:
            return rows.annotate(open_incident_count=open_incident_count())
        return rows if _OF_MONITOR in request.GET else rows.genuine()

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        incident = self.get_object(request, str(object_id))
        if incident is None or not incident.is_open:
            return []
        unfit = {"resolve" if incident.experiment else "resolve-halt"}
        if incident.state != IncidentState.FIRING:
            unfit.add("acknowledge")
        if not can_accept(incident):
            unfit.add("accept-baseline")
        return [one for one in super().get_actions_detail(request, object_id) if one.path not in unfit]

    @in_page
    @action(
        description="Acknowledge",
        url_path="acknowledge",
        icon="front_hand",
        permissions=["act"],
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Acknowledge this incident?",
            "description": "It tells everybody that you take care of it.",
            "form_class": AcknowledgeForm,
            "form_submit_text": "Acknowledge",
        },
    )
    def acknowledge(self, request: HttpRequest, form: AcknowledgeForm, object_id: str) -> HttpResponse:
        user = request.user
        return self._act(
            request,
            object_id,
            "Acknowledged.",
            lambda incident_id: incidents.acknowledge(incident_id, by=_person(user), now=timezone.now()),
        )

    @in_page
    @action(
        description="Accept as new baseline",
        url_path="accept-baseline",
        icon="task_alt",
        permissions=["accept"],
        dialog={**BASELINE_DIALOG, "form_class": IncidentBaselineForm},
    )
    def accept_baseline(
        self, request: HttpRequest, form: IncidentBaselineForm, object_id: str
    ) -> HttpResponse:
        return accept(self, request, form)

    @in_page
    @action(
        description="Resolve",
        url_path="resolve",
        icon="task_alt",
        permissions=["act"],
        dialog={
            "title": "Resolve this incident?",
            "description": "Whoever was told that it began is told that it is over. The detector starts anew: if the "
            "metric is still worse than allowed, there will be another incident.",
            "form_class": ResolveForm,
            "form_submit_text": "Resolve",
        },
    )
    def resolve(self, request: HttpRequest, form: ResolveForm, object_id: str) -> HttpResponse:
        return self._resolve(request, form, object_id)

    @in_page
    @action(
        description="Resolve",
        url_path="resolve-halt",
        icon="task_alt",
        permissions=["act"],
        dialog={
            "title": "Resolve this incident without resuming the experiment?",
            "description": "Whoever was told that it began is told that it is over, but the experiment stays halted. To "
            "resume it, go to the experiment's page and give a reason; the incident is then resolved by itself.",
            "form_class": ResolveForm,
            "form_submit_text": "Resolve",
        },
    )
    def resolve_halt(self, request: HttpRequest, form: ResolveForm, object_id: str) -> HttpResponse:
        return self._resolve(request, form, object_id)

    def _resolve(self, request: HttpRequest, form: ResolveForm, object_id: str) -> HttpResponse:
        user, given = request.user, form.cleaned_data
        reason = Resolution(given["resolution"])
        return self._act(
            request,
            object_id,
            f"Resolved: {reason.label}.",
            lambda incident_id: incidents.resolve(
                incident_id, reason, by=_person(user), note=given["note"], now=timezone.now()
            ),
        )

    def _act(self, request: HttpRequest, object_id: str, message: str, act: Any) -> HttpResponse:
        found = get_object_or_404(Incident, pk=as_uuid(object_id))
        try:
            incident = act(found.pk)
        except (incidents.InvalidTransition, incidents.IncidentChanged) as error:
            messages.error(request, str(error))
        else:
            wake_delivery()
            self.log_change(request, incident, message)
            messages.success(request, message)
        address = reverse("admin:monitoring_incident_change", args=[object_id])
        return HttpResponse(headers={"HX-Redirect": address})

    @admin.display(description="state", ordering="state")
    def shown_state(self, incident: Incident) -> SafeString:
        return state_badge(incident)

    @admin.display(description="severity", ordering="severity")
    def shown_severity(self, incident: Incident) -> SafeString:
        is_harm = incident.severity in {Severity.CRITICAL, Severity.ERROR}
        return badge(incident.severity, Tone.HARM if is_harm and incident.is_open else Tone.NEUTRAL)

    @admin.display(description="effect")
    def size(self, incident: Incident) -> str:
        return size_text(incident) or "–"

    @admin.display(description="about")
    def about(self, incident: Incident) -> str:
        return f"experiment {incident.experiment}" if incident.monitor is None else str(incident.monitor)

    @admin.display(description="onset", ordering="onset_at")
    def onset(self, incident: Incident) -> SafeString:
        return moment(incident.onset_at)

    @admin.display(description="found", ordering="opened_at")
    def opened(self, incident: Incident) -> SafeString:
        return moment(incident.opened_at)

    @admin.display(description="resolved", ordering="resolved_at")
    def resolved(self, incident: Incident) -> SafeString:
        return moment(incident.resolved_at, "–")


def _person(user: Any) -> User:
    """The admin lets nobody in who is not logged in."""
    return user
