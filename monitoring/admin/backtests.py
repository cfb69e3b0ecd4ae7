"""Backtests: what was tried out, and what it says; the pages of suggestions lie beside them."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant

from monitoring import backtests, questions, transitions
from monitoring.admin import suggestions
from monitoring.admin.backtest_page import page
from monitoring.admin.dialogs import ConfirmForm, ReasonForm, dialog, in_page
from monitoring.admin.monitor_dialogs import BacktestedForm
from monitoring.admin.opening import person
from monitoring.models import Backtest, BacktestState
from monitoring.references import NothingToLearn
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import ReadOnlyAdmin, Tone, as_uuid, badge, moment
from triageops.rest import Problem


@admin.register(Backtest)
class BacktestAdmin(ReadOnlyAdmin):
    list_display = ("monitor", "shown_state", "result", "about", "asked", "asked_by")
    list_filter = ("state", "is_change", "monitor")
    list_select_related = ("monitor", "asked_by")
    list_before_template = "monitoring/list_head.html"
    empty_text = "Each try of a monitor's settings on the past will appear here, with its alarms and delays."
    empty_link, empty_link_text = "admin:monitoring_suggestions", "See what could be watched"
    fields = ()
    change_form_outer_before_template = "monitoring/backtest.html"
    actions_detail = ("activate", "apply_change", "run_again", "cancel")

    class Media:
        css = {"all": ("monitoring/fleet.css",)}
        js = ("triageops/live.js", "monitoring/reload.js")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("suggestions/", view(partial(suggestions.page, self)), name="monitoring_suggestions"),
            path(
                "progress/", view(partial(suggestions.progress, self)), name="monitoring_suggestions_progress"
            ),
            path("<path:object_id>/live/", view(self.live), name="monitoring_backtest_live"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backtest]:
        """Without reports, which are large: the list needs four of their numbers."""
        rows: QuerySet[Backtest] = super().get_queryset(request).select_related("monitor", "asked_by")
        return rows.defer("report").annotate(
            is_calm=F("report__is_calm"),
            alarms=F("report__alarm_count"),
            signals=F("report__signal_count"),
            promised=F("report__budget__promised"),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Backtest | None = None) -> list[Any]:
        return []

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Backtest | None:
        """The row with its report, read once for each request."""
        read: dict[str, Backtest | None] = request.__dict__.setdefault("backtests_read", {})
        if object_id not in read:
            rows = Backtest.objects.select_related("monitor__reference")
            read[object_id] = rows.filter(pk=as_uuid(object_id)).first()
        return read[object_id]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        backtest = self.get_object(request, object_id)
        context = {} if backtest is None else page(backtest, request.GET.get("slice", ""))
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "title": "Backtest", **context}
        )

    def live(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The parts that change while it runs, for the page's script."""
        backtest = self.get_object(request, object_id)
        if backtest is None or not self.has_view_permission(request, backtest):
            raise Http404
        return TemplateResponse(request, "monitoring/backtest_live.html", page(backtest, ""))

    def has_watch_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("monitoring.change_monitor")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        backtest = self.get_object(request, str(object_id))
        offered = set() if backtest is None else _offered(backtest)
        return [one for one in super().get_actions_detail(request, object_id) if one.path in offered]

    @in_page
    @action(
        description="Activate",
        url_path="activate",
        icon="play_arrow",
        permissions=["watch"],
        variant=ActionVariant.PRIMARY,
        dialog=dialog(
            "Activate this monitor?",
            "It watches from now on, with no evidence from before.",
            "Activate",
            BacktestedForm,
        ),
    )
    def activate(self, request: HttpRequest, form: BacktestedForm, object_id: str) -> HttpResponse:
        backtest = _opened(object_id)
        monitor, reason = backtest.monitor, form.cleaned_data.get("reason", "")
        try:
            transitions.activate(monitor, without_backtest=reason, by=person(request), now=timezone.now())
        except Problem as refused:
            messages.error(request, refused.detail)
            return _to(backtest)
        self.log_change(request, monitor, f"Activated after a backtest. {reason}".strip())
        messages.success(request, f"“{monitor}” watches from now on.")
        return HttpResponse(
            headers={"HX-Redirect": reverse("admin:monitoring_monitor_change", args=[monitor.pk])}
        )

    @in_page
    @action(
        description="Apply the change",
        url_path="apply-change",
        icon="published_with_changes",
        permissions=["watch"],
        variant=ActionVariant.PRIMARY,
        dialog=dialog(
            "Put these settings into force?",
            "The monitor learns and watches with them from now on; what is open of the old question is resolved.",
            "Apply",
            ReasonForm,
        ),
    )
    def apply_change(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        backtest, reason = _opened(object_id), form.cleaned_data["reason"]
        try:
            count = backtests.apply(backtest, by=person(request), reason=reason, now=timezone.now())
        except (backtests.NotApplicable, NothingToLearn, ValidationError) as error:
            messages.error(request, _said(error))
        else:
            wake_delivery()
            self.log_change(request, backtest.monitor, f"Changed after a backtest. {reason}")
            over = (
                f", and {wording.plural(count, 'open incident')} {'is' if count == 1 else 'are'} over"
                if count
                else ""
            )
            messages.success(request, f"“{backtest.monitor}” asks the new question from now on{over}.")
        return _to(backtest)

    @in_page
    @action(
        description="Run again",
        url_path="run-again",
        icon="replay",
        permissions=["watch"],
        dialog=dialog("Try it out again?", "The same settings, on the past as it is known now.", "Run again"),
    )
    def run_again(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        backtest = _opened(object_id)
        try:
            again = backtests.ask(
                backtest.monitor, question=backtest.question, by=person(request), now=timezone.now()
            )
        except (backtests.BacktestRunning, ValidationError) as error:
            messages.error(request, _said(error))
            return _to(backtest)
        backtests.start(again)
        self.log_change(request, again, "Asked for again.")
        return _to(again)

    @in_page
    @action(
        description="Cancel",
        url_path="cancel",
        icon="stop",
        permissions=["watch"],
        dialog=dialog("Cancel this backtest?", "It stops, and says nothing.", "Cancel it"),
    )
    def cancel(self, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        backtest = _opened(object_id)
        if backtests.cancel(backtest, now=timezone.now()):
            self.log_change(request, backtest, "Cancelled.")
        else:
            messages.info(request, "It was finished already.")
        return _to(backtest)

    @admin.display(description="state", ordering="state")
    def shown_state(self, backtest: Backtest) -> SafeString:
        is_failed = backtest.state == BacktestState.FAILED
        return badge(backtest.state, Tone.HARM if is_failed else Tone.NEUTRAL)

    @admin.display(description="result")
    def result(self, backtest: Backtest) -> str:
        return suggestions.result_of(backtest)

    @admin.display(description="of")
    def about(self, backtest: Backtest) -> str:
        return "other settings" if backtest.is_change else "its settings"

    @admin.display(description="asked for", ordering="id")
    def asked(self, backtest: Backtest) -> SafeString:
        return moment(backtest.asked_at)


def _offered(backtest: Backtest) -> set[str]:
    """Paths of the actions that fit its state."""
    if not backtest.is_finished:
        return {"cancel"}
    if backtest.state != BacktestState.DONE:
        return {"run-again"}
    if questions.differs(backtest.monitor, backtest.question):
        return {"run-again", *({"apply-change"} if backtest.is_change else ())}
    return {"run-again"} if backtest.monitor.is_watching else {"run-again", "activate"}


def _said(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def _opened(object_id: str) -> Backtest:
    return get_object_or_404(Backtest.objects.select_related("monitor"), pk=as_uuid(object_id))


def _to(backtest: Backtest) -> HttpResponse:
    return HttpResponse(
        headers={"HX-Redirect": reverse("admin:monitoring_backtest_change", args=[backtest.pk])}
    )
