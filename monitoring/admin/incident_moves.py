"""What the buttons of an incident do: one call each, a line in the admin's log, and back to where it was asked."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from monitoring import incidents
from monitoring.admin import monitor_moves
from monitoring.admin.acting import act_on_each
from monitoring.admin.incident_dialogs import incident_of
from monitoring.admin.opening import person
from monitoring.history import flags
from monitoring.models import Flag, Incident, IncidentFlag, Resolution, Usefulness
from monitoring.quiet import silences
from monitoring.reading.incident_sentences import OF_SILENCE
from monitoring.tasks import wake_delivery

Form = Any


def silence_of(incident: Incident) -> UUID | None:
    """The silence that its flag names."""
    known: list[IncidentFlag] | None = getattr(incident, "active_flags", None)
    flag = (
        flags.active(incident).get(Flag.SILENCED)
        if known is None
        else next((one for one in known if one.kind == Flag.SILENCED), None)
    )
    if flag is None or not flag.cause.startswith(OF_SILENCE):
        return None
    return UUID(flag.cause.removeprefix(OF_SILENCE))


def _move(
    admin: Any, request: HttpRequest, object_id: str, word: str, act: Callable[[UUID], Incident]
) -> HttpResponse:
    """One incident, from its page or from the inbox; a refusal is said there."""
    done, refused = act_on_each(admin, request, [incident_of(object_id).pk], word, act)
    if done:
        messages.success(request, f"{word}.")
    for one in refused:
        messages.error(request, one)
    return _back(request, object_id)


def _back(request: HttpRequest, object_id: str) -> HttpResponse:
    address = reverse("admin:monitoring_incident_change", args=[object_id])
    if request.GET.get("to") == "inbox":
        address = reverse("admin:monitoring_inbox")
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def acknowledge(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now = person(request), timezone.now()
    until = now + form.span if form.span else None
    return _move(
        admin,
        request,
        object_id,
        "Acknowledged",
        lambda pk: incidents.acknowledge(pk, by=user, until=until, now=now),
    )


def unacknowledge(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now = person(request), timezone.now()
    return _move(
        admin,
        request,
        object_id,
        "Acknowledgement taken back",
        lambda pk: incidents.unacknowledge(pk, by=user, now=now),
    )


def resolve(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now, given = person(request), timezone.now(), form.cleaned_data
    reason = Resolution(given["resolution"])
    return _move(
        admin,
        request,
        object_id,
        f"Resolved: {reason.label}",
        lambda pk: incidents.resolve(pk, reason, by=user, note=given["note"], now=now),
    )


def comment(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now, text = person(request), timezone.now(), form.cleaned_data["text"]
    return _move(
        admin, request, object_id, "Comment kept", lambda pk: incidents.comment(pk, text, by=user, now=now)
    )


def judge(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now = person(request), timezone.now()
    usefulness = Usefulness(form.cleaned_data["usefulness"])
    return _move(
        admin,
        request,
        object_id,
        f"Judged as {usefulness}",
        lambda pk: incidents.judge(pk, usefulness, by=user, now=now),
    )


def silence(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now, incident = person(request), timezone.now(), incident_of(object_id)
    try:
        silences.make(
            silences.exactly(incident),
            starts_at=now,
            ends_at=form.cleaned_data["ends_at"],
            comment=form.cleaned_data["comment"],
            created_by=user.get_username(),
            now=now,
        )
    except silences.InvalidSilence as error:
        messages.error(request, error.detail)
    else:
        _said(admin, request, incident, "Silenced.")
    return _back(request, object_id)


def end_silence(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    user, now, incident = person(request), timezone.now(), incident_of(object_id)
    silence_id = silence_of(incident)
    if silence_id is None:
        messages.error(request, "No silence holds for it.")
        return _back(request, object_id)
    try:
        silences.end(silence_id, by=user.get_username(), now=now)
    except silences.SilenceOver as error:
        messages.error(request, str(error))
    else:
        _said(admin, request, incident, "The silence was ended.")
    return _back(request, object_id)


def _said(admin: Any, request: HttpRequest, incident: Incident, word: str) -> None:
    admin.log_change(request, incident, word)
    messages.success(request, word)
    wake_delivery()


def accept(admin: Any, request: HttpRequest, form: Form, object_id: str) -> HttpResponse:
    return monitor_moves.accept(admin, request, form)
