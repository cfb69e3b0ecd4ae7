"""The sidebar of the admin."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _has(request: HttpRequest, *pages: str) -> bool:
    return any(f"/{page}/" in request.path for page in pages)


def _viewers_of(*models: str) -> Callable[[HttpRequest], bool]:
    """An entry for who may view any of them, and for nobody else: a link that answers “forbidden” helps nobody."""
    names = [model.split(".") for model in models]
    permissions = [f"{app}.{verb}_{model}" for app, model in names for verb in ("view", "change")]
    return lambda request: any(request.user.has_perm(one) for one in permissions)


def _entry(title: str, icon: str, page: str, *models: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{page}"),
        "permission": _viewers_of(*models),
    }


NAVIGATION: list[dict[str, Any]] = [
    {
        "title": "Watch",
        "items": [
            {"title": "Home", "icon": "home", "link": reverse_lazy("admin:index")},
            {
                "title": "Inbox",
                "icon": "inbox",
                "link": reverse_lazy("admin:monitoring_inbox"),
                "permission": _viewers_of("monitoring.incident"),
                "badge": "triageops.home.views.inbox_badge",
            },
            {
                "title": "Incidents",
                "icon": "notification_important",
                "link": reverse_lazy("admin:monitoring_incident_changelist"),
                "permission": _viewers_of("monitoring.incident"),
                # The inbox lies below it.
                "active": lambda request: (
                    "/incident/" in request.path and not _has(request, "inbox", "numbers")
                ),
            },
            _entry("Monitors", "monitoring", "monitoring_monitor_changelist", "monitoring.monitor"),
            _entry(
                "All monitors", "grid_on", "monitoring_fleet", "monitoring.monitor", "monitoring.fleetbudget"
            ),
            {
                "title": "Suggestions",
                "icon": "tips_and_updates",
                "link": reverse_lazy("admin:monitoring_suggestions"),
                "permission": _viewers_of("monitoring.monitor"),
                "active": lambda request: (
                    "/backtest/suggestions/" in request.path or "/backtest/progress/" in request.path
                ),
            },
            {
                "title": "Backtests",
                "icon": "history",
                "link": reverse_lazy("admin:monitoring_backtest_changelist"),
                "permission": _viewers_of("monitoring.backtest"),
                # The pages of suggestions lie below it.
                "active": lambda request: (
                    "/backtest/" in request.path
                    and "/backtest/suggestions/" not in request.path
                    and "/backtest/progress/" not in request.path
                ),
            },
            _entry("Markers", "flag", "monitoring_marker_changelist", "monitoring.marker"),
            _entry(
                "Scheduled work",
                "schedule",
                "observability_scheduledjob_changelist",
                "observability.scheduledjob",
            ),
        ],
    },
    {
        "title": "Alerts",
        "separator": True,
        "items": [
            {
                "title": "Silences",
                "icon": "notifications_off",
                "link": reverse_lazy("admin:monitoring_silence_changelist"),
                "permission": _viewers_of("monitoring.silence"),
                # The calendar lies below it, and has an entry of its own.
                "active": lambda request: (
                    "/monitoring/silence/" in request.path and "/silence/calendar/" not in request.path
                ),
            },
            _entry(
                "Calendar",
                "calendar_month",
                "monitoring_calendar",
                "monitoring.silence",
                "monitoring.maintenancewindow",
            ),
            _entry(
                "Maintenance",
                "engineering",
                "monitoring_maintenancewindow_changelist",
                "monitoring.maintenancewindow",
            ),
            _entry(
                "Inhibitions",
                "do_not_disturb_on",
                "monitoring_inhibitrule_changelist",
                "monitoring.inhibitrule",
            ),
            {
                "title": "Channels",
                "icon": "campaign",
                "link": reverse_lazy("admin:monitoring_channel_changelist"),
                "permission": _viewers_of("monitoring.channel"),
                # Their health lies below it, and has an entry of its own.
                "active": lambda request: (
                    "/monitoring/channel/" in request.path and not _has(request, "health", "usefulness")
                ),
            },
            _entry("Channel health", "vital_signs", "monitoring_channel_health", "monitoring.channel"),
            _entry("Routes", "account_tree", "monitoring_route_changelist", "monitoring.route"),
            _entry("Hours", "more_time", "monitoring_hours_changelist", "monitoring.hours"),
            _entry(
                "Templates",
                "edit_note",
                "monitoring_messagetemplate_changelist",
                "monitoring.messagetemplate",
            ),
            _entry(
                "Deliveries",
                "outgoing_mail",
                "monitoring_outboxmessage_changelist",
                "monitoring.outboxmessage",
            ),
            _entry("Usefulness", "thumbs_up_down", "monitoring_usefulness", "monitoring.incident"),
            _entry("Numbers", "bar_chart", "monitoring_numbers", "monitoring.incident"),
        ],
    },
    {
        "title": "Experiments",
        "separator": True,
        "items": [
            _entry("Experiments", "science", "experiments_experiment_changelist", "experiments.experiment"),
            _entry("Assignments", "alt_route", "experiments_assignment_changelist", "experiments.assignment"),
            _entry("Layers", "layers", "experiments_layer_changelist", "experiments.layer"),
            _entry("Holdout", "front_hand", "experiments_holdout_changelist", "experiments.holdout"),
        ],
    },
    {
        "title": "Facts",
        "separator": True,
        "items": [
            _entry("Responses", "forum", "feedback_response_changelist", "feedback.response"),
            _entry(
                "Quality records", "verified", "feedback_qualityrecord_changelist", "feedback.qualityrecord"
            ),
            _entry("Feedback", "rate_review", "feedback_feedback_changelist", "feedback.feedback"),
            _entry(
                "Quality metrics", "straighten", "feedback_qualitymetric_changelist", "feedback.qualitymetric"
            ),
            _entry("Ledger", "menu_book", "feedback_ledgerentry_changelist", "feedback.ledgerentry"),
        ],
    },
    {
        "title": "Access",
        "separator": True,
        "items": [
            _entry("API keys", "key", "feedback_apikey_changelist", "feedback.apikey"),
            _entry("People", "group", "auth_user_changelist", "auth.user"),
            {"title": "API documentation", "icon": "api", "link": reverse_lazy("docs")},
        ],
    },
]
