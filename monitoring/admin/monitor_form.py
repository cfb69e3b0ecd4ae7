"""The monitor's form: its parameters are the fields of the kind's dataclass."""

import dataclasses
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from feedback.models import QualityMetric
from monitoring.models import Monitor
from monitoring.monitors import registry
from monitoring.slices import dimensions

PARAMETER = "parameter_"


class LabelsField(forms.CharField):
    """`name = value`, one a line, read as a mapping."""

    def prepare_value(self, value: Any) -> Any:
        return (
            "\n".join(f"{name} = {text}" for name, text in value.items())
            if isinstance(value, dict)
            else value
        )

    def to_python(self, value: Any) -> Any:
        labels: dict[str, str] = {}
        for line in filter(None, map(str.strip, (value or "").splitlines())):
            name, sign, text = line.partition("=")
            if not sign or not name.strip():
                raise ValidationError(f"“{line}” is not of the form name = value.")
            if name.strip() in labels:
                raise ValidationError(f"“{name.strip()}” is there twice.")
            labels[name.strip()] = text.strip()
        return labels

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


class MonitorForm(forms.ModelForm[Monitor]):
    metric = forms.ChoiceField(widget=UnfoldAdminSelectWidget, help_text="Which quality metric to watch.")
    where = LabelsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "experiment = llm_model_ab_test"}),
        help_text=f"Watch only these records, one “name = value” a line. Names: {', '.join(dimensions())}.",
    )
    split_by = forms.MultipleChoiceField(
        choices=[(name, name) for name in dimensions()],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Watch each combination of these by itself; none: all records together. At most three, one of them an "
        "attribute.",
    )

    class Meta:
        model = Monitor
        fields = (
            "name", "description", "kind", "metric", "where", "split_by", "max_slices", "alarms_per_30_days",
            "severity", "channels", "runbook_url", "resolve_after_buckets", "recovery_n_min", "hold_seconds",
        )  # fmt: skip
        widgets = {"channels": UnfoldAdminCheckboxSelectMultipleWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Read once: a callable would be asked each time that the field is looked at.
        keys = QualityMetric.objects.values_list("key", flat=True)
        cast("forms.ChoiceField", self.fields["metric"]).choices = [(key, key) for key in keys]
        for name, field in parameter_fields(self.instance.kind).items():
            field.initial = self.instance.parameters.get(name, field.initial)
            self.fields[PARAMETER + name] = field

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        given = {
            name.removeprefix(PARAMETER): value
            for name, value in cleaned.items()
            if name.startswith(PARAMETER)
        }
        self.instance.parameters = {name: value for name, value in given.items() if value is not None}
        return cleaned

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
        own = PARAMETER + name.removeprefix("parameters.")
        return next((found for found in (name, own) if found in self.fields), None)


def parameter_fields(kind_name: str) -> dict[str, forms.FloatField]:
    """A field for each parameter of the kind, with its help and default."""
    found = {}
    for field in dataclasses.fields(registry.kind_named(kind_name)):
        is_needed = field.default is dataclasses.MISSING
        found[field.name] = forms.FloatField(
            label=field.name.replace("_", " ").capitalize(),
            required=is_needed,
            initial=None if is_needed else field.default,
            help_text=field.metadata.get("help", ""),
            widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        )
    return found
