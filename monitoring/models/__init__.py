from monitoring.models.channel import Channel
from monitoring.models.evaluation import DriftEvaluation, MonitorSlice
from monitoring.models.incident import EventKind, Incident, IncidentEvent, IncidentState, Resolution
from monitoring.models.monitor import Monitor, MonitorState, Severity, metric_of
from monitoring.models.outbox import (
    AttemptOutcome,
    DeliveryAttempt,
    MessageKind,
    MessageStatus,
    OutboxMessage,
)

__all__ = [
    "AttemptOutcome",
    "Channel",
    "DeliveryAttempt",
    "DriftEvaluation",
    "EventKind",
    "Incident",
    "IncidentEvent",
    "IncidentState",
    "MessageKind",
    "MessageStatus",
    "Monitor",
    "MonitorSlice",
    "MonitorState",
    "OutboxMessage",
    "Resolution",
    "Severity",
    "metric_of",
]
