"""“Who would be told about this, when?”: labels and a time, or an incident that was."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from monitoring.admin.labels import LabelsField
from monitoring.admin.opening import Admin, render
from monitoring.admin.route_tree import picture
from monitoring.labels import labels_of
from monitoring.models import Incident
from monitoring.notifying import routes
from monitoring.notifying.route_preview import YEARS, HeldBack, Preview, Told, preview
from triageops import wording

MOST_INCIDENTS = 50


class PreviewForm(forms.Form):
    labels = LabelsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 4, "placeholder": "severity = critical\nmodel = gpt-4"}
        ),
        help_text="One “name = value” a line, such as alertname, severity, monitor, metric, model.",
    )
    incident = forms.ChoiceField(
        required=False,
        label="Or the labels of an incident",
        widget=UnfoldAdminSelectWidget,
        help_text="The last ones, open and past.",
    )
    at = forms.CharField(
        required=False,
        label="When (UTC)",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-01-31 22:00"}),
        help_text="Empty: now.",
    )

    def __init__(self, *args: Any, incidents: list[Incident], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(one.pk), f"{one.opened_at:%Y-%m-%d %H:%M} {one.title}"[:120]) for one in incidents]
        field: Any = self.fields["incident"]
        field.choices = [("", "none"), *choices]

    def clean_at(self) -> datetime | None:
        text = self.cleaned_data["at"].strip()
        if not text:
            return None
        try:
            at = parse_datetime(text)
        except ValueError:
            at = None
        if at is None or not YEARS[0] <= at.year <= YEARS[1]:
            raise forms.ValidationError(f"“{text}” is no time; write it as 2026-01-31 22:00.")
        return at if at.tzinfo else at.replace(tzinfo=UTC)


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    incidents = list(Incident.objects.genuine().select_related("monitor").order_by("-id")[:MOST_INCIDENTS])
    asked = request.GET if request.GET else None
    form = PreviewForm(asked, incidents=incidents)
    context: dict[str, Any] = {
        "form": form,
        "sentence": "Say what would be opened, and see who would be told of it.",
    }
    if form.is_valid():
        chosen = next((one for one in incidents if str(one.pk) == form.cleaned_data["incident"]), None)
        labels = labels_of(chosen) if chosen else form.cleaned_data["labels"]
        found = preview(labels, form.cleaned_data["at"] or timezone.now(), chosen)
        root = routes.tree()
        verdicts = {one.id: one for one in found.verdicts}
        context |= {
            "found": found,
            "labels": sorted(found.labels.items()),
            "sentence": sentence(found),
            "tone": "look" if not found.told or holding_of(found) else "good",
            "tree": picture(root, verdicts) if root else None,
            "rows": _rows(found),
        }
    return render(admin, request, "route_preview", "Who would be told?", **context)


def sentence(found: Preview) -> str:
    told = [one for one in found.told if one.channel.is_enabled]
    if not told:
        return "Nobody would be told of it."
    names = ", ".join(dict.fromkeys(one.channel.name for one in told))
    said = f"{names} would be told, the first {_after(told[0].at, found)}."
    holding = holding_of(found)
    return f"{said} But it is held back then, by {holding[0].why}." if holding else said


def holding_of(found: Preview) -> list[HeldBack]:
    """What still holds it back when the first would be told."""
    steps = [one for way in found.ways for step in way.steps for one in step.told]
    first = min((one.at for one in (*found.told, *steps)), default=found.at)
    return [one for one in found.held_back if one.until is None or one.until > first]


def _after(at: datetime, found: Preview) -> str:
    seconds = (at - found.at).total_seconds()
    return "at once" if seconds <= 0 else f"after {wording.seconds(seconds)}"


def _rows(found: Preview) -> list[dict[str, Any]]:
    """Every time at which somebody is told, in order."""

    def row(told: Told, way: str) -> dict[str, Any]:
        return {"told": told, "way": way, "after": _after(told.at, found)}

    rows = [row(one, "no route") for one in found.directly]
    for way in found.ways:
        path = " → ".join(hop.name for hop in way.leaf.path)
        rows += [row(one, path) for one in way.told]
        rows += [row(one, f"{path}, step {step.number}") for step in way.steps for one in step.told]
    return sorted(rows, key=lambda one: one["told"].at)
