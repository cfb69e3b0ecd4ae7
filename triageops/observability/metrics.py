"""Prometheus metrics that belong to no app, and the page that exports all of them.

Counters and histograms are added up over processes (PROMETHEUS_MULTIPROC_DIR). What PostgreSQL knows better than any
process - open incidents, lateness of jobs - is read from it at each scrape: a function marked `@read_at_scrape`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware, PrometheusBeforeMiddleware
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

TASKS = Counter("triageops_tasks_total", "Celery tasks finished.", ["task", "outcome"])
TASK_SECONDS = Histogram(
    "triageops_task_duration_seconds",
    "Duration of Celery tasks.",
    ["task"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)

_readers: list[Callable[[], Iterable[Metric]]] = []


def read_at_scrape(reader: Callable[[], Iterable[Metric]]) -> Callable[[], Iterable[Metric]]:
    """Mark a function whose metrics come from the database."""
    _readers.append(reader)
    return reader


class _Readers(Collector):
    def collect(self) -> Iterator[Metric]:
        for reader in _readers:
            yield from reader()


def exported() -> tuple[bytes, str]:
    """The metrics page and its content type."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_Readers())
    own = b"" if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else generate_latest(REGISTRY)
    return own + generate_latest(registry), CONTENT_TYPE_LATEST


class _Unused:
    """Stands for a metric of django-prometheus that nobody reads; each real one costs 10 µs in every request."""

    def labels(self, *_args: object, **_labels: object) -> "_Unused":
        return self

    def inc(self, _amount: float = 1) -> None: ...

    def observe(self, _amount: float) -> None: ...


_USED = {
    "django_http_requests_latency_seconds_by_view_method",
    "django_http_responses_total_by_status_view_method",
    "django_http_exceptions_total_by_view",
}


class RequestMetrics(Metrics):  # type: ignore[misc]
    """Duration, status and exceptions by view; the other metrics of django-prometheus say the same again."""

    def register_metric(self, metric_cls: type, name: str, *args: Any, **kwargs: Any) -> Any:
        return super().register_metric(metric_cls, name, *args, **kwargs) if name in _USED else _Unused()


class BeforeMiddleware(PrometheusBeforeMiddleware):  # type: ignore[misc]
    metrics_cls = RequestMetrics


class AfterMiddleware(PrometheusAfterMiddleware):  # type: ignore[misc]
    metrics_cls = RequestMetrics
