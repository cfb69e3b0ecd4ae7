"""Every task says where it runs and for how long, and what the schedule names exists."""

import importlib
import inspect
from typing import Any

import pytest

from tests.project.tree import PACKAGES, modules, relative
from triageops import up
from triageops.address import Address
from triageops.celery import app

for path in modules():
    if path.stem == "tasks":
        importlib.import_module(relative(path).removesuffix(".py").replace("/", "."))
TASKS = {name: task for name, task in app.tasks.items() if name.split(".")[0] in PACKAGES}


def queue_of(name: str) -> str:
    return str(app.amqp.router.route({}, name)["queue"].name)


def consumed_queues() -> set[str]:
    """What the worker of bin/up listens to."""
    address = Address("127.0.0.1", 8000)
    worker = next(program for program in up.programs({}, address, "") if program.name == "worker")
    return set(worker.command[list(worker.command).index("--queues") + 1].split(","))


def test_tasks_are_found() -> None:
    assert len(TASKS) >= 3


@pytest.mark.parametrize("name", TASKS)
def test_task_has_a_queue_that_is_consumed(name: str) -> None:
    assert queue_of(name) in consumed_queues()


@pytest.mark.parametrize("name", TASKS)
def test_task_is_routed_by_name(name: str) -> None:
    """Not by falling through to the default queue, where a slow neighbour may be ahead of it."""
    assert name in app.conf.task_routes


@pytest.mark.parametrize("name", TASKS)
def test_task_has_a_time_limit(name: str) -> None:
    assert TASKS[name].time_limit


@pytest.mark.parametrize("name", TASKS)
def test_task_takes_keywords_only(name: str) -> None:
    parameters: list[Any] = list(inspect.signature(TASKS[name].run).parameters.values())
    assert {parameter.kind for parameter in parameters} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("entry", app.conf.beat_schedule.values(), ids=app.conf.beat_schedule)
def test_schedule_names_a_task_and_its_queue(entry: dict[str, Any]) -> None:
    assert queue_of(entry["task"]) == entry["options"]["queue"]


@pytest.mark.parametrize("entry", app.conf.beat_schedule.values(), ids=app.conf.beat_schedule)
def test_schedule_drops_messages_that_the_next_one_replaces(entry: dict[str, Any]) -> None:
    assert entry["options"]["expires"] <= float(entry["schedule"])
