"""The sidebar of the admin."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _has(request: HttpRequest, *pages: str) -> bool:
    return any(f"/{page}/" in request.path for page in pages)


NAVIGATION: list[dict[str, Any]] = [
    {
        "title": "Watch",
        "items": [
            {"title": "Home", "icon": "home", "link": reverse_lazy("admin:index")},
            {
                "title": "Inbox",
                "icon": "inbox",
                "link": reverse_lazy("admin:monitoring_inbox"),
                "badge": "triageops.home.views.inbox_badge",
            },
            {
                "title": "Incidents",
                "icon": "notification_important",
                "link": reverse_lazy("admin:monitoring_incident_changelist"),
                # The inbox lies below it.
                "active": lambda request: (
                    "/incident/" in request.path and not _has(request, "inbox", "numbers")
                ),
            },
            {
                "title": "Monitors",
                "icon": "monitoring",
                "link": reverse_lazy("admin:monitoring_monitor_changelist"),
            },
            {
                "title": "All monitors",
                "icon": "grid_on",
                "link": reverse_lazy("admin:monitoring_fleet"),
            },
            {
                "title": "Suggestions",
                "icon": "tips_and_updates",
                "link": reverse_lazy("admin:monitoring_suggestions"),
                "active": lambda request: (
                    "/backtest/suggestions/" in request.path or "/backtest/progress/" in request.path
                ),
            },
            {
                "title": "Backtests",
                "icon": "history",
                "link": reverse_lazy("admin:monitoring_backtest_changelist"),
                # The pages of suggestions lie below it.
                "active": lambda request: (
                    "/backtest/" in request.path
                    and "/backtest/suggestions/" not in request.path
                    and "/backtest/progress/" not in request.path
                ),
            },
            {
                "title": "Markers",
                "icon": "flag",
                "link": reverse_lazy("admin:monitoring_marker_changelist"),
            },
            {
                "title": "Scheduled work",
                "icon": "schedule",
                "link": reverse_lazy("admin:observability_scheduledjob_changelist"),
            },
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
                # The calendar lies below it, and has an entry of its own.
                "active": lambda request: (
                    "/monitoring/silence/" in request.path and "/silence/calendar/" not in request.path
                ),
            },
            {
                "title": "Calendar",
                "icon": "calendar_month",
                "link": reverse_lazy("admin:monitoring_calendar"),
            },
            {
                "title": "Maintenance",
                "icon": "engineering",
                "link": reverse_lazy("admin:monitoring_maintenancewindow_changelist"),
            },
            {
                "title": "Inhibitions",
                "icon": "do_not_disturb_on",
                "link": reverse_lazy("admin:monitoring_inhibitrule_changelist"),
            },
            {
                "title": "Channels",
                "icon": "campaign",
                "link": reverse_lazy("admin:monitoring_channel_changelist"),
                # Their health lies below it, and has an entry of its own.
                "active": lambda request: (
                    "/monitoring/channel/" in request.path and not _has(request, "health", "usefulness")
                ),
            },
            {
                "title": "Channel health",
                "icon": "vital_signs",
                "link": reverse_lazy("admin:monitoring_channel_health"),
            },
            {
                "title": "Routes",
                "icon": "account_tree",
                "link": reverse_lazy("admin:monitoring_route_changelist"),
            },
            {
                "title": "Hours",
                "icon": "more_time",
                "link": reverse_lazy("admin:monitoring_hours_changelist"),
            },
            {
                "title": "Templates",
                "icon": "edit_note",
                "link": reverse_lazy("admin:monitoring_messagetemplate_changelist"),
            },
            {
                "title": "Deliveries",
                "icon": "outgoing_mail",
                "link": reverse_lazy("admin:monitoring_outboxmessage_changelist"),
            },
            {
                "title": "Usefulness",
                "icon": "thumbs_up_down",
                "link": reverse_lazy("admin:monitoring_usefulness"),
            },
            {"title": "Numbers", "icon": "bar_chart", "link": reverse_lazy("admin:monitoring_numbers")},
        ],
    },
    {
        "title": "Experiments",
        "separator": True,
        "items": [
            {
                "title": "Experiments",
                "icon": "science",
                "link": reverse_lazy("admin:experiments_experiment_changelist"),
            },
            {
                "title": "Assignments",
                "icon": "alt_route",
                "link": reverse_lazy("admin:experiments_assignment_changelist"),
            },
            {
                "title": "Layers",
                "icon": "layers",
                "link": reverse_lazy("admin:experiments_layer_changelist"),
            },
            {
                "title": "Holdout",
                "icon": "front_hand",
                "link": reverse_lazy("admin:experiments_holdout_changelist"),
            },
        ],
    },
    {
        "title": "Facts",
        "separator": True,
        "items": [
            {
                "title": "Responses",
                "icon": "forum",
                "link": reverse_lazy("admin:feedback_response_changelist"),
            },
            {
                "title": "Quality records",
                "icon": "verified",
                "link": reverse_lazy("admin:feedback_qualityrecord_changelist"),
            },
            {
                "title": "Feedback",
                "icon": "thumbs_up_down",
                "link": reverse_lazy("admin:feedback_feedback_changelist"),
            },
            {
                "title": "Quality metrics",
                "icon": "straighten",
                "link": reverse_lazy("admin:feedback_qualitymetric_changelist"),
            },
            {
                "title": "Ledger",
                "icon": "menu_book",
                "link": reverse_lazy("admin:feedback_ledgerentry_changelist"),
            },
        ],
    },
    {
        "title": "Access",
        "separator": True,
        "items": [
            {
                "title": "API keys",
                "icon": "key",
                "link": reverse_lazy("admin:feedback_apikey_changelist"),
            },
            {"title": "People", "icon": "group", "link": reverse_lazy("admin:auth_user_changelist")},
            {"title": "API documentation", "icon": "api", "link": reverse_lazy("docs")},
        ],
    },
]
