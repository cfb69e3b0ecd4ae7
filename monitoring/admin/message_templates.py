"""Message templates: written here, tried out on a real incident, and put back to the built-in text when they break."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from monitoring.admin.first_line import FirstLine
from monitoring.admin.opening import require
from monitoring.models import Channel, Incident, IncidentState, MessageKind, MessageTemplate
from monitoring.notifying.payloads import incident_payload
from monitoring.templating import texts
from monitoring.templating.text_filters import FILTERS
from triageops import wording
from triageops.admin import Tone, as_uuid, badge, moment

OFFERED = 20
"""Incidents that a preview may be made on."""

START_TITLE = (
    "{{ incident.state|upper }}: {{ incident.title }}{% if count != 1 %} ({{ count }} in all){% endif %}"
)
START_BODY = """{% for one in incidents %}{{ one.title }}
Since {{ one.since }}, {{ one.where }}.
{% if one.effect_text %}Effect: {{ one.effect_text }}
{% endif %}{% if one.summary %}{{ one.summary }}
{% endif %}{% if one.budget_text %}Budget: {{ one.budget_text }}
{% endif %}{{ one.incident_url }}
{% if one.runbook_url %}Runbook: {{ one.runbook_url }}
{% endif %}
{% endfor %}"""
"""Says what the built-in texts say, to be changed from there."""

EXAMPLES: Sequence[tuple[str, str, str]] = (
    ("incident.title", "What is wrong", "helpfulness fell for claude-2"),
    ("incident.state", "firing, acknowledged or resolved", "firing"),
    ("incident.severity", "critical, error, warning or info", "critical"),
    ("incident.since", "Estimated onset", "2026-03-01 13:20 UTC"),
    ("incident.where", "The slice, or “all records”", "variant = claude-2"),
    ("incident.effect_text", "Size with its 95 % interval", "0.84 against 0.91: -0.07 (-0.09 to -0.05), n = 1 240"),
    ("incident.summary", "The explanation in a sentence or two", "Found 12 min after it seems to have begun."),
    ("incident.monitor, incident.metric, incident.experiment", "Where it comes from; empty if not", "helpfulness floor"),
    ("incident.budget_text", "What the monitor promises", "1 false alarm in 30 days"),
    ("incident.incident_url, incident.runbook_url, incident.inbox_url", "Links", "https://…/admin/monitoring/incident/…"),
    ("incident.labels.variant", "One label of the slice", "claude-2"),
    ("incident.routing_labels.severity", "One label that routes see", "critical"),
    ("incident.resolution, incident.note", "Why it is over", "fixed"),
    ("incidents", "All of a group, for {% for one in incidents %} … {% endfor %}", "{{ one.title }}"),
    ("count, firing_count, resolved_count", "How many the message is about", "3"),
)  # fmt: skip


class TemplateForm(forms.ModelForm[MessageTemplate]):
    class Meta:
        model = MessageTemplate
        fields = ("name", "title", "body")
        widgets: ClassVar = {
            "title": UnfoldAdminTextareaWidget(
                attrs={"rows": 2, "class": "ch-editor", "spellcheck": "false"}
            ),
            "body": UnfoldAdminTextareaWidget(
                attrs={"rows": 14, "class": "ch-editor", "spellcheck": "false"}
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.initial.setdefault("title", START_TITLE)
            self.initial.setdefault("body", START_BODY)

    def save(self, commit: bool = True) -> MessageTemplate:  # noqa: FBT001, FBT002 - Django calls it so
        """It was tried by the check, so what broke before is no news any more."""
        if self.has_changed():
            self.instance.broken_reason, self.instance.broken_at = "", None
        return super().save(commit)


@admin.register(MessageTemplate)
class MessageTemplateAdmin(ModelAdmin, FirstLine):
    class Media:
        css = {"all": ("monitoring/channels.css",)}

    form = TemplateForm
    list_display = ("name", "state", "used_by", "changed")
    search_fields = ("name",)
    list_before_template = "monitoring/list_head.html"
    empty_text = "Channels have built-in texts. Own words for a channel are written here, and tried out on a real incident."
    empty_link, empty_link_text = "admin:monitoring_messagetemplate_add", "Write the first text"
    change_form_outer_before_template = "monitoring/template_head.html"
    change_form_outer_after_template = "monitoring/template_preview_box.html"
    warn_unsaved_form = True

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="monitoring_messagetemplate_preview"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MessageTemplate]:
        return super().get_queryset(request).annotate(channel_count=Count("channels"))

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        broken = list(MessageTemplate.objects.exclude(broken_reason="").values_list("name", flat=True))
        if broken:
            names = ", ".join(f"“{name}”" for name in broken[:3]) + (" and others" if len(broken) > 3 else "")
            verb = "is" if len(broken) == 1 else "are"
            return f"{names} {verb} broken: the built-in text is sent instead.", Tone.HARM
        used = Channel.objects.filter(template__isnull=False).count()
        if not used:
            return "Every channel says the built-in text.", Tone.NEUTRAL
        own = wording.plural(used, "channel has words of its own", "channels have words of their own")
        return f"{own}; no template is broken.", Tone.NEUTRAL

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the text in the form makes of one incident; nothing is stored or sent."""
        require(
            request,
            "monitoring.view_messagetemplate",
            "monitoring.change_messagetemplate",
            "monitoring.add_messagetemplate",
        )
        title, body = request.POST.get("title", ""), request.POST.get("body", "")
        context: dict[str, Any] = {"problems": texts.check(title, body)}
        if not context["problems"]:
            try:
                context["written"] = texts.render(title, body, [_payload(request, timezone.now())])
            except texts.BrokenText as error:
                context["problems"] = [error.reason]
        return TemplateResponse(request, "monitoring/template_preview.html", context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context: dict[str, Any] = {
            "show_save_and_add_another": False,
            "examples": EXAMPLES,
            "filters": ", ".join(FILTERS),
            "start_title": START_TITLE,
            "start_body": START_BODY,
            "preview_address": reverse("admin:monitoring_messagetemplate_preview"),
            "offered": _offered() if request.user.has_perm("monitoring.view_incident") else [],
        }
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **context})

    @admin.display(description="state")
    def state(self, template: MessageTemplate) -> SafeString:
        return (
            badge("broken: the built-in text is sent", Tone.HARM)
            if template.broken_reason
            else badge("usable")
        )

    @admin.display(description="used by", ordering="channel_count")
    def used_by(self, template: Any) -> str:
        count = template.channel_count
        return f"{count} channel{'' if count == 1 else 's'}" if count else "no channel"

    @admin.display(description="changed", ordering="updated_at")
    def changed(self, template: MessageTemplate) -> SafeString:
        return moment(template.updated_at)


def _offered() -> list[Incident]:
    return list(Incident.objects.genuine().exclude(state=IncidentState.SUSPECT).order_by("-id")[:OFFERED])


def _payload(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Of the chosen incident, as a message would say it now; a made-up one where there is none."""
    rows = Incident.objects.genuine().select_related("monitor")
    incident = None
    if request.user.has_perm("monitoring.view_incident"):
        chosen = request.POST.get("incident", "")
        incident = rows.filter(pk=as_uuid(chosen)).first() if chosen else rows.order_by("-id").first()
    if incident is None:
        return {**SAMPLE, "at": now.isoformat()}
    kind = MessageKind.RESOLVE if incident.state == IncidentState.RESOLVED else MessageKind.TRIGGER
    return incident_payload(incident, kind, at=now)


SAMPLE: dict[str, Any] = {
    "title": "helpfulness fell for claude-2",
    "summary": "Found 12 min after it seems to have begun.",
    "state": "firing",
    "severity": "critical",
    "monitor": "helpfulness floor",
    "metric": "helpfulness",
    "since": "2026-03-01 13:20 UTC",
    "where": "variant = claude-2",
    "effect_text": "0.84 against 0.91: -0.07 (-0.09 to -0.05), n = 1 240",
    "budget_text": "1 false alarm in 30 days",
    "incident_url": "https://triageops.example.org/admin/monitoring/incident/…",
    "labels": {"variant": "claude-2"},
    "routing_labels": {"alertname": "helpfulness floor", "severity": "critical", "variant": "claude-2"},
}
"""Shown where there is no incident to try a text on."""
