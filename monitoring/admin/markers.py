"""Markers: deploys, maintenance and holidays, which are no evidence of anything."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextareaWidget

from monitoring.admin.labels import LabelsField
from monitoring.admin.opening import person
from monitoring.models import Marker
from monitoring.slices import described, dimensions
from triageops.admin import NoDeleteAdmin, Tone, badge, moment


class MarkerForm(forms.ModelForm[Marker]):
    where = LabelsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "endpoint = /triage"}),
        help_text="Only monitors and slices of these records, one “name = value” a line; empty: all. "
        f"Names: {', '.join(dimensions())}.",
    )

    class Meta:
        model = Marker
        fields = ("kind", "name", "starts_at", "ends_at", "where")


@admin.register(Marker)
class MarkerAdmin(NoDeleteAdmin):
    form = MarkerForm
    list_display = ("name", "kind", "shown_state", "starts", "ends", "about", "created_by")
    list_filter = ("kind",)
    list_select_related = ("created_by",)
    search_fields = ("name",)
    fields = ("kind", "name", "starts_at", "ends_at", "where")
    list_before_template = "monitoring/marker_head.html"
    change_form_outer_before_template = "monitoring/marker_head.html"
    empty_text = "Deploys, maintenance and holidays will appear here; pipelines can add them by the API."
    empty_link, empty_link_text = "admin:monitoring_marker_add", "Add the first marker"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name in {"starts_at", "ends_at"}:
            options["label"] = f"{db_field.verbose_name.removesuffix(' at').capitalize()} (UTC)"
            options["widget"] = UnfoldAdminSplitDateTimeWidget
        return super().formfield_for_dbfield(db_field, request, **options)

    def save_model(
        self,
        request: HttpRequest,
        obj: Marker,
        form: forms.ModelForm[Marker],
        change: bool,  # noqa: FBT001 - Django calls it so
    ) -> None:
        if not change:
            obj.created_by = person(request)
        super().save_model(request, obj, form, change)
        if obj.starts_at < timezone.now():
            messages.info(request, "Buckets of time that were checked already stay as they were judged.")

    @admin.display(description="state")
    def shown_state(self, marker: Marker) -> SafeString:
        now = timezone.now()
        if marker.ends_at <= now:
            return badge("over")
        return badge("to come") if marker.starts_at > now else badge("freezes evidence now", Tone.LOOK)

    @admin.display(description="begins", ordering="starts_at")
    def starts(self, marker: Marker) -> SafeString:
        return moment(marker.starts_at, exact=True)

    @admin.display(description="ends", ordering="ends_at")
    def ends(self, marker: Marker) -> SafeString:
        return moment(marker.ends_at, exact=True)

    @admin.display(description="where")
    def about(self, marker: Marker) -> str:
        return described(marker.where) or "everywhere"
