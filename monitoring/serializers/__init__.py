"""Bodies of the REST calls about monitors and incidents: what is taken, what is given, and how the OpenAPI names it."""

from monitoring.serializers.backtests import (
    AskSerializer,
    BacktestDetailSerializer,
    BacktestSerializer,
)
from monitoring.serializers.changes import (
    AcceptedSerializer,
    AcceptSerializer,
    ActivateSerializer,
    ReasonNeededSerializer,
    ReasonSerializer,
)
from monitoring.serializers.definitions import (
    MonitorChangeSerializer,
    MonitorInputSerializer,
    MonitorSerializer,
    MonitorSliceSerializer,
    MonitorWithSlicesSerializer,
)
from monitoring.serializers.evidence import (
    ComparisonSerializer,
    EvaluationSerializer,
    ReferenceSerializer,
)
from monitoring.serializers.fleet import (
    BudgetInputSerializer,
    BudgetSerializer,
    MarkerEndSerializer,
    MarkerInputSerializer,
    MarkerSerializer,
)
from monitoring.serializers.incidents import IncidentSerializer, IncidentWithHistorySerializer

__all__ = [
    "AcceptSerializer",
    "AcceptedSerializer",
    "ActivateSerializer",
    "AskSerializer",
    "BacktestDetailSerializer",
    "BacktestSerializer",
    "BudgetInputSerializer",
    "BudgetSerializer",
    "ComparisonSerializer",
    "EvaluationSerializer",
    "IncidentSerializer",
    "IncidentWithHistorySerializer",
    "MarkerEndSerializer",
    "MarkerInputSerializer",
    "MarkerSerializer",
    "MonitorChangeSerializer",
    "MonitorInputSerializer",
    "MonitorSerializer",
    "MonitorSliceSerializer",
    "MonitorWithSlicesSerializer",
    "ReasonNeededSerializer",
    "ReasonSerializer",
    "ReferenceSerializer",
]
