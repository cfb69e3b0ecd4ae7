from monitoring.models.backtest import Backtest, BacktestState
from monitoring.models.budget import BudgetEntry, FleetBudget
from monitoring.models.canary import CANARY_METRIC, PLANTED, Canary, SelfCheck
from monitoring.models.channel import Channel
from monitoring.models.evaluation import DriftEvaluation, MonitorSlice
from monitoring.models.incident import EventKind, Incident, IncidentEvent, IncidentState, Resolution, Signal
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

__all__ = [
    "CANARY_METRIC",
    "PLANTED",
    "AttemptOutcome",
    "Backtest",
    "BacktestState",
    "BudgetEntry",
    "Canary",
    "Channel",
    "DeliveryAttempt",
    "DriftEvaluation",
    "EventKind",
    "FleetBudget",
    "Incident",
    "IncidentEvent",
    "IncidentState",
    "Marker",
    "MarkerKind",
    "MessageKind",
    "MessageStatus",
    "Monitor",
    "MonitorSlice",
    "MonitorState",
    "OutboxMessage",
    "Reference",
    "ReferenceMode",
    "ReferenceSlice",
    "Resolution",
    "SelfCheck",
    "Severity",
    "Signal",
]
