from monitoring.models.backtest import Backtest, BacktestState
from monitoring.models.budget import BudgetEntry, FleetBudget
from monitoring.models.canary import CANARY_METRIC, PLANTED, Canary, SelfCheck
from monitoring.models.channel import Channel
from monitoring.models.evaluation import DriftEvaluation, MonitorSlice
from monitoring.models.health import ChannelHealth, DeliveryAudit, InboxSeen
from monitoring.models.incident import (
    EventKind,
    Incident,
    IncidentEvent,
    IncidentState,
    Resolution,
    Signal,
    Source,
    Usefulness,
)
from monitoring.models.marker import Marker, MarkerKind
from monitoring.models.monitor import Monitor, MonitorState, ReferenceMode, Severity
from monitoring.models.outbox import (
    AttemptOutcome,
    DeliveryAttempt,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)
from monitoring.models.reference import Reference, ReferenceSlice
from monitoring.models.route import Digest, EscalationStep, Hours, Outside, Route
from monitoring.models.silence import (
    SUPPRESSING,
    Flag,
    IncidentFlag,
    InhibitRule,
    MaintenanceWindow,
    Repeats,
    Silence,
    SilenceMirror,
)
from monitoring.models.template import MessageTemplate

__all__ = [
    "CANARY_METRIC",
    "PLANTED",
    "SUPPRESSING",
    "AttemptOutcome",
    "Backtest",
    "BacktestState",
    "BudgetEntry",
    "Canary",
    "Channel",
    "ChannelHealth",
    "DeliveryAttempt",
    "DeliveryAudit",
    "Digest",
    "DriftEvaluation",
    "EscalationStep",
    "EventKind",
    "Flag",
    "FleetBudget",
    "Hours",
    "InboxSeen",
    "Incident",
    "IncidentEvent",
    "IncidentFlag",
    "IncidentState",
    "InhibitRule",
    "MaintenanceWindow",
    "Marker",
    "MarkerKind",
    "MessageKind",
    "MessageStatus",
    "MessageTemplate",
    "Monitor",
    "MonitorSlice",
    "MonitorState",
    "OutboxMessage",
    "Outside",
    "Reference",
    "ReferenceMode",
    "ReferenceSlice",
    "Repeats",
    "Resolution",
    "Route",
    "SelfCheck",
    "Severity",
    "Signal",
    "Silence",
    "SilenceMirror",
    "Source",
    "Usefulness",
]
