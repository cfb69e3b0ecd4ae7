"""Forms of the admin: percent in, basis points out; what the rows together must be is said in words."""

from experiments.forms.definition import ExperimentForm, LaterForm, VariantForm, VariantFormSet
from experiments.forms.fields import JsonField, PercentField, equal_weights
from experiments.forms.metrics import MetricForm, MetricFormSet, RampForm, RampFormSet
from experiments.forms.moves import (
    CloneForm,
    ConfigsForm,
    CoverageForm,
    ForceForm,
    HoldoutForm,
    ImportForm,
    KindForm,
    MoveForm,
    ScheduleForm,
    ShipForm,
    WeightsForm,
)
from experiments.forms.power import PowerForm

__all__ = [
    "CloneForm",
    "ConfigsForm",
    "CoverageForm",
    "ExperimentForm",
    "ForceForm",
    "HoldoutForm",
    "ImportForm",
    "JsonField",
    "KindForm",
    "LaterForm",
    "MetricForm",
    "MetricFormSet",
    "MoveForm",
    "PercentField",
    "PowerForm",
    "RampForm",
    "RampFormSet",
    "ScheduleForm",
    "ShipForm",
    "VariantForm",
    "VariantFormSet",
    "WeightsForm",
    "equal_weights",
]
