import io
import random
import threading
import time
from typing import Any

import pytest

from demo import history, service
from demo.client import Refused, Unanswered
from demo.screen import Screen
from demo.service import Arm
from demo.traffic import Traffic

DECISION = {"variant": "claude-2", "config": {"model": "claude-2"}, "in_experiment": True}


class Api:
    """Takes everything, and knows the variant of everybody unless it is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.decision: dict[str, Any] = DECISION
        self.asked: list[str] = []
        self.told: list[tuple[str, dict[str, Any], str | None]] = []
        self.lock = threading.Lock()

    def once(self, method: str, path: str, body: dict[str, Any], *, seconds: float) -> dict[str, Any]:
        if self.is_away:
            raise Unanswered
        assert (method, path) == ("POST", f"/experiments/{service.EXPERIMENT}/assign")
        self.asked.append(body["unit"])
        return self.decision

    def call(self, method: str, path: str, body: dict[str, Any], *, token: str | None = None) -> Any:
        with self.lock:
            self.told.append((path, body, token))
        return {"token": "fbt_x"}

    def facts(self, path: str) -> list[dict[str, Any]]:
        with self.lock:
            return [body for where, body, _ in self.told if where == path]


@pytest.fixture
def api(monkeypatch: Any) -> Api:
    monkeypatch.setattr(history, "LIVE_ANSWERS_PER_SECOND", 400.0)
    # What is said of an answer comes at once.
    monkeypatch.setattr(random.Random, "uniform", lambda *_: 0.0)
    return Api()


def run(api: Api, arms: dict[str, Arm] | None = None, output: io.StringIO | None = None) -> Traffic:
    found = Traffic(api, Screen(output or io.StringIO()), arms or {})  # type: ignore[arg-type]
    found.start()
    found.run_until(time.monotonic() + 0.5)
    deadline = time.monotonic() + 5
    while found.waiting_count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    return found


def test_traffic_asks_for_each_answer_and_tells_each_once(api: Api) -> None:
    found = run(api)
    ids = [body["response_id"] for body in api.facts("/responses")]
    assert len(ids) == len(set(ids)) == len(api.asked) == found.answer_count["claude-2"] > 20
    assert {body["variant"] for body in api.facts("/responses")} == {"claude-2"}


def test_traffic_in_the_browser_posts_with_a_token_and_names_no_user(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "FEEDBACK_SHARE", 1.0)
    run(api)
    tokens = {body["response_id"]: body["user_id"] for body in api.facts("/feedback/token")}
    by_browser = [body for path, body, token in api.told if path == "/feedback" and token == "fbt_x"]
    by_server = [body for path, body, token in api.told if path == "/feedback" and token is None]
    assert len(by_browser) == len(tokens) > 5
    assert all(tokens[body["response_id"]] and "user_id" not in body for body in by_browser)
    assert by_server
    assert all(body["user_id"] for body in by_server)


def test_traffic_goes_on_with_what_it_knows_while_nobody_answers(api: Api) -> None:
    api.is_away = True
    known = {service.patient(number): Arm("llama2-70b", "llama2-70b") for number in range(1_500)}
    found = run(api, arms=known)
    assert found.answer_count["llama2-70b"] > 0.8 * sum(found.answer_count.values())
    # A new patient gets the default model, and is not part of the experiment.
    assert all("variant" not in body for body in api.facts("/responses") if body["model"] == "gpt-4")


def test_traffic_notices_that_the_experiment_was_stopped(api: Api) -> None:
    api.decision = {"variant": "gpt-4", "config": {"model": "gpt-4"}, "in_experiment": False}
    assert not run(api).is_in_experiment
    assert all("experiment" not in body for body in api.facts("/responses"))


def test_traffic_says_once_why_facts_are_refused(api: Api, monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise Refused(403, {"detail": "This key lacks a scope."})

    monkeypatch.setattr(api, "call", refuse)
    output = io.StringIO()
    run(api, output=output)
    assert output.getvalue().count("lacks a scope") == 1
