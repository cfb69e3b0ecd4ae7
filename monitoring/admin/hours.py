"""Hours: when somebody is on call, with the week as a picture."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from monitoring.admin.first_line import FirstLine
from monitoring.models import Hours
from monitoring.notifying.routes import hours_of
from monitoring.routing import timing
from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.timing import DAY, DAYS
from triageops.admin import Tone, badge, moment

_RANGES_HELP = (
    "Days and times, separated by commas: “mon-fri 09:00-17:00, sat 10:00-12:00”. Without days: every day. "
    "“22:00-06:00” goes over midnight and belongs to the day on which it begins. “00:00-24:00” is a whole day."
)


class HoursForm(forms.ModelForm[Hours]):
    class Meta:
        model = Hours
        fields = ("name", "zone", "ranges")
        widgets = {"ranges": UnfoldAdminTextareaWidget(attrs={"rows": 2})}
        help_texts = {
            "ranges": _RANGES_HELP,
            "zone": "By whose clock, for example Europe/Berlin; summer time is kept.",
        }

    def clean_zone(self) -> str:
        zone: str = self.cleaned_data["zone"].strip()
        try:
            zone_named(zone)
        except InvalidHours as error:
            raise forms.ValidationError(str(error)) from None
        return zone

    def clean_ranges(self) -> str:
        """As it is read, so that two who mean the same write the same."""
        try:
            return timing.Hours.parse(self.cleaned_data["ranges"], "UTC").as_text()
        except InvalidHours as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Hours)
class HoursAdmin(ModelAdmin, FirstLine):
    """May be deleted while no route has them."""

    form = HoursForm
    list_display = ("name", "ranges", "zone", "state")
    search_fields = ("name",)
    fields = ("name", "ranges", "zone")
    list_before_template = "monitoring/list_head.html"
    empty_text = "Hours say when a route counts, for example those of a team on call."
    empty_link, empty_link_text = "admin:monitoring_hours_add", "Make the first hours"
    compressed_fields = True
    warn_unsaved_form = True

    class Media:
        css = {"all": ("monitoring/routes.css",)}

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        now = timezone.now()
        read = [(row.name, hours_of(row)) for row in Hours.objects.order_by("name")]
        if not read:
            return "There are no hours: every route counts at all times.", Tone.NEUTRAL
        within = [f"“{name}”" for name, hours in read if hours is not None and hours.is_within(now)]
        if not within:
            return "Now is within none of these hours: no route that has some counts.", Tone.LOOK
        return (
            f"Now is within {', '.join(within[:5])}{' and others' if len(within) > 5 else ''}.",
            Tone.NEUTRAL,
        )

    def get_fields(self, request: HttpRequest, obj: Hours | None = None) -> Any:
        return (*self.fields, "week", "state") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Hours | None = None) -> Any:
        return ("week", "state") if obj else ()

    @admin.display(description="now")
    def state(self, row: Hours) -> SafeString:
        hours = hours_of(row)
        now = timezone.now()
        if hours is None:
            return badge("unknown")
        if hours.is_within(now):
            return badge("within", Tone.GOOD)
        return format_html("{} until {}", badge("outside"), moment(hours.next_start(now), exact=True))

    @admin.display(description="the week")
    def week(self, row: Hours) -> SafeString:
        hours = hours_of(row)
        days = format_html_join("", "{}", ((_day(hours, day),) for day in range(7))) if hours else ""
        return format_html('<div class="mo-week" role="img" aria-label="{}">{}</div>', row.ranges, days)


def _day(hours: timing.Hours, day: int) -> SafeString:
    spans = []
    for one in hours.ranges:
        if one.start < one.end:
            spans += [(one.start, one.end)] if day in one.days else []
            continue
        spans += [(one.start, DAY)] if day in one.days else []
        spans += [(0, one.end)] if (day - 1) % 7 in one.days else []
    bars = format_html_join(
        "",
        '<rect x="{}" y="0" width="{}" height="10"/>',
        ((f"{start / 15:g}", f"{(end - start) / 15:g}") for start, end in spans),
    )
    picture = '<span>{}</span><svg viewBox="0 0 96 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    return format_html(picture, DAYS[day], bars)
