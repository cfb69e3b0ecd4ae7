"""Celery signals: what every task gets without doing anything for it.

Log context (task id, the caller's request id), duration and outcome as metrics, a row for every scheduled job, and the
mark by which /ready knows that a worker is alive.
"""

import time
from datetime import timedelta
from typing import Any

import redis
import structlog
from celery import Task, signals
from django.conf import settings
from django.core.cache import cache
from django.db import close_old_connections
from django.utils import timezone

from triageops.observability import jobs, logging, metrics

log = structlog.get_logger(__name__)

WORKER_SEEN = "worker-seen"
_WORKER_SEEN_SECONDS = 60
_began: dict[str, float] = {}


@signals.setup_logging.connect
def use_json_logging(**_: Any) -> None:
    """Being connected keeps Celery from installing handlers of its own."""
    logging.configure(settings.LOG_LEVEL)


@signals.worker_ready.connect
def declare_jobs(sender: Any, **_: Any) -> None:
    """The table of scheduled jobs follows the schedule of the running code."""
    schedule = sender.app.conf.beat_schedule
    intervals = {name: float(entry["schedule"]) for name, entry in schedule.items()}
    jobs.declare(intervals, now=timezone.now())


@signals.worker_ready.connect
@signals.heartbeat_sent.connect
def mark_worker_seen(**_: Any) -> None:
    try:
        cache.set(WORKER_SEEN, timezone.now().isoformat(), _WORKER_SEEN_SECONDS)
    except redis.RedisError:
        log.warning("worker.mark_failed")


@signals.before_task_publish.connect
def send_request_id(headers: dict[str, Any], **_: Any) -> None:
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        headers["request_id"] = request_id


@signals.task_prerun.connect
def begin(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task_id=task_id, task=task.name)
    request_id = getattr(task.request, "request_id", None)
    if request_id:
        structlog.contextvars.bind_contextvars(request_id=request_id)
    _began[task_id] = time.time()


@signals.task_postrun.connect
def end(task_id: str, task: Task[Any, Any], retval: Any, state: str, **_: Any) -> None:
    finished = timezone.now()
    seconds = max(0.0, time.time() - _began.pop(task_id, time.time()))
    metrics.TASKS.labels(task.name, state.lower()).inc()
    metrics.TASK_SECONDS.labels(task.name).observe(seconds)
    names = [name for name, entry in task.app.conf.beat_schedule.items() if entry["task"] == task.name]
    for name in names:
        is_good = state == "SUCCESS"
        jobs.record(
            name=name,
            started_at=finished - timedelta(seconds=seconds),
            finished_at=finished,
            rows=retval if is_good and isinstance(retval, int) else 0,
            error="" if is_good else f"{type(retval).__name__}: {retval}",
        )
    close_old_connections()
    structlog.contextvars.clear_contextvars()
