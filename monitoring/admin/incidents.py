"""Incidents: what happened, who was told, and what a person does about it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from monitoring import incidents, plots
from monitoring.admin.deliveries import status_badge
from monitoring.messages import budget_text, effect_text
from monitoring.models import Incident, IncidentState, OutboxMessage, Resolution, Severity
from monitoring.sentences import incident_sentence
from monitoring.slices import described
from monitoring.tasks import wake_delivery
from triageops.admin import EstimatedPaginator, ReadOnlyAdmin, Tone, as_uuid, badge, moment

_STATE_TONES = {
    IncidentState.FIRING: Tone.HARM,
    IncidentState.ACKNOWLEDGED: Tone.LOOK,
    IncidentState.RECOVERING: Tone.LOOK,
}


class AcknowledgeForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


class ResolveForm(BaseDialogForm):
    resolution = forms.ChoiceField(
        label="Why",
        choices=[(value.value, value.label) for value in incidents.PERSONS_RESOLUTIONS],
        widget=UnfoldAdminSelectWidget,
    )
    note = forms.CharField(
        label="Note", max_length=1000, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


class OpenFilter(admin.SimpleListFilter):
    title = "open"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("yes", "open"), ("no", "resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = {"yes": Incident.objects.open(), "no": Incident.objects.resolved()}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(pk__in=chosen.values("pk"))


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
        "monitor",
    )
    list_filter = (OpenFilter, "severity", "monitor")
    list_select_related = ("monitor",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    search_fields = ("title",)
    list_before_template = "monitoring/list_head.html"
    empty_text = "An incident will appear here when a monitor finds that a metric is worse than it may be."
    empty_link, empty_link_text = "admin:monitoring_monitor_changelist", "What is watched"
    fields = ()
    change_form_outer_before_template = "monitoring/incident.html"
    actions_detail = ("acknowledge", "resolve")

    def has_act_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("monitoring.change_incident")

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
        context = {} if incident is None else _page(incident)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return super().get_queryset(request).select_related("monitor", "acknowledged_by", "resolved_by")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        state = Incident.objects.filter(pk=as_uuid(object_id)).values_list("state", flat=True).first()
        if state is None or state == IncidentState.RESOLVED:
            return []
        found = super().get_actions_detail(request, object_id)
        return found if state == IncidentState.FIRING else [one for one in found if one.path != "acknowledge"]

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
        return effect_text(incident.effect) or "–"

    @admin.display(description="onset", ordering="onset_at")
    def onset(self, incident: Incident) -> SafeString:
        return moment(incident.onset_at)

    @admin.display(description="found", ordering="opened_at")
    def opened(self, incident: Incident) -> SafeString:
        return moment(incident.opened_at)

    @admin.display(description="resolved", ordering="resolved_at")
    def resolved(self, incident: Incident) -> SafeString:
        return moment(incident.resolved_at, "–")


def state_badge(incident: Incident) -> SafeString:
    return badge(incident.get_state_display(), _STATE_TONES.get(IncidentState(incident.state), Tone.NEUTRAL))


def _person(user: Any) -> User:
    """The admin lets nobody in who is not logged in."""
    return user


def _page(incident: Incident) -> dict[str, Any]:
    now = timezone.now()
    start, end = plots.around(incident, now)
    rows = plots.evaluations_of(incident.monitor, start, end, incident.slice_key)
    sent = (
        OutboxMessage.objects.filter(incident=incident)
        .order_by("channel__name", "seq")
        .select_related("channel")
    )
    sent = sent.prefetch_related(Prefetch("attempts"))
    where = described(incident.labels, incident.slice_key) or "all records"
    return {
        "title": "Incident",
        "incident": incident,
        "state": state_badge(incident),
        "tone": "harm" if incident.is_open else "neutral",
        "sentence": incident_sentence(incident, now),
        "where": where,
        "effect": effect_text(incident.effect),
        "budget": budget_text(incident.monitor.alarms_per_30_days),
        "charts": [
            plots.metric_chart(
                incident.monitor,
                rows,
                [incident],
                incident.effect.get("level"),
                title=incident.title,
                now=now,
            ),
            plots.evidence_chart(rows),
        ],
        "events": incident.events.select_related("by"),
        "deliveries": [(message, status_badge(message)) for message in sent],
    }
