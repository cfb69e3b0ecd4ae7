"""Live traffic: patients ask, models answer, a judge and some patients say what they think of it.

What is to be told to TriageOps waits in a queue until it is acknowledged, as in any client that must lose nothing. The
patients do not wait: while nobody can say which variant a new one gets, the service answers with its default model.
"""

import heapq
import itertools
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from demo import history, service
from demo.client import Client, Refused, Unanswered
from demo.screen import Screen
from demo.service import Arm

NEW_PATIENT_SHARE = 0.05
BROWSER_SHARE = 0.5
_SENDING_THREADS = 3
_ASSIGN_SECONDS = 2.0
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
# After a standstill (a laptop that slept) the time that was missed is not made up for.
_LONGEST_DELAY_SECONDS = 2.0


@dataclass(order=True, frozen=True)
class Fact:
    """One call to be made when it is due. via_browser: with a feedback token instead of the API key."""

    due_at: float
    number: int
    path: str = field(compare=False)
    body: dict[str, Any] = field(compare=False)
    via_browser: bool = field(compare=False, default=False)


class Traffic:
    """Makes cases as time goes by; `is_worse` is what the story changes."""

    def __init__(self, client: Client, screen: Screen, arms: dict[str, Arm]) -> None:
        self.is_worse = False
        self.is_in_experiment = True
        self.answer_count: Counter[str] = Counter()
        self._client, self._screen, self._arms = client, screen, arms
        self._random = Random()
        # No two runs of the demo may use the same ids.
        self._run = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        self._numbers = itertools.count(1)
        self._later: list[Fact] = []
        self._queue: queue.SimpleQueue[Fact] = queue.SimpleQueue()
        self._next_at = time.monotonic()
        self._ask_again_at = 0.0
        self._refusals: set[str] = set()

    def start(self) -> None:
        for _ in range(_SENDING_THREADS):
            threading.Thread(target=self._send, daemon=True).start()

    @property
    def waiting_count(self) -> int:
        return self._queue.qsize()

    def run_until(self, deadline: float) -> None:
        """Let patients ask until time.monotonic() reaches the deadline."""
        while (now := time.monotonic()) < deadline:
            if now >= self._next_at:
                self._visit(now)
                self._next_at += self._random.expovariate(history.LIVE_ANSWERS_PER_SECOND)
                if now - self._next_at > _LONGEST_DELAY_SECONDS:
                    self._next_at = now
            while self._later and self._later[0].due_at <= now:
                self._queue.put(heapq.heappop(self._later))
            due = self._later[0].due_at if self._later else deadline
            time.sleep(max(0.0, min(self._next_at, due, deadline) - time.monotonic()))

    def _visit(self, now: float) -> None:
        is_new = self._random.random() < NEW_PATIENT_SHARE
        number = next(self._numbers)
        unit = (
            f"new-{self._run}-{number}"
            if is_new
            else service.patient(self._random.randrange(history.PATIENTS))
        )
        arm = self._arm(unit, now)
        found = service.case(
            f"live-{self._run}-{number:06d}", at=datetime.now(UTC), unit=unit, arm=arm, is_worse=self.is_worse
        )
        self.answer_count[arm.model] += 1
        self._plan(now, "/responses", found.response)
        for record in found.quality:
            self._plan(now + self._random.uniform(0.5, 3.0), "/quality", record)
        for feedback in found.feedback:
            via_browser = self._random.random() < BROWSER_SHARE
            self._plan(now + self._random.uniform(5.0, 45.0), "/feedback", feedback, via_browser=via_browser)

    def _arm(self, unit: str, now: float) -> Arm:
        """Asked each time, as a client without memory would; what was said last holds while nobody answers."""
        if now >= self._ask_again_at:
            try:
                path = f"/experiments/{service.EXPERIMENT}/assign"
                decision = self._client.once("POST", path, {"unit": unit}, seconds=_ASSIGN_SECONDS)
            except Unanswered:
                self._ask_again_at = now + _PAUSE_AFTER_FAILURE_SECONDS
            else:
                self.is_in_experiment = decision["in_experiment"]
                self._arms[unit] = Arm.of(decision)
        return self._arms.get(unit, Arm(service.CONTROL, None))

    def _plan(self, due_at: float, path: str, body: dict[str, Any], *, via_browser: bool = False) -> None:
        heapq.heappush(self._later, Fact(due_at, next(self._numbers), path, body, via_browser))

    def _send(self) -> None:
        while True:
            fact = self._queue.get()
            try:
                self._tell(fact)
            except Refused as refused:
                if str(refused) not in self._refusals:
                    self._refusals.add(str(refused))
                    self._screen.say(f"{fact.path} was refused: {refused}")

    def _tell(self, fact: Fact) -> None:
        body = dict(fact.body)
        if fact.path == "/feedback":
            body["occurred_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        if not fact.via_browser:
            self._client.call("POST", fact.path, body)
            return
        # The page that shows the answer brings the token along; whoever posts with it needs to say no user.
        wanted = {"response_id": body["response_id"], "user_id": body.pop("user_id")}
        granted = self._client.call("POST", "/feedback/token", wanted)
        self._client.call("POST", fact.path, body, token=granted["token"])
