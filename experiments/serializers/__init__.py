"""Bodies of the REST calls about experiments: what is taken, what is given, and how the OpenAPI names it."""

from experiments.serializers.assigning import (
    AssignAllRequestSerializer,
    AssignedAllSerializer,
    AssignedSerializer,
    AssignmentsSerializer,
    AssignRequestSerializer,
    DecisionSerializer,
    StoredSerializer,
)
from experiments.serializers.changes import (
    ChangeSerializer,
    CoverageSerializer,
    ForceSerializer,
    PreviewSerializer,
    RevisionSerializer,
    TransitionSerializer,
    WeightsSerializer,
)
from experiments.serializers.definitions import (
    CloneSerializer,
    DefinitionSerializer,
    ExperimentDetailSerializer,
    ExperimentSerializer,
    ExportSerializer,
    MetricSerializer,
    RampStepSerializer,
    VariantSerializer,
)
from experiments.serializers.history import (
    AuditSerializer,
    EpochSerializer,
    EpochsSerializer,
    ForcedListSerializer,
    ForcedSerializer,
)
from experiments.serializers.strict import StrictSerializer, TextField, WordField, checked_object

__all__ = [
    "AssignAllRequestSerializer",
    "AssignRequestSerializer",
    "AssignedAllSerializer",
    "AssignedSerializer",
    "AssignmentsSerializer",
    "AuditSerializer",
    "ChangeSerializer",
    "CloneSerializer",
    "CoverageSerializer",
    "DecisionSerializer",
    "DefinitionSerializer",
    "EpochSerializer",
    "EpochsSerializer",
    "ExperimentDetailSerializer",
    "ExperimentSerializer",
    "ExportSerializer",
    "ForceSerializer",
    "ForcedListSerializer",
    "ForcedSerializer",
    "MetricSerializer",
    "PreviewSerializer",
    "RampStepSerializer",
    "RevisionSerializer",
    "StoredSerializer",
    "StrictSerializer",
    "TextField",
    "TransitionSerializer",
    "VariantSerializer",
    "WeightsSerializer",
    "WordField",
    "checked_object",
]
