import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from celery import Celery
from django.test import Client

from triageops.observability import logging as json_logging
from triageops.observability import tasks


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged so far, each line decoded."""
    json_logging.configure("DEBUG")
    (handler,) = (one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler)
    written = io.StringIO()
    former = handler.setStream(written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    handler.setStream(former)
    json_logging.configure("INFO")
    structlog.contextvars.clear_contextvars()


def test_line_of_ours_is_one_json_object_with_service_time_and_context(lines: Any) -> None:
    structlog.contextvars.bind_contextvars(request_id="q-1")
    structlog.get_logger("app").info("incident.opened", incident_id=7)
    (line,) = lines()
    assert line["message"] == "incident.opened"
    assert (line["level"], line["logger"], line["service"]) == ("info", "app", "llm-triage")
    assert (line["request_id"], line["incident_id"]) == ("q-1", 7)
    assert line["timestamp"].endswith("Z")


def test_line_of_a_library_has_the_same_shape_and_its_traceback_stays_on_one_line(lines: Any) -> None:
    error = ValueError("odd\nthing")
    logging.getLogger("library").error("it broke", exc_info=error)
    (line,) = lines()
    assert (line["level"], line["logger"], line["message"]) == ("error", "library", "it broke")
    assert "ValueError: odd" in line["exception"]


def test_level_is_kept(lines: Any) -> None:
    json_logging.configure("WARNING")
    structlog.get_logger("app").info("quiet.event")
    assert lines() == []


@pytest.mark.django_db
def test_request_id_of_the_caller_is_logged_and_answered(lines: Any) -> None:
    answer = Client().get("/health", headers={"X-Request-ID": "caller-7"})
    assert answer["X-Request-ID"] == "caller-7"
    (line,) = [line for line in lines() if line["message"] == "request.finished"]
    assert (line["request_id"], line["route"], line["status"]) == ("caller-7", "health", 200)


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["", "two words", "x" * 200, "a\nb"])
def test_request_id_that_is_no_plain_word_is_replaced(given: str) -> None:
    answer = Client().get("/health", headers={"X-Request-ID": given})
    assert answer["X-Request-ID"] != given
    assert len(answer["X-Request-ID"]) == 36


def test_task_logs_the_request_id_of_the_request_that_sent_it(lines: Any) -> None:
    app = Celery("test")

    @app.task
    def work() -> None: ...

    structlog.contextvars.bind_contextvars(request_id="q-2")
    headers: dict[str, Any] = {}
    tasks.send_request_id(headers=headers)
    structlog.contextvars.clear_contextvars()
    work.push_request(request_id=headers["request_id"])
    tasks.begin(task_id="t-1", task=work)
    structlog.get_logger("worker").info("delivery.sent")
    line = lines()[-1]
    assert (line["request_id"], line["task_id"]) == ("q-2", "t-1")
