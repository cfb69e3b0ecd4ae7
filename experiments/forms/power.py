from collections.abc import Mapping, Sequence

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from experiments.models import ExperimentMetric


class PowerForm(forms.Form):
    """What somebody wants to find, and how surely."""

    metric = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    effect = forms.FloatField(
        label="Smallest effect of interest",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="A size, in the metric's own unit: 0.02 is two points of a share.",
    )
    power = forms.FloatField(
        label="Power in %",
        min_value=50,
        max_value=99,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="Chance to find it if it is there.",
    )

    def __init__(self, asked: Mapping[str, str], *, metrics: Sequence[ExperimentMetric]) -> None:
        super().__init__(asked)
        self.fields["metric"].choices = [(metric.key, metric.name) for metric in metrics]  # type: ignore[attr-defined]

    def clean_effect(self) -> float | None:
        effect: float | None = self.cleaned_data["effect"]
        if effect is not None and effect <= 0:
            raise ValidationError("An effect is a size, whichever its direction: send a number above 0.")
        return effect
