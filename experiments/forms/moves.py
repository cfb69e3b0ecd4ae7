"""What a person says when moving an experiment, or changing how its units are dealt."""

import json
from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from experiments.assignment import BASIS_POINTS
from experiments.definition import UNIT_MAX, in_percent, misfits, valid_key, validate_config
from experiments.forms.fields import JsonField, PercentField, equal_weights, with_native_times
from experiments.models import EpochKind, Experiment, Holdout, Variant


class MoveForm(forms.Form):
    """`version` is the one that the person saw."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    reason = forms.CharField(
        required=False,
        max_length=2_000,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Kept in the audit with your name.",
    )

    def __init__(
        self, *arguments: Any, experiment: Experiment, needs_reason: bool = False, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.experiment = experiment
        self.fields["version"].initial = experiment.version
        self.fields["reason"].required = needs_reason

    def arguments(self) -> dict[str, Any]:
        """What the move takes beside who, when and why."""
        return {}


class ScheduleForm(MoveForm):
    at = forms.SplitDateTimeField(
        label="Start at (UTC)", widget=UnfoldAdminSplitDateTimeWidget, help_text="It starts by itself then."
    )
    field_order = ("at", "reason")

    def __init__(self, *arguments: Any, experiment: Experiment, **options: Any) -> None:
        super().__init__(*arguments, experiment=experiment, **options)
        self.fields["at"].initial = experiment.starts_at
        with_native_times(self)

    def arguments(self) -> dict[str, Any]:
        return {"at": self.cleaned_data["at"]}


class ShipForm(MoveForm):
    variant = forms.ChoiceField(
        widget=UnfoldAdminRadioSelectWidget,
        help_text="Everyone but the global holdout gets its config from now on.",
    )
    field_order = ("variant", "reason")

    def __init__(self, *arguments: Any, experiment: Experiment, **options: Any) -> None:
        super().__init__(*arguments, experiment=experiment, **options)
        choices = [
            (one.key, f"{one.key} (control)" if one.is_control else one.key)
            for one in experiment.variants.all()
        ]
        self.fields["variant"].choices = choices  # type: ignore[attr-defined]

    def arguments(self) -> dict[str, Any]:
        return {"variant": self.cleaned_data["variant"]}


class WeightsForm(forms.Form):
    """A weight for each variant, in percent; `weights.js` knows the fields by their names."""

    def __init__(self, *arguments: Any, variants: Sequence[Variant], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.variants = variants
        for position, variant in enumerate(variants):
            self.fields[name_of_weight(position)] = PercentField(
                label=variant.key, initial=variant.weight_bp, required=False
            )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        given = [cleaned[name_of_weight(position)] for position in range(len(self.variants))]
        if all(weight is None for weight in given):
            given = equal_weights(len(given))
        if None in given:
            raise ValidationError("Some weights are empty; fill in all of them, or none to share equally.")
        if sum(given) != BASIS_POINTS:
            raise ValidationError(f"The weights sum to {in_percent(sum(given))}; make them 100 %.")
        if given == [variant.weight_bp for variant in self.variants]:
            raise ValidationError("These are the weights that it has; change at least two.")
        cleaned["weights"] = {
            variant.key: weight for variant, weight in zip(self.variants, given, strict=True)
        }
        return cleaned


def name_of_weight(position: int) -> str:
    return f"weights-{position}-weight_bp"


class KindForm(MoveForm):
    kind = forms.ChoiceField(choices=[], widget=forms.RadioSelect, label="Which way")

    def __init__(self, *arguments: Any, kinds: Sequence[EpochKind], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["kind"].choices = [(kind.value, kind.label) for kind in kinds]  # type: ignore[attr-defined]


class CoverageForm(forms.Form):
    coverage_bp = PercentField(label="Coverage in %", help_text="Share of all units that take part.")

    def __init__(self, *arguments: Any, experiment: Experiment, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.experiment = experiment
        self.fields["coverage_bp"].initial = experiment.coverage_bp

    def clean_coverage_bp(self) -> int:
        coverage: int = self.cleaned_data["coverage_bp"]
        if coverage == 0:
            raise ValidationError("Nobody would take part; pause or stop the experiment instead.")
        if coverage == self.experiment.coverage_bp:
            raise ValidationError(f"It is {in_percent(coverage)} already.")
        return coverage


class HoldoutForm(forms.Form):
    share_bp = PercentField(label="Share of all units in %")
    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Kept in the history with your name.",
    )

    def __init__(self, *arguments: Any, holdout: Holdout, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.holdout = holdout
        self.fields["share_bp"].initial = holdout.share_bp

    def clean_share_bp(self) -> int:
        share: int = self.cleaned_data["share_bp"]
        if share == self.holdout.share_bp:
            raise ValidationError(f"It is {in_percent(share)} already.")
        return share


class ConfigsForm(forms.Form):
    """A config for each variant of one experiment."""

    def __init__(
        self, *arguments: Any, experiment: Experiment, variants: Sequence[Variant], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.experiment, self.variants = experiment, variants
        for position, variant in enumerate(variants):
            self.fields[f"config-{position}"] = JsonField(
                label=f"{variant.key}, version {variant.version}",
                initial=variant.config,
                rows=6,
                empty={},
                check=validate_config,
            )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        changed = {}
        for position, variant in enumerate(self.variants):
            config = cleaned.get(f"config-{position}")
            if config is None:
                continue
            for said in misfits(config, self.experiment.config_schema):
                self.add_error(f"config-{position}", f"It does not fit the schema. {said}")
            if config != variant.config:
                changed[variant.key] = config
        if not changed and not self.errors:
            raise ValidationError("No config differs from what it is; change at least one.")
        cleaned["configs"] = changed
        return cleaned


class ForceForm(MoveForm):
    unit = forms.CharField(
        max_length=UNIT_MAX,
        strip=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Exactly as clients send it.",
    )
    variant = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    field_order = ("unit", "variant", "reason")

    def __init__(self, *arguments: Any, experiment: Experiment, **options: Any) -> None:
        super().__init__(*arguments, experiment=experiment, **options)
        self.fields["variant"].choices = [(one.key, one.key) for one in experiment.variants.all()]  # type: ignore[attr-defined]
        self.fields["reason"].help_text = "E.g. “test account of the clinic”."


class CloneForm(forms.Form):
    key = forms.CharField(
        max_length=128,
        validators=[valid_key],
        widget=UnfoldAdminTextInputWidget,
        help_text="What clients will ask for.",
    )


class ImportForm(forms.Form):
    file = forms.FileField(
        required=False, widget=UnfoldAdminFileFieldWidget, help_text="What “Export JSON” gave."
    )
    document = forms.CharField(
        label="Or its text",
        required=False,
        max_length=1_000_000,
        widget=UnfoldAdminTextareaWidget({"rows": 8, "spellcheck": "false"}),
    )
    key = forms.CharField(
        label="Another key",
        required=False,
        max_length=128,
        validators=[valid_key],
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the key that the document says.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        file, text = cleaned.get("file"), cleaned.get("document")
        if bool(file) == bool(text):
            raise ValidationError("Choose a file, or paste its text.")
        try:
            document = json.loads(file.read() if file else text or "")
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is not JSON: {error}.") from None
        if not isinstance(document, dict):
            raise ValidationError("This is no JSON object.")
        cleaned["read"] = document
        return cleaned
