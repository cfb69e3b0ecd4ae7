from collections.abc import Sequence
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from experiments.models import ExperimentMetric


class PowerForm(forms.Form):
    """What somebody wants to find, and how surely."""

    metric = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    effect = forms.FloatField(
        label="Smallest effect of interest",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="In the metric's own unit: 0.02 is two points of a share.",
    )
    power = forms.FloatField(
        label="Power in %",
        min_value=50,
        max_value=99,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="Chance to find it if it is there.",
    )

    def __init__(self, *arguments: Any, metrics: Sequence[ExperimentMetric], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["metric"].choices = [(metric.key, metric.name) for metric in metrics]  # type: ignore[attr-defined]
