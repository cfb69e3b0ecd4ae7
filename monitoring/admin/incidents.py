"""Incidents: what happened, who was told, and what a person does about it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from monitoring import incidents
from monitoring.admin import inbox, incident_file, numbers, resolving, told
from monitoring.admin.acting import act_on_each
from monitoring.admin.first_line import FirstLine
from monitoring.admin.inbox_lines import about, severity_badge
from monitoring.admin.incident_buttons import BUTTONS, allowed
from monitoring.admin.incident_filters import (
    AboutFilter,
    FlagFilter,
    SourceFilter,
    StateFilter,
    ToldFilter,
    UsefulnessFilter,
)
from monitoring.admin.incident_page import page, state_badge
from monitoring.admin.opening import keep_count, needing_count, person
from monitoring.admin.read_along import keep_flags, with_flags
from monitoring.models import Flag, Incident, IncidentFlag, IncidentState, Usefulness
from monitoring.reading.inbox import held_back
from monitoring.reading.incident_sentences import FLAG_WORDS, flag_sentence
from monitoring.reading.sentences import size_text
from triageops import wording
from triageops.admin import EstimatedPaginator, ReadOnlyAdmin, Tone, moment

_LIST, _OF_MONITOR = "monitoring_incident_changelist", "monitor__id__exact"


def _of_each(name: str, label: str, word: str, act: Callable[..., Incident]) -> Any:
    """An action of the list: the same for every incident that is chosen."""

    def run(self: "IncidentAdmin", request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        moved = partial(act, by=person(request), now=timezone.now())
        done, refused = act_on_each(self, request, ids, word, moved)
        messages.info(request, f"{wording.plural(done, 'incident was', 'incidents were')} {word}.")
        for text in sorted(set(refused)):
            messages.error(request, text)

    run.__name__ = name
    return admin.action(run, description=label, permissions=["act"])


def _judge(usefulness: Usefulness) -> Callable[..., Incident]:
    return lambda pk, **who: incidents.judge(pk, usefulness, **who)


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin, FirstLine):
    list_display = (
        "title",
        "shown_state",
        "shown_flags",
        "shown_severity",
        "size",
        "onset",
        "opened",
        "resolved",
        "about",
    )
    list_filter = (
        StateFilter,
        FlagFilter,
        AboutFilter,
        SourceFilter,
        "severity",
        UsefulnessFilter,
        ToldFilter,
        "monitor",
    )
    list_select_related = ("monitor",)
    paginator = EstimatedPaginator
    show_full_result_count = False
    search_fields = ("title", "experiment", "labels__icontains")
    search_help_text = "A part of the title, of an experiment's key, or of a label."
    list_before_template = "monitoring/list_head.html"
    empty_text = "An incident will appear here when a monitor finds that a metric is worse than it may be, an experiment is halted, or another system reports one."
    empty_link, empty_link_text = "admin:monitoring_monitor_changelist", "What is watched"
    fields = ()
    change_form_outer_before_template = "monitoring/incident.html"
    actions_detail = (
        "acknowledge",
        "unacknowledge",
        "silence",
        "end_silence",
        "resolve",
        "resolve_halt",
        {"title": "More", "icon": "more_horiz", "items": ["extend", "comment", "judge", "accept_baseline"]},
    )
    actions = (
        "acknowledge_chosen",
        "resolve_chosen",
        "judge_useful",
        "judge_noise",
        "judge_expected",
    )

    acknowledge = BUTTONS["acknowledge"]
    extend = BUTTONS["extend"]
    unacknowledge = BUTTONS["unacknowledge"]
    silence = BUTTONS["silence"]
    end_silence = BUTTONS["end_silence"]
    resolve = BUTTONS["resolve"]
    resolve_halt = BUTTONS["resolve_halt"]
    accept_baseline = BUTTONS["accept_baseline"]
    comment = BUTTONS["comment"]
    judge = BUTTONS["judge"]

    acknowledge_chosen = _of_each("acknowledge_chosen", "Acknowledge", "acknowledged", incidents.acknowledge)
    judge_useful = _of_each("judge_useful", "Judge as useful", "judged", _judge(Usefulness.USEFUL))
    judge_noise = _of_each("judge_noise", "Judge as noise", "judged", _judge(Usefulness.NOISE))
    judge_expected = _of_each("judge_expected", "Judge as expected", "judged", _judge(Usefulness.EXPECTED))

    class Media:
        css = {"all": ("monitoring/monitor.css", "monitoring/inbox.css", "monitoring/channels.css")}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("inbox/", view(partial(inbox.page, self)), name="monitoring_inbox"),
            path("inbox/resolve/", view(partial(resolving.page, self)), name="monitoring_resolve_many"),
            path("numbers/", view(partial(numbers.page, self)), name="monitoring_numbers"),
            path("<uuid:incident_id>/told/", view(partial(told.page, self)), name="monitoring_incident_told"),
            path(
                "<uuid:incident_id>/evidence.<slug:form>",
                view(partial(incident_file.page, self)),
                name="monitoring_incident_evidence",
            ),
        ]
        return [*own, *super().get_urls()]

    @admin.action(description="Resolve …", permissions=["act"])
    def resolve_chosen(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True))
        return resolving.ask(self, request, ids, back="list")

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        """Counts the badge of the sidebar as well."""
        rows = Incident.objects.open().genuine().annotate(held=held_back())
        is_wanted = Q(state=IncidentState.FIRING, held=False)
        found = rows.aggregate(open=Count("pk"), needing=Count("pk", filter=is_wanted))
        request.__dict__["needing_count"] = needing = found["needing"]
        count = wording.plural(found["open"], "incident is", "incidents are")
        if not found["open"]:
            return "No incident is open.", Tone.NEUTRAL
        if not needing:
            return f"{count} open, and nobody is needed now.", Tone.LOOK
        need = wording.plural(needing, "of them needs", "of them need") if found["open"] > 1 else "it needs"
        return f"{count} open; {need} somebody.", Tone.HARM

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
            read[object_id] = found = super().get_object(request, object_id, from_field)
            keep_count(request, found)
            if found is not None:
                keep_flags(found)
        return read[object_id]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        """In the list without what was planted, unless a monitor is chosen: that of the canary shows them."""
        people = ("acknowledged_by", "resolved_by", "judged_by")
        rows: Any = super().get_queryset(request).select_related("monitor", *people)
        is_list = request.resolver_match is not None and request.resolver_match.url_name == _LIST
        if not is_list:
            return with_flags(rows).annotate(needing_count=needing_count())
        rows = rows.prefetch_related(Prefetch("flags", IncidentFlag.objects.active(), to_attr="active_flags"))
        chosen: QuerySet[Incident] = rows if _OF_MONITOR in request.GET else rows.genuine()
        return chosen

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        incident = self.get_object(request, str(object_id))
        names = set() if incident is None else allowed(incident)
        every = super().get_actions_detail(request, object_id)
        return [one for one in every if one.path.replace("-", "_") in names]

    @admin.display(description="state", ordering="state")
    def shown_state(self, incident: Incident) -> SafeString:
        return state_badge(incident)

    @admin.display(description="flags")
    def shown_flags(self, incident: Incident) -> SafeString | str:
        flags: list[IncidentFlag] = incident.active_flags  # type: ignore[attr-defined]
        said = ((flag_sentence(one), FLAG_WORDS[Flag(one.kind)]) for one in flags)
        return format_html_join(" ", '<span class="to-badge to-look" title="{}">{}</span>', said) or "–"

    @admin.display(description="severity", ordering="severity")
    def shown_severity(self, incident: Incident) -> SafeString:
        return severity_badge(incident)

    @admin.display(description="effect")
    def size(self, incident: Incident) -> str:
        return size_text(incident) or "–"

    @admin.display(description="about")
    def about(self, incident: Incident) -> str:
        return about(incident)

    @admin.display(description="onset", ordering="onset_at")
    def onset(self, incident: Incident) -> SafeString:
        return moment(incident.onset_at)

    @admin.display(description="found", ordering="opened_at")
    def opened(self, incident: Incident) -> SafeString:
        return moment(incident.opened_at)

    @admin.display(description="resolved", ordering="resolved_at")
    def resolved(self, incident: Incident) -> SafeString:
        return moment(incident.resolved_at, "–")
