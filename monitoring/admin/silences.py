"""Silences: which hold, what each holds back, who made it and until when; made, changed, ended, made again."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from monitoring.admin import calendar as calendar_page
from monitoring.admin.opening import person, render, require
from monitoring.admin.silence_form import Named, SilenceForm, initial_of, preview
from monitoring.labels import labels_of
from monitoring.models import Incident, Silence, SilenceMirror
from monitoring.quiet import causes, silences
from monitoring.routing.matchers import InvalidMatcher, Matcher, as_text, matches_all, parse
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import NoDeleteAdmin, as_uuid

AGAIN = timedelta(hours=2)
MOST_ENDED, MOST_NAMED = 50, 5
_VIEW = ("monitoring.view_silence", "monitoring.change_silence", "monitoring.add_silence")


@dataclass
class Row:
    silence: Silence
    text: str
    matchers: list[Matcher] = field(default_factory=list)
    held: list[Named] = field(default_factory=list)
    more: int = 0
    unmirrored: list[str] = field(default_factory=list)


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
        active, pending, ended = _rows(now)
        return render(
            self,
            request,
            "silences",
            "Silences",
            sentence=_sentence(active),
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


def _rows(now: datetime) -> tuple[list[Row], list[Row], list[Row]]:
    standing = [_row(one) for one in Silence.objects.filter(ends_at__gt=now).order_by("ends_at")]
    active = [row for row in standing if row.silence.starts_at <= now]
    pending = [row for row in standing if row.silence.starts_at > now]
    pending.sort(key=lambda row: row.silence.starts_at)
    if active:
        _add_held(active)
        _add_unmirrored(active)
    ended = Silence.objects.expired(now).order_by("-ends_at")[:MOST_ENDED]
    return active, pending, [_row(one) for one in ended]


def _row(silence: Silence) -> Row:
    try:
        matchers = silences.matchers_of(silence)
    except InvalidMatcher as error:
        return Row(silence, f"cannot be read: {error}")
    return Row(silence, as_text(matchers), matchers)


def _add_held(rows: list[Row]) -> None:
    incidents = [(one, labels_of(one)) for one in causes.unresolved().open().genuine().order_by("-id")]
    for row in rows:
        found = [one for one, labels in incidents if row.matchers and matches_all(row.matchers, labels)]
        row.held = [Named.of(one) for one in found[:MOST_NAMED]]
        row.more = len(found[MOST_NAMED:])


def _add_unmirrored(rows: list[Row]) -> None:
    by_id = {row.silence.pk: row for row in rows}
    for mirror in (
        SilenceMirror.objects.exclude(reason="").filter(silence__in=by_id).select_related("channel")
    ):
        by_id[mirror.silence_id].unmirrored.append(f"{mirror.channel.name}: {mirror.reason}")


def _sentence(active: list[Row]) -> str:
    if not active:
        return "Nothing is silenced now."
    held = {one.incident.pk for row in active for one in row.held}
    count = wording.plural(len(active), "silence")
    holds = "holds" if len(active) == 1 else "hold"
    if not held:
        return f"{count} {holds} now, and no open incident matches."
    more = any(row.more for row in active)
    return f"{count} {holds} back {'more than ' if more else ''}{wording.plural(len(held), 'open incident')} now."


def _asked_for(request: HttpRequest) -> dict[str, Any]:
    """Of the incident that the address names, or the matchers in it."""
    incident_id = request.GET.get("incident", "")
    incident = (
        Incident.objects.select_related("monitor").filter(pk=as_uuid(incident_id)).first()
        if incident_id
        else None
    )
    if incident is not None:
        return {"matchers": as_text(silences.exactly(incident))}
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
