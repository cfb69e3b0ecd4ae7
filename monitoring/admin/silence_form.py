"""Making and changing a silence: what it would hold back is shown before it is made."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
)

from monitoring.admin.matcher_field import MatchersField
from monitoring.models import Incident, Silence
from monitoring.quiet import silences, suppression
from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.matchers import Matcher, as_text, from_api
from monitoring.slices import described

OWN = "own"
LENGTHS = {"1800": "30 min", "7200": "2 h", "86400": "1 day", "monday": "until Monday 9:00", OWN: "until …"}
MOST_SHOWN = 20


class SilenceForm(forms.Form):
    matchers = MatchersField(
        label="Which incidents",
        help_text="All must match. Labels: alertname, monitor, metric, kind, severity, source, signal, experiment, and those of "
        "the slice or report.",
    )
    length = forms.ChoiceField(
        label="For how long",
        choices=list(LENGTHS.items()),
        widget=UnfoldAdminRadioSelectWidget,
        initial="7200",
    )
    starts_at = forms.SplitDateTimeField(
        label="From (UTC); empty: now", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    ends_at = forms.SplitDateTimeField(
        label="Until (UTC), if chosen above", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )
    comment = forms.CharField(
        label="Why",
        max_length=silences.COMMENT_MAX,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Seen here by those who wonder why they were not told; it is sent to nobody.",
    )
    # Filled by silences.js with the zone of whoever reads; “Monday 9:00” is theirs.
    zone = forms.CharField(
        required=False, initial="UTC", widget=forms.HiddenInput(attrs={"data-own-zone": ""})
    )

    def __init__(self, *args: Any, now: datetime, silence: Silence | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("starts_at", "ends_at"):
            day, clock = self.fields[name].widget.widgets
            day.input_type, clock.input_type = "date", "time"
        self.now = now
        self.silence = silence

    def clean_zone(self) -> str:
        name: str = self.cleaned_data.get("zone") or "UTC"
        try:
            zone_named(name)
        except InvalidHours:
            return "UTC"
        return name

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        if self.errors:
            return found
        begun = self.silence.starts_at if self.silence is not None else self.now
        found["starts_at"] = found.get("starts_at") or begun
        found["ends_at"] = self._end(found)
        if found["ends_at"] is None:
            self.add_error("ends_at", "Say until when.")
            return found
        # What holds already began in the past.
        starts_at = found["starts_at"] if self.silence is not None else max(found["starts_at"], self.now)
        try:
            silences.check(
                self.wanted,
                starts_at=starts_at,
                ends_at=found["ends_at"],
                comment=found["comment"],
                created_by="",
                now=self.now,
            )
        except silences.InvalidSilence as error:
            self.add_error(error.field if error.field in self.fields else None, error.detail)
        return found

    @property
    def wanted(self) -> list[Matcher]:
        return [from_api(one) for one in self.cleaned_data["matchers"]]

    def _end(self, given: dict[str, Any]) -> datetime | None:
        start = max(given["starts_at"], self.now)
        if given["length"] == OWN:
            end: datetime | None = given.get("ends_at")
            return end
        if given["length"] == "monday":
            return monday_morning(start, given["zone"])
        return start + timedelta(seconds=int(given["length"]))


def monday_morning(after: datetime, zone: str) -> datetime:
    """The next Monday at 9:00 by the clock of that zone."""
    place = ZoneInfo(zone)
    day = after.astimezone(place).date()
    for offset in range(8):
        found = datetime.combine(day + timedelta(days=offset), time(9), tzinfo=place)
        if found.weekday() == 0 and found > after:
            return found.astimezone(UTC)
    raise AssertionError("a week has a Monday")


@dataclass(frozen=True)
class Named:
    """An incident, and of which records it is: several of one monitor have the same title."""

    incident: Incident
    where: str

    @classmethod
    def of(cls, incident: Incident) -> "Named":
        return cls(incident, described(incident.labels, incident.slice_key))


@dataclass(frozen=True)
class Preview:
    """What it would hold back now."""

    matched: list[Named]
    more: int
    sentence: str


def preview(matchers: list[Matcher], starts_at: datetime, now: datetime) -> Preview:
    found = suppression.matched_by(matchers)
    verb = "suppresses" if starts_at <= now else "will suppress, as they are now,"
    if not found:
        sentence = "No open incident matches now. What is opened later and matches is held back."
    elif len(found) == 1:
        sentence = f"This {verb} 1 open incident:"
    else:
        sentence = f"This {verb} {len(found)} open incidents:"
    return Preview([Named.of(one) for one in found[:MOST_SHOWN]], len(found[MOST_SHOWN:]), sentence)


def initial_of(silence: Silence) -> dict[str, Any]:
    return {
        "matchers": as_text(silences.matchers_of(silence)),
        "length": OWN,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "comment": silence.comment,
    }
