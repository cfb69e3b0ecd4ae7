import io
from datetime import UTC, datetime
from typing import Any

import pytest

from demo import story as module
from demo.client import Unanswered
from demo.screen import Screen
from demo.story import Places, Story

AN_INCIDENT = {"id": "01a2", "title": "helpfulness is below 0.75 for variant llama2-70b", "state": "firing"}


class Clock:
    """Stands for the module time in the story."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Traffic:
    def __init__(self) -> None:
        self.is_worse = False
        self.is_in_experiment = True
        self.answer_count: dict[str, int] = {"gpt-4": 5, "claude-2": 3, "llama2-70b": 2}
        self.waiting_count = 0


class Api:
    def __init__(self) -> None:
        self.open: list[dict[str, Any]] = []
        self.is_there = True

    def once(self, method: str, path: str) -> dict[str, Any]:
        if not self.is_there:
            raise Unanswered
        assert (method, path) == ("GET", "/incidents?state=open&monitor=7")
        return {"results": self.open}


class World:
    def __init__(self, monkeypatch: Any) -> None:
        self.clock, self.traffic, self.api, self.said = Clock(), Traffic(), Api(), io.StringIO()
        monkeypatch.setattr(module, "time", self.clock)
        places = Places("http://127.0.0.1:8000", 3, 7)
        self.story = Story(self.api, Screen(self.said), self.traffic, places)  # type: ignore[arg-type]

    def run(self, seconds: float) -> str:
        """What is said in the next seconds."""
        before = len(self.said.getvalue())
        for _ in range(round(seconds)):
            self.clock.now += 1
            self.story.tick()
        return self.said.getvalue()[before:]

    def open_incident(self) -> None:
        at = datetime.fromtimestamp(self.clock.now, UTC).isoformat()
        self.api.open = [AN_INCIDENT | {"opened_at": at}]


@pytest.fixture
def world(monkeypatch: Any) -> World:
    return World(monkeypatch)


def test_story_gets_worse_after_two_minutes_and_not_before(world: World) -> None:
    world.story.begin()
    assert "In 2 min llama2-70b gets worse. Watch http://127.0.0.1:8000/admin/" in world.said.getvalue()
    assert "gets worse in 1 min" in world.run(119)
    assert not world.traffic.is_worse
    assert "gets worse now" in world.run(2)
    assert world.traffic.is_worse


def test_story_tells_incident_alert_and_advice_in_this_order(world: World) -> None:
    world.story.begin()
    world.run(121)
    world.run(112)
    world.open_incident()
    message = {"type": "incident.opened", "data": {"title": "x", "effect_text": "0.59 against 0.75"}}
    world.story.inbox.put(message)
    said = world.run(1)
    opened, advice, alert = (
        said.index(text)
        for text in ("Incident opened 1 min 53 s after the change", "acknowledge it", "The alert has arrived")
    )
    assert opened < alert < advice
    assert "/admin/monitoring/incident/01a2/change/" in said
    assert "0.59 against 0.75" in said


def test_story_repairs_the_model_and_ends_when_the_incident_does(world: World) -> None:
    world.story.begin()
    world.run(130)
    world.open_incident()
    world.run(10)
    assert world.traffic.is_worse
    assert "is repaired" in world.run(600)
    assert not world.traffic.is_worse
    world.api.open = []
    assert "the traffic goes on" in world.run(6)


def test_story_begins_anew_when_the_incident_of_an_earlier_run_is_over(world: World) -> None:
    world.open_incident()
    world.story.begin()
    assert "earlier run" in world.said.getvalue()
    world.run(300)
    assert not world.traffic.is_worse
    world.api.open = []
    assert "In 2 min llama2-70b gets worse" in world.run(6)
    world.run(125)
    assert world.traffic.is_worse


def test_story_says_once_that_nothing_was_found(world: World) -> None:
    world.story.begin()
    said = world.run(121 + 481 + 600)
    assert said.count("Is its monitor active?") == 1


def test_story_never_says_a_status_line_more_often_than_every_fifteen_seconds(world: World) -> None:
    world.story.begin()
    assert world.run(600).count("live answers") <= 600 / 15


def test_story_goes_on_while_nobody_answers_and_with_a_stopped_experiment(world: World) -> None:
    world.story.begin()
    world.api.is_there = False
    world.traffic.is_in_experiment = False
    said = world.run(300)
    assert said.count("The experiment was stopped") == 1
    assert not world.traffic.is_worse
