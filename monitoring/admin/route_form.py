"""The form of a route: what is left empty is as above it, and each field says what that is."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from monitoring.models import Channel, Digest, Hours, Outside, Route
from monitoring.notifying.route_values import STEPS_MAX, matchers_in
from monitoring.routing.shapes import duration_in, duration_text
from monitoring.routing.tree import ALL_LABELS
from triageops.rest import InvalidInput

STEPS_SHOWN = 3
"""As many are offered at least."""
TIMES = {
    "group_wait": ("Wait of the first message", "So that what follows in a moment is told together."),
    "group_interval": ("Between two messages of a group", "What is new in a group waits at least so long."),
    "repeat_interval": ("Reminder", "While nobody acknowledged it; 0: never."),
}
INHERITED, LABELS, TOGETHER, APART = "inherited", "labels", "together", "apart"


class DurationField(forms.CharField):
    """Seconds, typed as 30s, 5m or 1h30m; empty: None."""

    def prepare_value(self, value: Any) -> Any:
        return duration_text(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip().replace(" ", "")
        found = duration_in(text)
        if text and found is None:
            raise ValidationError(f"“{text}” is no duration; write it as 30s, 5m or 1h30m.")
        return None if found is None else round(found.total_seconds())


class MatchersField(forms.CharField):
    """One or several matchers a line, as a list of texts."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        try:
            return matchers_in([line for line in str(value or "").splitlines() if line.strip()])
        except InvalidInput as error:
            raise ValidationError(error.detail) from None


class RouteForm(forms.Form):
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    parent = forms.TypedChoiceField(
        label="Below",
        coerce=int,
        widget=UnfoldAdminSelectWidget,
        help_text="It is asked only when that one took it, after its siblings above.",
    )
    matchers = MatchersField(
        required=False,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 3, "placeholder": 'severity="critical"\nteam=~"a|b"'}
        ),
        help_text="What labels must say, one a line; all must hold. Operators: = != =~ !~. A pattern matches the whole "
        "value. Empty: everything.",
    )
    is_continuing = forms.BooleanField(
        label="Go on with the next one",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Otherwise the first sibling that takes it ends the asking.",
    )
    channels = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Who is told. None: those of the route above.",
    )
    tells_nobody = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="It takes what matches, and that is the end of it.",
    )
    grouping = forms.ChoiceField(
        choices=[
            (INHERITED, "as above it"),
            (LABELS, "what agrees in these labels"),
            (TOGETHER, "everything of this route"),
            (APART, "nothing: each incident by itself"),
        ],
        label="Told together",
        widget=UnfoldAdminRadioSelectWidget,
        initial=INHERITED,
    )
    labels = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "alertname, model"}),
        help_text="Names of labels, separated by commas.",
    )
    group_wait = DurationField(required=False, widget=UnfoldAdminTextInputWidget)
    group_interval = DurationField(required=False, widget=UnfoldAdminTextInputWidget)
    repeat_interval = DurationField(required=False, widget=UnfoldAdminTextInputWidget)
    digest = forms.ChoiceField(
        choices=Digest.choices,
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="For what nobody must act on at once.",
    )
    digest_hour = forms.IntegerField(
        min_value=0, max_value=23, initial=9, widget=UnfoldAdminTextInputWidget, label="Hour of the digest"
    )
    digest_zone = forms.CharField(
        max_length=64, initial="UTC", widget=UnfoldAdminTextInputWidget, label="Zone of the digest"
    )
    hours = forms.ChoiceField(
        required=False, widget=UnfoldAdminSelectWidget, help_text="When somebody is there."
    )
    outside = forms.ChoiceField(
        choices=Outside.choices,
        label="Outside these hours",
        widget=UnfoldAdminSelectWidget,
        initial=Outside.SKIP,
    )

    # As the form was opened, to tell whether somebody changed the route since.
    version = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)

    def __init__(
        self,
        *args: Any,
        parents: Sequence[tuple[int, str]],
        above: Mapping[str, str],
        steps: int = 0,
        **kwargs: Any,
    ) -> None:
        """parents: where it may hang, empty for the first route. above: what is inherited, by field. steps: how many it has."""
        super().__init__(*args, **kwargs)
        self.numbers = range(1, max(STEPS_SHOWN, min(steps + 1, STEPS_MAX)) + 1)
        fields: dict[str, Any] = dict(self.fields)
        names = [(name, name) for name in Channel.objects.of_people().values_list("name", flat=True)]
        fields["channels"].choices = names
        fields["hours"].choices = [
            ("", "at any time"),
            *((one.name, str(one)) for one in Hours.objects.all()),
        ]
        for name, (label, said) in TIMES.items():
            fields[name].label = label
            fields[name].help_text = f"{said} As 30s, 5m or 1h30m. Empty: {above[name]}, as above it."
        fields["parent"].choices = parents
        if not parents:
            for name in ("parent", "matchers", "is_continuing"):
                del self.fields[name]
        for number in self.numbers:
            self.fields[f"after_{number}"] = DurationField(
                label=f"Step {number}: after", required=False, widget=UnfoldAdminTextInputWidget
            )
            self.fields[f"told_{number}"] = forms.MultipleChoiceField(
                label=f"Step {number}: tell",
                choices=names,
                required=False,
                widget=UnfoldAdminCheckboxSelectMultipleWidget,
            )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("grouping") == LABELS and not cleaned.get("labels", "").strip():
            self.add_error("labels", "Name the labels.")
        return cleaned

    def sections(self) -> list[tuple[str, str, list[Any]]]:
        """Title, a sentence, and the fields of each part of the page."""
        steps = [f"{what}_{number}" for number in self.numbers for what in ("after", "told")]
        parts = [
            ("What it takes", "", ["name", "parent", "matchers", "is_continuing"]),
            ("Who is told", "", ["channels", "tells_nobody"]),
            ("Together with what, and when", "", ["grouping", "labels", *TIMES]),
            (
                "If nobody acknowledges it",
                "Further channels, counted from when its first message is to go. None: the steps of the route above.",
                steps,
            ),
            ("Hours", "They hold for this route only, not for those below it.", ["hours", "outside"]),
            ("Digest", "", ["digest", "digest_hour", "digest_zone"]),
        ]
        return [
            (title, said, [self[name] for name in names if name in self.fields])
            for title, said, names in parts
        ]

    def values(self) -> dict[str, Any]:
        """As route_settings takes them."""
        cleaned = self.cleaned_data
        grouping = {INHERITED: None, TOGETHER: [], APART: [ALL_LABELS]}
        labels = [name.strip() for name in cleaned["labels"].split(",") if name.strip()]
        same = ("name", "parent", "matchers", "is_continuing", "channels", "tells_nobody", "digest", "digest_hour",
                "digest_zone", "outside")  # fmt: skip
        return {
            **{name: cleaned[name] for name in same if name in cleaned},
            **{f"{name}_seconds": cleaned[name] for name in TIMES},
            "group_by": grouping.get(cleaned["grouping"], labels),
            "hours": cleaned["hours"] or None,
            "steps": [
                {"after_seconds": cleaned[f"after_{number}"] or 0, "channels": cleaned[f"told_{number}"]}
                for number in self.numbers
                if cleaned[f"after_{number}"] is not None or cleaned[f"told_{number}"]
            ],
        }

    def refuse(self, problem: Any) -> None:
        """A refusal of route_settings beside its field."""
        name = str(problem.field or "").removesuffix("_seconds")
        name = {"group_by": "labels", "steps": "after_1"}.get(name, name)
        self.add_error(name if name in self.fields else None, problem.detail)


def initial_of(route: Route) -> dict[str, Any]:
    """What the form shows of a route that is stored."""
    plain = (
        "name",
        "matchers",
        "is_continuing",
        "tells_nobody",
        "digest",
        "digest_hour",
        "digest_zone",
        "outside",
    )
    group_by = route.group_by
    grouping = INHERITED if group_by is None else TOGETHER if not group_by else LABELS
    values: dict[str, Any] = {
        **{name: getattr(route, name) for name in plain},
        **{name: getattr(route, f"{name}_seconds") for name in TIMES},
        "parent": route.parent_id,
        "version": route.version,
        "channels": [one.name for one in route.channels.all()],
        "grouping": APART if group_by == [ALL_LABELS] else grouping,
        "labels": ", ".join(group_by or []).replace(ALL_LABELS, ""),
        "hours": route.hours.name if route.hours else "",
    }
    for number, step in enumerate(route.steps.all(), start=1):
        values[f"after_{number}"] = step.after_seconds
        values[f"told_{number}"] = [one.name for one in step.channels.all()]
    return values
