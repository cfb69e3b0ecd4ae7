"""What is asked before an incident is moved."""

from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from monitoring import incidents
from monitoring.admin.monitor_dialogs import BaselineForm
from monitoring.incidents.judging import COMMENT_MAX
from monitoring.models import Incident, Monitor, Usefulness
from monitoring.quiet import silences
from monitoring.routing.matchers import as_text
from triageops.admin import as_uuid

_HALF_HOUR, _TWO_HOURS, _EIGHT_HOURS, _DAY = "1800", "7200", "28800", "86400"
_UNTIL = "until"


def incident_of(object_id: object) -> Incident:
    return get_object_or_404(Incident.objects.select_related("monitor"), pk=as_uuid(object_id))


class AcknowledgeForm(BaseDialogForm):
    length = forms.ChoiceField(
        label="For how long",
        required=False,
        choices=[
            ("", "until it is over"),
            (_HALF_HOUR, "30 minutes"),
            (_TWO_HOURS, "2 hours"),
            (_EIGHT_HOURS, "8 hours"),
        ],
        widget=UnfoldAdminSelectWidget,
        help_text="After that it fires again, and everybody is told, unless it is over.",
    )

    @property
    def span(self) -> timedelta | None:
        """None: without an end."""
        chosen = self.cleaned_data["length"]
        return timedelta(seconds=int(chosen)) if chosen else None


class ExtendForm(AcknowledgeForm):
    """Of what is acknowledged already: only its end can change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["length"]
        field.choices = field.choices[1:]
        field.required = True


class SilenceForm(BaseDialogForm):
    form_before_template = "monitoring/silence_before.html"

    length = forms.ChoiceField(
        label="For how long",
        choices=[(_HALF_HOUR, "30 minutes"), (_TWO_HOURS, "2 hours"), (_DAY, "1 day"), (_UNTIL, "until …")],
        initial=_TWO_HOURS,
        widget=UnfoldAdminSelectWidget,
    )
    until = forms.DateTimeField(
        label="Until (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text="Only for “until …”.",
    )
    comment = forms.CharField(
        label="Why", max_length=silences.COMMENT_MAX, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )

    def get_before_template_context(
        self, request: HttpRequest, object_id: int | str | None = None
    ) -> dict[str, Any]:
        """What the silence would cover, before it is asked for."""
        try:
            matchers = silences.exactly(incident_of(object_id))
        except silences.IncidentOver as error:
            return {"refused": error.detail}
        return {"matchers": as_text(matchers)}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        now = timezone.now()
        if given.get("length") == _UNTIL:
            if not given.get("until"):
                self.add_error("until", "Say until when, for example 2026-01-31 18:00.")
            elif given["until"] <= now:
                self.add_error("until", "That time has passed.")
            given["ends_at"] = given.get("until")
        elif given.get("length"):
            given["ends_at"] = now + timedelta(seconds=int(given["length"]))
        return given


def reason_field() -> forms.ChoiceField:
    """None is preset: the first would be given by whoever does not read."""
    reasons = [(value.value, value.label) for value in incidents.PERSONS_RESOLUTIONS]
    return forms.ChoiceField(
        label="Why is it over?",
        choices=[("", "Choose a reason"), *reasons],
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Choose why it is over."},
    )


def note_field() -> forms.CharField:
    return forms.CharField(
        label="Note",
        max_length=1000,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="What was found or done; kept in the log, which nobody can change.",
    )


class ResolveForm(BaseDialogForm):
    resolution = reason_field()
    note = note_field()


class CommentForm(BaseDialogForm):
    text = forms.CharField(
        label="Comment", max_length=COMMENT_MAX, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
    )


class JudgeForm(BaseDialogForm):
    usefulness = forms.ChoiceField(label="It was", choices=Usefulness.choices, widget=UnfoldAdminSelectWidget)


class IncidentBaselineForm(BaselineForm):
    """Of the monitor that found the incident."""

    def found(self) -> Monitor:
        incident = get_object_or_404(Incident.objects.of_monitors(), pk=as_uuid(self.object_id))
        return get_object_or_404(Monitor.objects.select_related("reference"), pk=incident.monitor_id)
