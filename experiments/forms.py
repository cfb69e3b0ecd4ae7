"""Forms of the admin: percent in, basis points out; what the rows together must be is said in words."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent, validate_config
from experiments.models import Experiment, Variant


def equal_weights(count: int) -> list[int]:
    """Basis points that sum to 10 000 and differ by at most one; the first arms get the rest."""
    share, rest = divmod(BASIS_POINTS, count)
    return [share + (position < rest) for position in range(count)]


class PercentField(forms.Field):
    """Shows and reads basis points as a percentage with at most two decimals."""

    default_error_messages = {
        "invalid": "Enter a percentage, such as 33.34.",
        "range": "Enter a percentage from 0 to 100.",
        "digits": "Enter at most two decimals; a unit is one of 10 000 buckets.",
    }

    def __init__(self, **options: Any) -> None:
        attributes = {"type": "number", "inputmode": "decimal", "min": "0", "max": "100", "step": "0.01"}
        super().__init__(widget=UnfoldAdminTextInputWidget(attributes), **options)

    def prepare_value(self, value: Any) -> Any:
        return f"{value / 100:g}" if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        try:
            basis_points = Decimal(str(value).strip()) * 100
        except InvalidOperation:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if basis_points.is_nan():
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if not 0 <= basis_points <= BASIS_POINTS:
            raise ValidationError(self.error_messages["range"], code="range")
        if basis_points != int(basis_points):
            raise ValidationError(self.error_messages["digits"], code="digits")
        return int(basis_points)


class ConfigField(forms.Field):
    """A JSON object, indented for people; empty text is the empty object, and wrong text comes back as it was."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=UnfoldAdminTextareaWidget(
                {"rows": 4, "spellcheck": "false", "placeholder": '{"model": "gpt-4"}'}
            ),
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        try:
            config = json.loads(value or "{}", object_pairs_hook=_refuse_repeated)
        except RecursionError:
            raise ValidationError("The config is nested too deep.") from None
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from None
        validate_config(config)
        return config


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A repeated name is a slip of the pen, and Python would silently keep the last one.
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the name {name!r} stands twice in one object")
    return dict(pairs)


class ExperimentForm(forms.ModelForm[Experiment]):
    coverage_bp = PercentField(
        label="Coverage in %",
        initial=BASIS_POINTS,
        help_text="Share of all units that take part; the others get the control's config and are not counted.",
    )
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = Experiment
        fields = ("key", "name", "hypothesis", "owner", "unit_kind", "coverage_bp")
        widgets = {"hypothesis": UnfoldAdminTextareaWidget({"rows": 3})}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["seen_version"].initial = self.instance.version

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen_version") != self.instance.version:
            raise ValidationError(
                "Somebody changed this experiment while you were editing it, so nothing was saved. "
                "Open it again in another tab, and repeat there what you changed."
            )
        return cleaned


class VariantForm(forms.ModelForm[Variant]):
    weight_bp = PercentField(label="Weight in %", required=False)
    config = ConfigField(label="Config (JSON)", required=False)

    class Meta:
        model = Variant
        fields = ("key", "is_control", "weight_bp", "config")

    def validate_constraints(self) -> None:
        """Left to the whole set: here a new control would clash with the old one that the same save takes away."""


class VariantFormSet(PaginationInlineFormSet):  # type: ignore[misc]
    """All variants of one draft. No weight at all means equal weights."""

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        kept = [form for form in self.forms if form not in self.deleted_forms and self._is_filled(form)]
        if not kept:
            return
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
        taken = [other.instance.position for other in self.forms if other.instance.pk is not None]
        form.instance.position = max(taken, default=-1) + 1
        saved: Variant = super().save_new(form, commit=commit)
        return saved


class MoveForm(forms.Form):
    """What a person says when starting or stopping; `version` is the one that they saw."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    reason = forms.CharField(
        required=False,
        max_length=2_000,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Kept in the audit with your name.",
    )
