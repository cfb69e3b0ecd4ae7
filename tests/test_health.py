from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from triageops import health
from triageops.observability.tasks import WORKER_SEEN, mark_worker_seen

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget_worker() -> None:
    cache.delete(WORKER_SEEN)


@pytest.fixture(autouse=True)
def forget_migrations() -> None:
    health._is_migrated.clear()


def test_health_says_ok_whatever_the_database_does(monkeypatch: Any) -> None:
    monkeypatch.setattr("triageops.health.connection.cursor", _fail(DatabaseError))
    answer = Client().get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_needs_database_redis_migrations_and_a_worker() -> None:
    without = Client().get("/ready")
    assert without.status_code == 503
    assert without.json()["checks"] == {
        "database": "ok",
        "migrations": "ok",
        "redis": "ok",
        "worker": "none seen in the last minute",
    }
    mark_worker_seen()
    assert Client().get("/ready").status_code == 200


def test_ready_says_in_words_that_redis_or_the_database_is_away(monkeypatch: Any) -> None:
    monkeypatch.setattr("triageops.health.cache.get", _fail(redis.ConnectionError))
    assert "cannot be reached" in Client().get("/ready").json()["checks"]["redis"]
    monkeypatch.setattr("triageops.health.connection", type("Away", (), {"cursor": _fail(DatabaseError)}))
    answer = Client().get("/ready")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.json()["checks"]["database"]


def test_ready_sees_migrations_that_wait(monkeypatch: Any) -> None:
    monkeypatch.setattr("triageops.health.MigrationExecutor.migration_plan", lambda *_: [("one", False)])
    assert Client().get("/ready").json()["checks"]["migrations"] == "1 to be applied"


def test_ready_after_all_migrations_were_seen_costs_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    assert Client().get("/ready").json()["checks"]["migrations"] == "ok"
    with django_assert_num_queries(1):
        assert Client().get("/ready").json()["checks"]["migrations"] == "ok"


def test_ready_looks_again_while_migrations_wait(monkeypatch: Any) -> None:
    with monkeypatch.context() as waiting:
        waiting.setattr("triageops.health.MigrationExecutor.migration_plan", lambda *_: [("one", False)])
        Client().get("/ready")
    assert Client().get("/ready").json()["checks"]["migrations"] == "ok"


def test_metrics_page_has_counters_and_what_is_read_at_the_scrape() -> None:
    page = Client().get("/metrics")
    assert page["Content-Type"].startswith("text/plain")
    text = page.content.decode()
    assert "triageops_rollup_age_seconds" in text
    assert "django_http_requests_latency_seconds_by_view_method" in text
    assert "django_http_requests_body_total_bytes" not in text


def _fail(error: type[Exception]) -> Any:
    def raise_it(*_: Any, **__: Any) -> Any:
        raise error

    return raise_it
