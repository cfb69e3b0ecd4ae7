"""What is asked before a monitor is moved, and why a move may be refused."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from monitoring import backtests, lifecycle, references, sources
from monitoring.admin.references import baseline_effects, baseline_window, open_of
from monitoring.models import Backtest, Monitor
from monitoring.monitors.kind import InvalidParameters, Unwatchable
from triageops.admin import as_uuid

REFUSALS = (
    ValidationError,
    references.NothingToLearn,
    lifecycle.NotBacktested,
    backtests.BacktestRunning,
    sources.UnknownSource,
    InvalidParameters,
    Unwatchable,
)
"""Why something may not be possible; each says so in words."""


class ConfirmForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="For whoever asks later.",
    )


class ActivateForm(ReasonForm):
    """Warns where nobody would be told, and asks for a reason where the backtest was not calm, or there is none."""

    form_before_template = "monitoring/activate.html"
    needs_reason = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monitor = self.found()
        self.is_loud = not self.needs_reason and not lifecycle.was_calm(self.monitor)
        if not (self.is_loud or self.needs_reason):
            del self.fields["reason"]

    def found(self) -> Monitor:
        return monitor_of(str(self.object_id))

    def get_before_template_context(
        self, request: HttpRequest, object_id: int | str | None = None
    ) -> dict[str, Any]:
        is_told = self.monitor.channels.enabled().exists()
        return {"monitor": self.monitor, "is_told": is_told, "is_loud": self.is_loud}


class UntriedForm(ActivateForm):
    needs_reason = True


class BacktestedForm(ActivateForm):
    """On the page of a backtest."""

    def found(self) -> Monitor:
        rows = Backtest.objects.select_related("monitor")
        return get_object_or_404(rows, pk=as_uuid(self.object_id)).monitor


class BaselineForm(ReasonForm):
    """Shows which records it would learn from, and which incidents would be over."""

    form_before_template = "monitoring/baseline.html"

    start_at = forms.DateTimeField(widget=forms.DateTimeInput)
    end_at = forms.DateTimeField(
        widget=forms.DateTimeInput,
        required=False,
        help_text="Empty: up to now, and what comes is learnt too, day by day, until it is as long as it should be.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monitor = self.found()
        self.incidents = open_of(self.monitor)
        try:
            self.window = baseline_window(self.monitor, self.incidents, timezone.now())
        except REFUSALS:
            self.window = None
        for at, name in enumerate(("start_at", "end_at")):
            field = self.fields[name]
            field.label = f"{('From', 'To')[at]} ({settings.TIME_ZONE})"
            field.widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
            if self.window is not None and name == "start_at":
                field.initial = f"{timezone.localtime(self.window[at]):%Y-%m-%dT%H:%M}"

    def found(self) -> Monitor:
        return monitor_of(str(self.object_id))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        start, end = cleaned.get("start_at"), cleaned.get("end_at")
        if start and end and start >= end:
            self.add_error("end_at", "It has to end after it begins.")
        return cleaned

    def get_before_template_context(
        self, request: HttpRequest, object_id: int | str | None = None
    ) -> dict[str, Any]:
        try:
            return {"effects": baseline_effects(self.monitor, self.window, self.incidents)}
        except REFUSALS as refused:
            return {"effects": [text_of(refused)]}


def monitor_of(object_id: str) -> Monitor:
    """Raises Http404."""
    rows = Monitor.objects.select_related("reference")
    found = rows.filter(pk=object_id).first() if object_id.isdecimal() and len(object_id) < 19 else None
    if found is None:
        raise Http404
    return found


def text_of(refused: Exception) -> str:
    return " ".join(refused.messages) if isinstance(refused, ValidationError) else str(refused)
