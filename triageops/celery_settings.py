"""Celery's own settings; the broker only wakes workers, PostgreSQL holds every truth."""

from django.conf import settings


def broker_url_of(redis_url: str) -> str:
    """Celery's spelling of a Redis address: unix sockets are `redis+socket://` there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


broker_url = broker_url_of(settings.REDIS_URL)
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 1}
task_ignore_result = True
task_serializer = "json"
accept_content = ["json"]
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_max_tasks_per_child = 5_000
task_default_queue = "default"
# Here and not as `queue=` on the tasks, which Celery is about to ignore.
task_routes = {
    "feedback.tasks.roll_up": {"queue": "rollups"},
    "experiments.tasks.collect_exposures": {"queue": "rollups"},
    "experiments.tasks.run_schedule": {"queue": "checks"},
    "experiments.tasks.look_at_due": {"queue": "experiments"},
    "experiments.tasks.look_at_one": {"queue": "experiments"},
    "monitoring.tasks.run_checks": {"queue": "checks"},
    "monitoring.tasks.watch_experiments": {"queue": "checks"},
    "monitoring.tasks.watch_checks": {"queue": "checks"},
    "monitoring.tasks.tend_canary": {"queue": "checks"},
    "monitoring.tasks.tidy": {"queue": "default"},
    "monitoring.tasks.deliver_due": {"queue": "delivery"},
    "monitoring.tasks.resend_alerts": {"queue": "delivery"},
    "monitoring.tasks.mirror_silences": {"queue": "delivery"},
    "monitoring.tasks.tend_alerts": {"queue": "checks"},
    # Not beside what it judges.
    "monitoring.tasks.audit_deliveries": {"queue": "checks"},
    # Up to a minute of work: checks must not wait for it.
    "monitoring.tasks.run_backtest": {"queue": "default"},
    "monitoring.tasks.sweep_backtests": {"queue": "checks"},
}
task_time_limit = 300
timezone = "UTC"
beat_schedule = {
    # A message older than the interval is worthless: the next one does the same work.
    "rollups": {
        "task": "feedback.tasks.roll_up",
        "schedule": 5.0,
        "options": {"queue": "rollups", "expires": 5},
    },
    "exposures": {
        "task": "experiments.tasks.collect_exposures",
        "schedule": 5.0,
        "options": {"queue": "rollups", "expires": 5},
    },
    "experiment-schedule": {
        "task": "experiments.tasks.run_schedule",
        "schedule": 10.0,
        "options": {"queue": "checks", "expires": 10},
    },
    "looks": {
        "task": "experiments.tasks.look_at_due",
        "schedule": float(min(settings.LOOK_SECONDS, 60)),
        "options": {"queue": "experiments", "expires": min(settings.LOOK_SECONDS, 60)},
    },
    "checks": {
        "task": "monitoring.tasks.run_checks",
        "schedule": float(settings.CHECK_SECONDS),
        "options": {"queue": "checks", "expires": settings.CHECK_SECONDS},
    },
    "halts": {
        "task": "monitoring.tasks.watch_experiments",
        "schedule": 5.0,
        "options": {"queue": "checks", "expires": 5},
    },
    "self-check": {
        "task": "monitoring.tasks.watch_checks",
        "schedule": 60.0,
        "options": {"queue": "checks", "expires": 60},
    },
    "canary": {
        "task": "monitoring.tasks.tend_canary",
        "schedule": 30.0,
        "options": {"queue": "checks", "expires": 30},
    },
    "housekeeping": {
        "task": "monitoring.tasks.tidy",
        "schedule": 3600.0,
        "options": {"queue": "default", "expires": 3600},
    },
    "backtests": {
        "task": "monitoring.tasks.sweep_backtests",
        "schedule": 30.0,
        "options": {"queue": "checks", "expires": 30},
    },
    "delivery": {
        "task": "monitoring.tasks.deliver_due",
        "schedule": 15.0,
        "options": {"queue": "delivery", "expires": 15},
    },
    "alerts": {
        "task": "monitoring.tasks.tend_alerts",
        "schedule": 5.0,
        "options": {"queue": "checks", "expires": 5},
    },
    "resending": {
        "task": "monitoring.tasks.resend_alerts",
        "schedule": 60.0,
        "options": {"queue": "delivery", "expires": 60},
    },
    "mirroring": {
        "task": "monitoring.tasks.mirror_silences",
        "schedule": 30.0,
        "options": {"queue": "delivery", "expires": 30},
    },
    "audit": {
        "task": "monitoring.tasks.audit_deliveries",
        "schedule": 60.0,
        "options": {"queue": "checks", "expires": 60},
    },
}
