from experiments.models.assignment import Assignment, ForcedVariant
from experiments.models.audit import ChangeRequest, ExperimentEvent, SharedEvent, Subject
from experiments.models.epoch import AllocationEpoch, EpochKind, RampStep
from experiments.models.experiment import (
    ENDED,
    NOT_STARTED,
    UNDER_WAY,
    Correction,
    Design,
    Experiment,
    State,
    UnitKind,
    new_salt,
)
from experiments.models.exposure import (
    Exclusion,
    ExposedUnit,
    ExposedValue,
    ExposureCursor,
    Unattributed,
)
from experiments.models.layer import Holdout, Layer, LayerSlot
from experiments.models.look import Decision, Look, LookEstimate, SequentialPlan
from experiments.models.metric import Better, ExperimentMetric, MetricType, Per, Role
from experiments.models.variant import Variant, VariantVersion

__all__ = [
    "ENDED",
    "NOT_STARTED",
    "UNDER_WAY",
    "AllocationEpoch",
    "Assignment",
    "Better",
    "ChangeRequest",
    "Correction",
    "Decision",
    "Design",
    "EpochKind",
    "Exclusion",
    "Experiment",
    "ExperimentEvent",
    "ExperimentMetric",
    "ExposedUnit",
    "ExposedValue",
    "ExposureCursor",
    "ForcedVariant",
    "Holdout",
    "Layer",
    "LayerSlot",
    "Look",
    "LookEstimate",
    "MetricType",
    "Per",
    "RampStep",
    "Role",
    "SequentialPlan",
    "SharedEvent",
    "State",
    "Subject",
    "Unattributed",
    "UnitKind",
    "Variant",
    "VariantVersion",
    "new_salt",
]
