"""Maintenance windows, in plain words; and rules of inhibition, which also hold messages back."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from monitoring.admin.first_line import FirstLine
from monitoring.admin.matcher_field import MatchersField
from monitoring.admin.opening import person
from monitoring.models import Flag, IncidentFlag, InhibitRule, MaintenanceWindow
from monitoring.quiet import window_rows, windows
from monitoring.routing.clock import InvalidHours
from monitoring.routing.matchers import InvalidMatcher, as_text
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import Tone, badge, moment


class WindowForm(forms.ModelForm[MaintenanceWindow]):
    matchers = MatchersField(
        label="Which incidents", required=False, help_text="All must match; empty: every incident."
    )
    hours = forms.FloatField(
        label="Hours",
        required=False,
        min_value=1 / 60,
        max_value=31 * 24,
        help_text="How long it lasts, when it repeats.",
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )

    class Meta:
        model = MaintenanceWindow
        fields = (
            "name", "matchers", "repeats", "zone", "weekdays", "month_day", "start", "hours", "starts_at", "ends_at", "comment",
            "is_enabled",
        )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["hours"].initial = f"{self.instance.duration_seconds / 3600:g}"

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        if found.get("hours"):
            self.instance.duration_seconds = round(found["hours"] * 3600)
        return found

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            windows.check(self.instance)
        except ValidationError as error:
            for name, details in error.message_dict.items():
                self.add_error("hours" if name == "duration_seconds" else name, details)


@admin.register(MaintenanceWindow)
class WindowAdmin(ModelAdmin, FirstLine):
    class Media:
        css = {"all": ("monitoring/channels.css",)}

    form = WindowForm
    list_display = ("name", "words", "shown_state", "next_time", "about", "created_by")
    list_filter = ("repeats", "is_enabled")
    search_fields = ("name", "comment")
    list_per_page = 50
    compressed_fields = True
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("name", "matchers", "comment", "is_enabled")}),
        ("When", {"fields": ("repeats", "zone", "starts_at", "ends_at")}),
        ("When it repeats", {"fields": ("weekdays", "month_day", "start", "hours")}),
    )
    list_before_template = "monitoring/window_head.html"
    change_form_outer_before_template = "monitoring/window_head.html"
    empty_text = "Planned times of silence, once or again and again, will appear here."
    empty_link, empty_link_text = "admin:monitoring_maintenancewindow_add", "Plan the first one"

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        now = timezone.now()
        rows = list(MaintenanceWindow.objects.filter(is_enabled=True))
        is_open = [one.name for one in rows if self._times(one, now)[0]]
        coming = sorted((at, one.name) for one in rows if (at := self._times(one, now)[1]))
        then = f" Next: “{coming[0][1]}”, {coming[0][0]:%Y-%m-%d %H:%M} UTC." if coming else ""
        if is_open:
            names = ", ".join(f"“{name}”" for name in is_open[:3]) + (" and more" if len(is_open) > 3 else "")
            count = wording.plural(len(is_open), "window is", "windows are")
            return f"{count} open now: {names}.{then}", Tone.LOOK
        return f"No maintenance window is open now.{then or ' None is planned.'}", Tone.NEUTRAL

    @staticmethod
    def _times(window: MaintenanceWindow, now: datetime) -> tuple[bool, datetime | None]:
        try:
            coming = windows.next_after(window, now)
            return windows.open_at(window, now) is not None, coming[0] if coming else None
        except InvalidHours:
            return False, None

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name in {"starts_at", "ends_at"}:
            options["label"] = "Begins (UTC)" if db_field.name == "starts_at" else "Ends (UTC)"
            options["widget"] = UnfoldAdminSplitDateTimeWidget
        return super().formfield_for_dbfield(db_field, request, **options)

    def save_model(
        self,
        request: HttpRequest,
        obj: MaintenanceWindow,
        form: forms.ModelForm[MaintenanceWindow],
        change: bool,  # noqa: FBT001 - Django calls it so
    ) -> None:
        if not change:
            obj.created_by = person(request).get_username()
        window_rows.save(obj, now=timezone.now())
        wake_delivery()

    def delete_model(self, request: HttpRequest, obj: MaintenanceWindow) -> None:
        window_rows.remove(obj, now=timezone.now())
        wake_delivery()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MaintenanceWindow]) -> None:
        for window in queryset:
            self.delete_model(request, window)

    @admin.display(description="when")
    def words(self, window: MaintenanceWindow) -> str:
        try:
            return windows.in_words(window)
        except InvalidHours as error:
            return f"cannot be read: {error}"

    @admin.display(description="state")
    def shown_state(self, window: MaintenanceWindow) -> SafeString:
        if not window.is_enabled:
            return badge("off")
        try:
            is_open = windows.open_at(window, timezone.now()) is not None
        except InvalidHours:
            return badge("broken", Tone.HARM)
        return badge("open now", Tone.LOOK) if is_open else badge("closed")

    @admin.display(description="next")
    def next_time(self, window: MaintenanceWindow) -> SafeString:
        try:
            found = windows.next_after(window, timezone.now()) if window.is_enabled else None
        except InvalidHours:
            found = None
        return moment(found[0] if found else None, "–", exact=True)

    @admin.display(description="which incidents")
    def about(self, window: MaintenanceWindow) -> str:
        try:
            return as_text(windows.matchers_of(window)) or "all"
        except InvalidMatcher as error:
            return f"cannot be read: {error}"


class InhibitForm(forms.ModelForm[InhibitRule]):
    source_matchers = MatchersField(label="While one is open that matches")
    target_matchers = MatchersField(label="Hold back those that match")
    equal = forms.CharField(
        label="If these labels are equal",
        required=False,
        help_text="Names separated by commas; a label that both lack is equal.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "service, variant"}),
    )

    class Meta:
        model = InhibitRule
        fields = ("name", "source_matchers", "target_matchers", "equal", "is_enabled")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["equal"] = ", ".join(map(str, self.instance.equal))

    def clean_equal(self) -> list[str]:
        return [name for one in self.cleaned_data["equal"].split(",") if (name := one.strip())][:20]


@admin.register(InhibitRule)
class InhibitAdmin(ModelAdmin, FirstLine):
    form = InhibitForm
    list_display = ("name", "is_enabled")
    search_fields = ("name",)
    fields = ("name", "source_matchers", "target_matchers", "equal", "is_enabled")
    list_before_template = "monitoring/inhibit_head.html"
    change_form_outer_before_template = "monitoring/inhibit_head.html"

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        count = InhibitRule.objects.filter(is_enabled=True).count()
        flags = IncidentFlag.objects.active().filter(kind=Flag.INHIBITED)
        held = flags.values("incident").distinct().count()
        rules = f"{wording.plural(count, 'rule')} of your own" if count else "No rule of your own"
        now = wording.plural(held, "incident is", "incidents are") if held else "no incident is"
        return f"{rules}, beside those that are built in; {now} held back by another now.", Tone.NEUTRAL

    empty_text = "Rules of your own will appear here; those that are built in hold without one."
    empty_link, empty_link_text = "admin:monitoring_inhibitrule_add", "Add a rule"
