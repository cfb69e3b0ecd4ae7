"""The draft as a form: its own fields, and its variants."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminTextareaWidget

from experiments.assignment import BASIS_POINTS
from experiments.definition import (
    in_percent,
    misfits,
    validate_config,
    validate_schema,
    validate_targeting,
)
from experiments.drafts import LATER_FIELDS
from experiments.forms.fields import JsonField, PercentField, ShareField, equal_weights, with_native_times
from experiments.models import Experiment, Variant

_EXAMPLES = (
    ('{"language": {"$in": ["en", "es"]}}', "the language is English or Spanish"),
    ('{"app_version": {"$vgte": "2.1.0"}, "is_staff": {"$ne": true}}', "a new app, and no staff"),
    ('{"$or": [{"clinic": "north"}, {"age": {"$gte": 65}}]}', "one clinic, or the elderly everywhere"),
)
TARGETING_HELP = format_html(
    'Empty: everybody. In GrowthBook\'s condition language, on the attributes that clients send:<ul class="ex-points">{}</ul>',
    format_html_join("", "<li><code>{}</code> {}</li>", _EXAMPLES),
)


class ExperimentForm(forms.ModelForm[Experiment]):
    coverage_bp = PercentField(
        label="Coverage in %",
        help_text="Share of all units that take part; the others get the control's config and are not counted.",
    )
    layer_share_bp = PercentField(
        label="Share of the layer in %", help_text="How much of the layer it takes when it starts."
    )
    alpha = ShareField(
        label="Error rate in %",
        help_text="Chance of claiming any difference where there is none, over all looks. 5 is usual.",
    )
    bandit_floor_bp = PercentField(
        label="Least share of a variant in %",
        help_text="No variant gets less, so that it can still win.",
    )
    targeting = JsonField(
        what="targeting",
        label="Targeting (JSON)",
        rows=3,
        empty={},
        check=validate_targeting,
        help_text=TARGETING_HELP,
    )
    config_schema = JsonField(
        what="schema",
        label="Config schema (JSON Schema)",
        placeholder='{"required": ["model"], "properties": {"temperature": {"type": "number", "maximum": 1}}}',
        check=validate_schema,
        help_text="What every variant's config must fit; a config that does not is refused here. Empty: any object.",
    )
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Experiment
        fields = (
            "key", "name", "hypothesis", "owner", "unit_kind", "unit_attribute", "coverage_bp", "targeting", "layer",
            "layer_share_bp", "obeys_holdout", "design", "alpha", "correction", "minimum_sample", "planned_sample",
            "minimum_effect", "minimum_days", "planned_end_at", "auto_ship", "starts_at", "stops_at", "requires_review",
            "config_schema", "bandit_floor_bp", "bandit_hours",
        )  # fmt: skip
        widgets = {"hypothesis": UnfoldAdminTextareaWidget({"rows": 3})}
        labels = {"requires_review": "Two-person rule", "auto_ship": "Ship by itself"}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "seen_version" in self.fields:
            self.fields["seen_version"].initial = self.instance.version
        # Django gives defaults of the model only to fields that it made itself.
        for name in ("coverage_bp", "layer_share_bp", "alpha", "bandit_floor_bp", "targeting"):
            if name in self.fields and self.instance.pk is None:
                self.fields[name].initial = getattr(self.instance, name)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen_version") != self.instance.version:
            raise ValidationError(
                "Somebody changed this experiment while you were editing it, so nothing was saved. "
                "Open it again in another tab, and repeat there what you changed."
            )
        starts, stops = cleaned.get("starts_at"), cleaned.get("stops_at")
        if starts and stops and stops <= starts:
            self.add_error("stops_at", "It would stop before it starts; give a later time.")
        return cleaned


class LaterForm(forms.ModelForm[Experiment]):
    """What may still be changed after the start; made with the admin's fields by `modelform_factory`."""

    class Meta:
        model = Experiment
        fields = LATER_FIELDS
        widgets = {"hypothesis": UnfoldAdminTextareaWidget({"rows": 3})}
        labels = {"auto_ship": "Ship by itself"}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with_native_times(self)


class VariantForm(forms.ModelForm[Variant]):
    weight_bp = PercentField(label="Weight in %", required=False)
    config = JsonField(
        label="Config (JSON)", placeholder='{"model": "gpt-4"}', empty={}, check=validate_config
    )

    class Meta:
        model = Variant
        fields = ("key", "is_control", "weight_bp", "config")

    def validate_constraints(self) -> None:
        """Left to the whole set: here a new control would clash with the old one that the same save takes away."""


class VariantFormSet(PaginationInlineFormSet):  # type: ignore[misc]
    """All variants of one draft. No weight at all means equal weights."""

    def get_queryset(self) -> Any:
        # What the page has read already; a filtered queryset would read it again.
        return self.instance.variants.all() if self.instance.pk else super().get_queryset()

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        self._check_deleted()
        kept = [form for form in self.forms if form not in self.deleted_forms and self._is_filled(form)]
        if not kept:
            return
        self._check_configs(kept)
        if sum(form.cleaned_data["is_control"] for form in kept) > 1:
            raise ValidationError("Several variants are marked as the control; mark only one.")
        weights = [form.cleaned_data["weight_bp"] for form in kept]
        if all(weight is None for weight in weights):
            for form, weight in zip(kept, equal_weights(len(kept)), strict=True):
                form.instance.weight_bp = weight
            return
        if None in weights:
            raise ValidationError("Some weights are empty; fill in all of them, or none to share equally.")
        self._check_sum(sum(weights))

    def _check_configs(self, kept: list[VariantForm]) -> None:
        for form in kept:
            for said in misfits(form.cleaned_data["config"], self.instance.config_schema):
                form.add_error("config", f"It does not fit the schema. {said}")

    def _check_deleted(self) -> None:
        for form in self.deleted_forms:
            if form.instance.pk and form.instance.forced.exists():
                raise ValidationError(
                    f"A unit was forced to {form.instance.key}, which the record keeps: rename it instead of deleting it."
                )

    def _check_sum(self, total: int) -> None:
        if total == BASIS_POINTS:
            return
        change = (
            f"add {in_percent(BASIS_POINTS - total)}"
            if total < BASIS_POINTS
            else f"take away {in_percent(total - BASIS_POINTS)}"
        )
        raise ValidationError(
            f"The weights sum to {in_percent(total)}: {change}, or empty all of them to share equally."
        )

    @staticmethod
    def _is_filled(form: VariantForm) -> bool:
        return form.instance.pk is not None or form.has_changed()

    def save_new(self, form: VariantForm, commit: bool = True) -> Variant:  # noqa: FBT001, FBT002
        form.instance.position = next_position(self)
        saved: Variant = super().save_new(form, commit=commit)
        return saved


def next_position(formset: Any) -> int:
    """Behind all rows that are stored, among them those that this save has stored already."""
    taken = [other.instance.position for other in formset.forms if other.instance.pk is not None]
    return max(taken, default=-1) + 1
