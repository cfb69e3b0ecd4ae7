"""Liveness, readiness and metrics."""

import threading
from collections.abc import Callable

import redis
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from triageops.observability import metrics
from triageops.observability.tasks import WORKER_SEEN

# Set once this process has seen every migration applied: none becomes unapplied by itself, and to look is costly.
_is_migrated = threading.Event()


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"cannot be reached ({type(error).__name__})"
    return "ok"


def _migrations() -> str:
    if _is_migrated.is_set():
        return "ok"
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return f"unknown ({type(error).__name__})"
    if waiting:
        return f"{len(waiting)} to be applied"
    _is_migrated.set()
    return "ok"


def _redis() -> str:
    try:
        cache.get(WORKER_SEEN)
    except redis.RedisError as error:
        return f"cannot be reached ({type(error).__name__})"
    return "ok"


def _worker() -> str:
    try:
        return "ok" if cache.get(WORKER_SEEN) else "none seen in the last minute"
    except redis.RedisError:
        return "unknown (Redis cannot be reached)"


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "redis": _redis,
    "worker": _worker,
}


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """The process answers; says nothing of what it depends on, so that a database outage restarts nobody."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served and a worker is alive, else 503 with what is missing."""
    found = {name: check() for name, check in CHECKS.items()}
    is_ready = all(answer == "ok" for answer in found.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "not ready", "checks": found}, status=200 if is_ready else 503
    )


@require_safe
def prometheus(request: HttpRequest) -> HttpResponse:
    page, content_type = metrics.exported()
    return HttpResponse(page, content_type=content_type)
