"""Many incidents are resolved at once only after a question that says how many, how grave, and what was not seen."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from monitoring import incidents
from monitoring.admin.acting import act_and_say
from monitoring.admin.inbox_lines import severity_badge
from monitoring.admin.incident_dialogs import note_field, reason_field
from monitoring.admin.opening import Admin, person, render, require
from monitoring.models import Incident, Resolution, Severity
from monitoring.reading.inbox import held_back
from triageops import wording
from triageops.admin import as_uuid

ACT = "monitoring.change_incident"
LISTED = 12
_ORDER = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO)
_PLACES = {"inbox": "monitoring_inbox", "list": "monitoring_incident_changelist"}


class ResolveManyForm(forms.Form):
    """incidents: their ids as they were when it was asked, so that what came later stays open."""

    incidents = forms.CharField(widget=forms.HiddenInput)
    resolution = reason_field()
    note = note_field()

    def clean_incidents(self) -> list[UUID]:
        return [as_uuid(one) for one in self.cleaned_data["incidents"].split(",")]


def ask(
    admin: Admin,
    request: HttpRequest,
    ids: Sequence[UUID],
    *,
    back: str,
    folded: int = 0,
    form: ResolveManyForm | None = None,
) -> HttpResponse:
    """back: “inbox” or “list”. folded: how many of them the page showed only as part of a line."""
    found = list(Incident.objects.filter(pk__in=ids).annotate(is_held=held_back()))
    grave = {severity: place for place, severity in enumerate(_ORDER)}
    unresolved = sorted(
        (one for one in found if one.is_open), key=lambda one: (grave[Severity(one.severity)], one.opened_at)
    )
    joined = ",".join(str(pk) for pk in ids)
    listed = [(severity_badge(one), one) for one in unresolved]
    return render(
        admin,
        request,
        "resolve_many",
        "Resolve incidents",
        form=form or ResolveManyForm(initial={"incidents": joined}),
        sentence=_sentence(unresolved),
        tone="harm" if any(grave[Severity(one.severity)] < 2 for one in unresolved) else "look",
        points=_points(unresolved, over=len(found) - len(unresolved), folded=folded),
        listed=listed[:LISTED],
        others=listed[LISTED:],
        halts=[one for one in unresolved if one.experiment],
        count=len(unresolved),
        folded=folded,
        back=back,
        back_address=_address(back),
    )


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    """Takes the answer to the question."""
    require(request, ACT)
    back = request.POST.get("back", "")
    form = ResolveManyForm(request.POST)
    if request.method != "POST" or "incidents" not in request.POST:
        return HttpResponseRedirect(_address(back))
    if not form.is_valid():
        ids = [as_uuid(one) for one in request.POST["incidents"].split(",")]
        folded = request.POST.get("folded", "")
        return ask(admin, request, ids, back=back, folded=int(folded) if folded.isdecimal() else 0, form=form)
    given, user = form.cleaned_data, person(request)
    reason = Resolution(given["resolution"])
    act_and_say(
        admin,
        request,
        given["incidents"],
        "resolved",
        lambda pk: incidents.resolve(pk, reason, by=user, note=given["note"], now=timezone.now()),
    )
    return HttpResponseRedirect(_address(back))


def _address(back: str) -> str:
    return reverse(f"admin:{_PLACES.get(back, _PLACES['inbox'])}")


def _sentence(unresolved: Sequence[Incident]) -> str:
    if not unresolved:
        return "None of these incidents is open: there is nothing to resolve."
    counts = Counter(one.severity for one in unresolved)
    said = [f"{wording.count(counts[one])} {one.label.lower()}" for one in _ORDER if counts[one]]
    return f"Resolve {wording.plural(len(unresolved), 'incident')}: {', '.join(said)}?"


def _points(unresolved: Sequence[Any], *, over: int, folded: int) -> list[str]:
    """What one would not see in the number alone."""
    unread = sum(one.acknowledged_at is None for one in unresolved)
    held = sum(one.is_held for one in unresolved)
    every = wording.plural(len(unresolved), "incident")
    found = []
    if folded:
        found.append(
            f"{wording.count(folded)} of them {'is' if folded == 1 else 'are'} folded into lines of the inbox, where one "
            "sees only the first of each."
        )
    if unread:
        found.append(f"Nobody has acknowledged {wording.count(unread)} of {every}.")
    if held:
        found.append(
            f"{wording.count(held)} of {every} {'is' if held == 1 else 'are'} silenced or held back."
        )
    if over:
        found.append(
            f"{wording.count(over)} more that {'was' if over == 1 else 'were'} chosen {'is' if over == 1 else 'are'} "
            "not open, and left as they are."
        )
    return found
