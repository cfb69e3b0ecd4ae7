"""What a receiver may do instead of a plain yes, on command or by a seeded plan."""

import random
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.monitoring.receiver import Behaviour, answer, break_off, hang

WEBHOOK, PAGERDUTY, SLACK = "webhook", "pagerduty", "slack"
ALL = frozenset({WEBHOOK, PAGERDUTY, SLACK})
LARGE = 5_000_000


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """A good answer for webhooks, one byte after the other for two seconds; others have not taken it."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
    for _ in range(20):
        handler.wfile.write(b".")
        time.sleep(0.1)


def redirect(handler: BaseHTTPRequestHandler) -> None:
    answer(307, b"", Location=f"http://127.0.0.1:{handler.connection.getsockname()[1]}/trap")(handler)


@dataclass(frozen=True)
class Misdeed:
    """One way to misbehave. takes: which receivers have processed the message all the same."""

    behave: Behaviour
    takes: frozenset[str] = frozenset()


EVERYWHERE = {
    "cut": Misdeed(break_off, ALL),
    "hang": Misdeed(hang, ALL),
    "429": Misdeed(answer(429, b"slow down", Retry_After="2")),
    # A webhook's receiver has said yes with 2xx, whatever the body; the others say it in the body, or with 202.
    "200 with an error": Misdeed(answer(200, b'{"error":"nothing is well"}'), frozenset({WEBHOOK})),
    "redirect": Misdeed(redirect),
    "500": Misdeed(answer(500, b"oops")),
}
"""What each receiver does for certain, the most telling first."""

MISDEEDS = EVERYWHERE | {
    "500 although it was taken": Misdeed(answer(500, b"oops"), frozenset({WEBHOOK, PAGERDUTY})),
    "503 without a word": Misdeed(answer(503)),
    "200 with 5 MB": Misdeed(answer(200, b"x" * LARGE), frozenset({WEBHOOK})),
    "slow bytes": Misdeed(slowly, frozenset({WEBHOOK})),
}


@dataclass
class Whims:
    """A seeded plan: so many of a hundred calls meet a misdeed, of which so many at most hang."""

    seed: int
    share: float = 0.25
    hang_count: int = 3
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next(self) -> str | None:
        if self._random.random() >= self.share:
            return None
        name = self._random.choice(list(MISDEEDS))
        if name != "hang":
            return name
        self.hang_count -= 1
        return name if self.hang_count >= 0 else None
