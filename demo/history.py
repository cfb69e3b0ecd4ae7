"""Two weeks of answers, sent through the bulk addresses as somebody would who moves to TriageOps.

A pilot of about 1 000 answers a day; two hours before the end the service is opened to everybody. The experiment's
start, as the API tells it, is where the history begins; ids and contents follow from it. So an interrupted start goes on
where it was, and a later one finds everything there.
"""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from demo import service
from demo.client import Client
from demo.screen import Screen
from demo.service import Arm, Case

LENGTH = timedelta(days=14)
PATIENTS = 1_500
A_DAY = 1_000
LIVE_ANSWERS_PER_SECOND = 6.0
OPENING = timedelta(hours=2)
OPENING_PARTS = 12
OPENING_PER_SECOND = 0.4
"""Answers from the first moment on; the growth to the live rate comes on top, with the fourth power of time."""

_GROWTH = 5
"""The integral of a fourth power."""

_ASSIGNING_THREADS = 4
_COUNTING_WAIT_SECONDS = 0.5


class Rejected(Exception):
    """The API takes the call and refuses items that the demo believes to be good."""


@dataclass(frozen=True)
class Stretch:
    """A part that goes over in one go: ids are its key with a number, `visits` when each patient asked."""

    key: str
    visits: tuple[tuple[datetime, str], ...]

    def cases(self, arms: dict[str, Arm]) -> Iterator[Case]:
        for number, (at, unit) in enumerate(self.visits):
            yield service.case(f"{self.key}-{number:04d}", at=at, unit=unit, arm=arms[unit])

    @property
    def units(self) -> set[str]:
        return {unit for _, unit in self.visits}

    @property
    def last_judged(self) -> str:
        """The last answer that a judge saw; its quality record is the last thing to be sent."""
        for number, (at, unit) in reversed(list(enumerate(self.visits))):
            found = service.case(f"{self.key}-{number:04d}", at=at, unit=unit, arm=Arm(service.CONTROL, None))
            if found.quality:
                return str(found.response["response_id"])
        raise AssertionError("some answer of a stretch always succeeds")


def stretches(began_at: datetime) -> list[Stretch]:
    """The whole history, oldest first."""
    days = [_day(number, began_at + timedelta(days=number)) for number in range(LENGTH.days)]
    opened_at = began_at + LENGTH - OPENING
    return days + [_part(number, opened_at) for number in range(OPENING_PARTS)]


def _day(number: int, start: datetime) -> Stretch:
    """More by day than by night, fewer at weekends."""
    key = f"day-{number + 1:02d}"
    random = Random(key)
    hours = [start + timedelta(hours=hour) for hour in range(24)]
    weights = [1 + 0.8 * math.sin((at.hour - 9) / 12 * math.pi) for at in hours]
    count = round(random.gauss(A_DAY, A_DAY / 30) * (0.8 if start.weekday() >= 5 else 1.05))
    chosen = random.choices(hours, weights, k=count)
    return _visits(key, random, [at + timedelta(hours=random.random()) for at in chosen])


def _part(number: int, opened_at: datetime) -> Stretch:
    key = f"opening-{number + 1:02d}"
    random = Random(key)
    low, high = number / OPENING_PARTS, (number + 1) / OPENING_PARTS
    seconds, grown = OPENING.total_seconds(), (low**_GROWTH, high**_GROWTH)
    steady_count = seconds * OPENING_PER_SECOND * (high - low)
    grown_count = seconds * (LIVE_ANSWERS_PER_SECOND - OPENING_PER_SECOND) / _GROWTH * (grown[1] - grown[0])
    shares = [random.uniform(low, high) for _ in range(round(steady_count))]
    shares += [random.uniform(*grown) ** (1 / _GROWTH) for _ in range(round(grown_count))]
    return _visits(key, random, [opened_at + OPENING * share for share in shares])


def _visits(key: str, random: Random, times: list[datetime]) -> Stretch:
    return Stretch(key, tuple((at, service.patient(random.randrange(PATIENTS))) for at in sorted(times)))


def send(client: Client, screen: Screen, arms: dict[str, Arm], began_at: datetime) -> int:
    """Send what the product does not have yet; the number of answers sent. Fills `arms`. Raises Rejected."""
    whole = stretches(began_at)
    if _is_there(client, whole[-1]):
        return 0
    missing = [stretch for stretch in whole if not _is_there(client, stretch)]
    _assign(client, screen, arms, sorted(set().union(*(stretch.units for stretch in missing))))
    total = sum(len(stretch.visits) for stretch in missing)
    done = 0
    for stretch in missing:
        screen.progress("two weeks of answers", done, total)
        cases = list(stretch.cases(arms))
        _post(client, "/responses/bulk", [case.response for case in cases])
        _post(client, "/feedback/bulk", [one for case in cases for one in case.feedback])
        _post(client, "/quality/bulk", [one for case in cases for one in case.quality])
        done += len(cases)
    screen.progress("two weeks of answers", total, total)
    return total


def wait_until_counted(client: Client, screen: Screen, began_at: datetime) -> None:
    """Return when the rollups, and with them every statistic, have the whole history in them."""
    total = sum(len(stretch.visits) for stretch in stretches(began_at))
    days = (datetime.now(UTC) - began_at).days + 1
    counted = -1
    while counted < total:
        if counted >= 0:
            time.sleep(_COUNTING_WAIT_SECONDS)
        # Every response has the metric "error", 0 or 1.
        found = client.call("GET", f"/quality/stats?window={days}d&metric=error")
        counted = sum(line["n"] for line in found["results"])
        screen.progress("counted in the statistics", min(counted, total), total)


def _is_there(client: Client, stretch: Stretch) -> bool:
    if not stretch.visits:
        return True
    return bool(client.call("GET", f"/quality?response_id={stretch.last_judged}&page_size=1")["results"])


def _assign(client: Client, screen: Screen, arms: dict[str, Arm], units: list[str]) -> None:
    with ThreadPoolExecutor(_ASSIGNING_THREADS) as pool:
        decisions = pool.map(lambda unit: decide(client, unit), units)
        for number, (unit, arm) in enumerate(zip(units, decisions, strict=True), start=1):
            arms[unit] = arm
            screen.progress("patients given a variant", number, len(units))


def decide(client: Client, unit: str) -> Arm:
    return Arm.of(client.call("POST", f"/experiments/{service.EXPERIMENT}/assign", {"unit": unit}))


def _post(client: Client, path: str, items: list[dict[str, Any]]) -> None:
    if not items:
        return
    receipt = client.call("POST", path, items)
    problems = [line["problem"] for line in receipt["results"] if line["status"] == "rejected"]
    # A conflict: an earlier version of the demo told this answer differently, and facts do not change.
    problems = [problem for problem in problems if not problem["type"].endswith("/conflict")]
    if problems:
        raise Rejected(f"{path} refuses {len(problems)} of {len(items)}: {problems[0]['detail']}")
