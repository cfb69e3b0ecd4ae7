"""What an experiment is judged by, and how slowly it begins: rows of a draft, with presets for the usual metrics."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat
from django.http import QueryDict
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminSelectWidget

from experiments.forms.definition import next_position
from experiments.forms.fields import PercentField, ShareField
from experiments.models import ExperimentMetric, RampStep, Role
from feedback.models import Direction, QualityMetric

Preset = Mapping[str, str]

PRESETS: Mapping[str, Preset] = {
    name: dict(zip(("key", "name", "source", "kind", "per", "better", "quantile"), fields, strict=True))
    for name, *fields in (
        ("thumbs-up share", "thumbs_up", "thumbs-up share", "feedback:positive", "ratio", "value", "higher", ""),
        ("positive per request (counts who said nothing)", "positive_per_request", "positive per request", "feedback:positive", "ratio", "response", "higher", ""),
        ("share of answers with feedback", "feedback_share", "share of answers with feedback", "feedback:any", "ratio", "response", "higher", ""),
        ("rating", "rating", "rating", "feedback:rating", "ratio", "value", "higher", ""),
        ("cost per answer", "cost", "cost per answer", "response:cost", "ratio", "value", "lower", ""),
        ("latency, 95th percentile", "latency_p95", "latency p95", "response:latency_seconds", "quantile", "value", "lower", "0.95"),
        ("error rate", "error_rate", "error rate", "response:error", "ratio", "value", "lower", ""),
        ("red flag: a rare event, exact test", "red_flag", "red flags", "quality:red_flag", "rare", "value", "lower", ""),
    )
}  # fmt: skip


def presets() -> dict[str, Preset]:
    """The usual metrics and every quality metric, by what a person chooses; one query."""
    found = dict(PRESETS)
    for metric in QualityMetric.objects.all():
        found[f"quality: {metric.key}"] = {
            "key": metric.key,
            "name": metric.key.replace("_", " "),
            "source": f"quality:{metric.key}",
            "kind": "ratio",
            "per": "value",
            "better": "lower" if metric.direction == Direction.LOWER else "higher",
            "quantile": "",
        }
    return found


class MetricForm(forms.ModelForm[ExperimentMetric]):
    preset = forms.ChoiceField(
        label="Begin with",
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Fills in what is empty; everything can be changed after.",
    )
    alpha = ShareField(
        label="Error rate in %", required=False, help_text="Of a guardrail, its own. Empty: the experiment's."
    )

    class Meta:
        model = ExperimentMetric
        fields = (
            "key", "name", "role", "kind", "source", "per", "better", "margin", "cap", "window_days", "quantile", "worth",
            "is_adjusted", "halts", "alpha",
        )  # fmt: skip
        labels = {
            "halts": "Halts the experiment",
            "cap": "Cap per unit",
            "window_days": "Only the first days",
        }
        help_texts = {
            "source": "feedback:…, response:…, quality:NAME of a quality metric, or net_benefit; the presets show all.",
        }

    def __init__(self, *arguments: Any, choices: Mapping[str, Preset], **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "preset" in self.fields:
            self.fields["preset"].choices = [("", "no preset"), *((name, name) for name in choices)]  # type: ignore[attr-defined]
        if self.is_bound:
            self.data = self._filled(choices)

    def _filled(self, choices: Mapping[str, Preset]) -> Any:
        """What a browser without scripts sends: the preset alone."""
        chosen = choices.get(self.data.get(self.add_prefix("preset"), ""))
        if chosen is None or self.data.get(self.add_prefix("source")):
            return self.data
        data = QueryDict(mutable=True)
        data.update(self.data)
        for name, value in chosen.items():
            place = self.add_prefix(name)
            if name in {"kind", "per", "better"} or not data.get(place):
                data[place] = value
        return data

    def validate_constraints(self) -> None:
        """Left to the whole set, where two metrics may exchange their keys or roles."""


class MetricFormSet(PaginationInlineFormSet):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.choices = presets()
        super().__init__(*arguments, **options)

    def get_queryset(self) -> Any:
        return self.instance.metrics.all() if self.instance.pk else super().get_queryset()

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        return {**super().get_form_kwargs(index), "choices": self.choices}

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.forms if form not in self.deleted_forms]
        roles = [form.cleaned_data.get("role") for form in kept if form.is_valid() and form.has_changed()]
        roles += [form.instance.role for form in kept if form.instance.pk and not form.has_changed()]
        if roles.count(Role.PRIMARY) > 1:
            raise ValidationError("Several metrics are primary; only one decides.")

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002
        changed = [form.instance.pk for form in self.initial_forms if form.has_changed()]
        if changed:
            # Out of the way, so that two rows can exchange their keys or their roles.
            aside = Concat(Value("former-"), Cast("pk", CharField()))
            ExperimentMetric.objects.filter(pk__in=changed).update(role=Role.SECONDARY, key=aside)
        return super().save(commit)

    def save_new(self, form: MetricForm, commit: bool = True) -> ExperimentMetric:  # noqa: FBT001, FBT002
        form.instance.position = next_position(self)
        saved: ExperimentMetric = super().save_new(form, commit=commit)
        return saved


class RampForm(forms.ModelForm[RampStep]):
    coverage_bp = PercentField(label="Coverage in %")

    class Meta:
        model = RampStep
        fields = ("coverage_bp", "after_hours", "after_units")


class RampFormSet(PaginationInlineFormSet):  # type: ignore[misc]
    """Steps of growing coverage, in their order."""

    def get_queryset(self) -> Any:
        return self.instance.ramp.all() if self.instance.pk else super().get_queryset()

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        former = self.instance.coverage_bp
        for form in self.forms:
            if form in self.deleted_forms or not (form.instance.pk or form.has_changed()):
                continue
            coverage = form.cleaned_data["coverage_bp"]
            if coverage <= former:
                form.add_error("coverage_bp", "Each step needs more than the one before, and than the first.")
            former = coverage

    def save_new(self, form: RampForm, commit: bool = True) -> RampStep:  # noqa: FBT001, FBT002
        form.instance.position = next_position(self)
        saved: RampStep = super().save_new(form, commit=commit)
        return saved
