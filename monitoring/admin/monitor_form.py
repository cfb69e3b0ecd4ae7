"""The monitor's form: its parameters are the fields of the kinds' dataclasses, and a change of a live one needs a way."""

import dataclasses
from datetime import UTC, datetime
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from feedback.shapes import RESERVED_METRICS
from monitoring import sources
from monitoring.admin.labels import LabelsField
from monitoring.definitions import version_of
from monitoring.models import CANARY_METRIC, Channel, Monitor
from monitoring.monitors import registry
from monitoring.questions import question_of
from monitoring.slices import dimensions

PARAMETER = "parameter_"
TRY, APPLY = "try", "apply"

_EXAMPLE = "experiment = llm_model_ab_test"
_CHANGED = (
    "Somebody changed this monitor after this form was opened, so nothing was saved: it would undo that. Open the form anew, "
    "look at what is there now, and make your change again."
)
_REFERENCE_TIMES = ("reference_start_at", "reference_end_at")


class MonitorForm(forms.ModelForm[Monitor]):
    metric = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget,
        help_text="A quality metric, or one of what is known of every response.",
    )
    where = LabelsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": _EXAMPLE}),
        help_text=f"Watch only these records, one “name = value” a line. Names: {', '.join(dimensions())}.",
    )
    control = LabelsField(
        label="Compared with",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "variant = gpt-4"}),
        help_text="Where the reference is another variant: which records, one “name = value” a line.",
    )
    split_by = forms.MultipleChoiceField(
        choices=[(name, name) for name in dimensions()],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Watch each combination of these by itself; none: all records together. At most three, one of them an "
        "attribute.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    """version_of the monitor that the page was made from."""
    way = forms.ChoiceField(
        label="If what is watched changes",
        required=False,
        choices=[
            (TRY, "Try it in a backtest first"),
            (APPLY, "Apply it now"),
        ],
        widget=UnfoldAdminRadioSelectWidget,
        help_text="With a backtest the monitor goes on as it is. Applied, its evidence begins anew and its open incidents are "
        "over.",
    )
    reason = forms.CharField(
        label="Reason",
        max_length=500,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why it is applied at once, for whoever asks later.",
    )

    class Meta:
        model = Monitor
        fields = (
            "name", "description", "kind", "metric", "where", "split_by", "max_slices", "is_whole_watched",
            "maturity_hours", "reference_mode", "reference_start_at", "reference_end_at", "reference_days",
            "reference_gap_hours", "control", "stale_after_days", "alarms_per_30_days", "weight", "severity", "channels",
            "runbook_url", "resolve_after_buckets", "recovery_n_min", "hold_seconds",
        )  # fmt: skip
        widgets = {
            "channels": UnfoldAdminCheckboxSelectMultipleWidget,
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "kind" not in self.fields:
            # A person who may only look gets a form without fields.
            return
        # As it is in force, to tell what a person changed.
        self.before = question_of(self.instance) if self.instance.pk else {}
        self.present = version_of(self.instance) if self.instance.pk else ""
        self.fields["seen"].initial = self.present
        if not (self.instance.pk or self.initial.get("channels")):
            self.initial["channels"] = list(Channel.objects.enabled().of_people())
        cast("forms.ChoiceField", self.fields["kind"]).choices = registry.choices()
        if self.instance.metric != CANARY_METRIC:
            # The product's own channel is the canary's.
            cast(
                "forms.ModelMultipleChoiceField[Channel]", self.fields["channels"]
            ).queryset = Channel.objects.of_people()
        # Read once: a callable would be asked each time that the field is looked at.
        cast("forms.ChoiceField", self.fields["metric"]).choices = [
            *([] if self.instance.pk else [("", "Choose one")]),
            *metric_choices(self.instance.metric),
        ]
        chosen = self.data.get("kind", self.instance.kind) if self.is_bound else self.instance.kind
        stored = self.instance.parameters
        for (kind, name), field in parameter_fields().items():
            field.required = field.required and kind == chosen
            if kind == self.instance.kind:
                field.initial = stored.get(name, field.initial)
            self.fields[parameter_name(kind, name)] = field
        if not self.instance.is_watching:
            del self.fields["way"], self.fields["reason"]

    @property
    def is_changed(self) -> bool:
        """Whether it asks another question, or may be wrong more often."""
        return bool(self.before) and question_of(self.instance) != self.before

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("seen") and cleaned["seen"] != self.present:
            self.add_error(None, _CHANGED)
        chosen = cleaned.get("kind", "")
        given: dict[str, Any] = {}
        for kind, name in parameter_fields():
            own = parameter_name(kind, name)
            value = cleaned.pop(own, None)
            if kind != chosen:
                # What is hidden cannot be wrong.
                self.errors.pop(own, None)
            elif value not in (None, ""):
                given[name] = value
        self.instance.parameters = self._without_new_defaults(chosen, given)
        if registry.is_rule(chosen):
            # Hidden too: a rule makes no promise, so it has no number.
            cleaned["alarms_per_30_days"] = None
        for name in _REFERENCE_TIMES:
            if isinstance(cleaned.get(name), datetime):
                cleaned[name] = _as_stored(cleaned[name], self.before.get(name))
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if "way" in self.fields and not self.errors and self.is_changed:
            way = self.cleaned_data.get("way")
            if not way:
                self.add_error("way", "What is watched would change. Say how: try it first, or apply it now.")
            elif way == APPLY and not self.cleaned_data.get("reason", "").strip():
                self.add_error("reason", "Say why it is applied without trying it first.")

    def _without_new_defaults(self, chosen: str, given: dict[str, Any]) -> dict[str, Any]:
        """A parameter that was never written down stays so while it has its default: else saving would be a change."""
        stored = self.instance.parameters if chosen == self.before.get("kind") else given
        fields = parameter_fields()
        return {
            name: value
            for name, value in given.items()
            if name in stored or value != fields[chosen, name].initial
        }

    def add_error(self, field: str | None, error: Any) -> None:
        """Errors of single parameters go to the fields that stand for them."""
        if isinstance(error, ValidationError) and hasattr(error, "error_dict"):
            for name, errors in error.error_dict.items():
                self.add_error(self._field_for(name), errors)
            return
        # A parameter that was refused as no number is missing besides: once is enough.
        if field is None or field in self.cleaned_data or not self.has_error(field):
            super().add_error(field, error)

    def _field_for(self, name: str) -> str | None:
        own = parameter_name(self.instance.kind, name.removeprefix("parameters."))
        return next((found for found in (name, own) if found in self.fields), None)


def _as_stored(at: datetime, before: str | None) -> datetime:
    """In UTC; as it was, if only the part of a second is gone that the form does not show."""
    known = datetime.fromisoformat(before) if before else None
    is_same = known is not None and known.replace(microsecond=0) == at
    return known if known is not None and is_same else at.astimezone(UTC)


def parameter_name(kind: str, name: str) -> str:
    return f"{PARAMETER}{kind}_{name}"


def metric_choices(own: str = "") -> list[tuple[str, str]]:
    """By what people call them, with the name that a monitor gives it where that is another. Queries.

    own: stays among them, whatever it is. The canary is nobody's, and people judge no cost and no failure.
    """
    unfit = {CANARY_METRIC, *(sources.AGREEMENT + key for key in (CANARY_METRIC, *RESERVED_METRICS))} - {own}
    titles = {key: sources.title_of(key) for key in sources.keys() if key not in unfit}  # noqa: SIM118 - no mapping
    return [
        (key, title if title == key else f"{title} ({key})")
        for key, title in sorted(titles.items(), key=lambda pair: pair[1].lower())
    ]


def parameter_fields() -> dict[tuple[str, str], forms.Field]:
    """A field for each parameter of each kind, with its help and default; by kind and name."""
    return {
        (kind.name, field.name): _field(field)
        for kind in registry.KINDS
        for field in dataclasses.fields(kind)
    }


def _field(field: "dataclasses.Field[Any]") -> forms.Field:
    is_needed = field.default is dataclasses.MISSING
    common: dict[str, Any] = {
        "label": field.name.replace("_", " ").capitalize(),
        "required": is_needed,
        "initial": None if is_needed else field.default,
        "help_text": field.metadata.get("help", ""),
    }
    choices = field.metadata.get("choices")
    if choices:
        return forms.ChoiceField(choices=list(choices.items()), widget=UnfoldAdminSelectWidget, **common)
    return forms.FloatField(widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}), **common)
