from monitoring.admin import (
    backtests,
    budget,
    channels,
    deliveries,
    hours,
    incidents,
    markers,
    message_templates,
    monitors,
    routes,
    silences,
    windows,
)

__all__ = [
    "backtests",
    "budget",
    "channels",
    "deliveries",
    "hours",
    "incidents",
    "markers",
    "message_templates",
    "monitors",
    "routes",
    "silences",
    "windows",
]
