"""Silences: which hold, what each holds back, who made it and until when; made, changed, ended, made again."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from monitoring.admin import calendar as calendar_page
from monitoring.admin import silence_end
from monitoring.admin.opening import person, render, require
from monitoring.admin.silence_form import SilenceForm, initial_of, preview
from monitoring.admin.silence_rows import rows, sentence
from monitoring.models import Incident, Silence
from monitoring.quiet import silences
from monitoring.routing.matchers import InvalidMatcher, as_text, parse
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import NoDeleteAdmin, as_uuid

AGAIN = timedelta(hours=2)
_VIEW = ("monitoring.view_silence", "monitoring.change_silence", "monitoring.add_silence")


@admin.register(Silence)
class SilenceAdmin(NoDeleteAdmin):
    class Media:
        css = {"all": ("monitoring/fleet.css", "monitoring/calendar.css")}
        js = ("monitoring/silences.js",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("calendar/", view(self.calendar), name="monitoring_calendar"),
            path("preview/", view(self.preview), name="monitoring_silence_preview"),
            path("<uuid:silence_id>/end/", view(self.end_view), name="monitoring_silence_end"),
            *super().get_urls(),
        ]

    def calendar(self, request: HttpRequest) -> HttpResponse:
        require(request, *_VIEW, "monitoring.view_maintenancewindow")
        return calendar_page.page(self, request, timezone.now())

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, *_VIEW)
        if request.method == "POST":
            return self._act(request, timezone.now())
        now = timezone.now()
        active, pending, ended = rows(now)
        return render(
            self,
            request,
            "silences",
            "Silences",
            sentence=sentence(active),
            tone="look" if active else "neutral",
            groups=[
                ("Active", active, "end", "Nothing is silenced now: every open incident is told."),
                ("To come", pending, "end", ""),
                ("Ended", ended, "again", ""),
            ],
            base_url=settings.BASE_URL,
            again=wording.seconds(AGAIN.total_seconds()),
            may_add=request.user.has_perm("monitoring.add_silence"),
            may_end=request.user.has_perm("monitoring.change_silence"),
        )

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        require(request, "monitoring.add_silence")
        return self._form_page(request, None, timezone.now())

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        require(request, "monitoring.change_silence")
        silence = get_object_or_404(Silence, pk=as_uuid(object_id))
        return self._form_page(request, silence, timezone.now())

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The part of the form's page that says what it would hold back."""
        require(request, *_VIEW)
        return TemplateResponse(
            request,
            "monitoring/silence_preview.html",
            _previewed(request.GET.get("matchers", ""), timezone.now()),
        )

    def end_view(self, request: HttpRequest, silence_id: UUID) -> HttpResponse:
        """The question before a silence is ended."""
        require(request, "monitoring.change_silence")
        silence, now = get_object_or_404(Silence, pk=silence_id), timezone.now()
        if silence.ends_at > now:
            with suppress(InvalidMatcher):
                return silence_end.page(self, request, silence, now)
        messages.error(request, "It has ended, or nobody can read what it says.")
        return HttpResponseRedirect(reverse("admin:monitoring_silence_changelist"))

    def _form_page(self, request: HttpRequest, silence: Silence | None, now: datetime) -> HttpResponse:
        if request.method == "POST":
            form = SilenceForm(request.POST, now=now, silence=silence)
            if form.is_valid() and request.POST.get("step") != "preview":
                return self._save(request, form, silence, now)
            text = request.POST.get("matchers", "")
        else:
            initial = initial_of(silence) if silence is not None else _asked_for(request)
            form = SilenceForm(now=now, silence=silence, initial=initial)
            text = initial.get("matchers", "")
        return render(
            self,
            request,
            "silence_form",
            "Change the silence" if silence is not None else "New silence",
            form=form,
            is_new=silence is None,
            **_previewed(text, now),
        )

    def _save(
        self, request: HttpRequest, form: SilenceForm, silence: Silence | None, now: datetime
    ) -> HttpResponse:
        given, by = form.cleaned_data, person(request).get_username()
        values: dict[str, Any] = {
            "starts_at": given["starts_at"],
            "ends_at": given["ends_at"],
            "comment": given["comment"],
            "created_by": by,
            "now": now,
        }
        try:
            if silence is None:
                made = silences.make(form.wanted, **values)
                self.log_addition(request, made, "Made.")
            else:
                made = silences.change(silence.pk, form.wanted, **values)
                self.log_change(request, made, "Changed.")
        except silences.InvalidSilence as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(request.get_full_path())
        wake_delivery()
        messages.success(request, f"Silenced until {made.ends_at:%Y-%m-%d %H:%M} UTC.")
        return HttpResponseRedirect(reverse("admin:monitoring_silence_changelist"))

    def _act(self, request: HttpRequest, now: datetime) -> HttpResponse:
        by = person(request).get_username()
        try:
            if "end" in request.POST:
                require(request, "monitoring.change_silence")
                silence = silences.end(as_uuid(request.POST["end"]), by=by, now=now)
                self.log_change(request, silence, "Ended.")
                messages.success(request, "Ended. What is still true is told now.")
            elif "again" in request.POST:
                require(request, "monitoring.add_silence")
                made = silences.again(as_uuid(request.POST["again"]), length=AGAIN, created_by=by, now=now)
                self.log_addition(request, made, "Made again.")
                messages.success(request, f"Silenced again until {made.ends_at:%Y-%m-%d %H:%M} UTC.")
            wake_delivery()
        except (silences.SilenceOver, silences.InvalidSilence, InvalidMatcher) as error:
            messages.error(request, str(error))
        except Silence.DoesNotExist:
            messages.error(request, "There is no such silence any more.")
        return HttpResponseRedirect(reverse("admin:monitoring_silence_changelist"))


def _asked_for(request: HttpRequest) -> dict[str, Any]:
    """Of the incident that the address names, or the matchers in it."""
    incident_id = request.GET.get("incident", "")
    incident = (
        Incident.objects.select_related("monitor").filter(pk=as_uuid(incident_id)).first()
        if incident_id
        else None
    )
    if incident is not None:
        try:
            return {"matchers": as_text(silences.exactly(incident))}
        except silences.IncidentOver as error:
            messages.warning(request, error.detail)
            return {}
    return {"matchers": request.GET.get("matchers", "")}


def _previewed(text: str, now: datetime) -> dict[str, Any]:
    joined = ",".join(filter(None, (line.strip().rstrip(",") for line in text.splitlines())))
    if not joined:
        return {"preview": None, "problem": ""}
    try:
        matchers = parse(joined)
    except InvalidMatcher as error:
        return {"preview": None, "problem": str(error)}
    return {"preview": preview(matchers, now, now), "problem": ""}
