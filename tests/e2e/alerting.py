"""Channels, routes and incidents for tests against the running product."""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.e2e.misdeeds import PAGERDUTY, SLACK, WEBHOOK
from tests.e2e.product import Product
from tests.e2e.receivers import ROUTING_KEY, Receivers

LATER = float("inf")
"""A report that is over once everybody was told of it."""
CLIENTS = 8
_SET_UP = """
from monitoring.models import Channel, Route
root = Route.objects.create(name="all", group_wait_seconds=0)
for place, (channel, matchers, group_by) in enumerate(channels):
    route = Route.objects.create(
        parent=root, position=place, name=channel["name"], matchers=matchers, group_by=group_by,
        is_continuing=True, group_wait_seconds=1 if group_by else 0, group_interval_seconds=2,
    )
    route.channels.set([Channel.objects.create(**channel)])
"""


def set_up(product: Product, receivers: Receivers) -> None:
    """Everything goes to the webhook and, in groups by team, to Slack; what is critical also to PagerDuty."""
    channels = [
        (_channel(WEBHOOK, receivers, receivers.secret), [], None),
        (_channel(PAGERDUTY, receivers, ROUTING_KEY), ['severity="critical"'], None),
        (_channel(SLACK, receivers, ""), [], ["team"]),
    ]
    product.manage("shell", "-v", "0", "-c", f"channels = {channels!r}\n{_SET_UP}")


def _channel(name: str, receivers: Receivers, secret: str) -> dict[str, str]:
    return {"name": name, "kind": name, "url": receivers.url(name), "secret": secret}


@dataclass(frozen=True)
class Report:
    """One incident that is opened, and later over: times in seconds after the start."""

    number: int
    opens_at: float
    over_at: float
    is_critical: bool = False
    is_by_webhook: bool = False

    @property
    def key(self) -> str:
        return f"disk {self.number}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "alertname": f"disk {self.number}",
            "team": f"team-{self.number % 5}",
            "severity": "critical" if self.is_critical else "warning",
        }


@dataclass
class Reporters:
    """Clients that report on time, each its own incidents, and never give up."""

    product: Product
    reports: list[Report]
    began_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def run(self) -> None:
        """Those that are over LATER stay open."""
        moments = [(report.opens_at, 0, report) for report in self.reports]
        self._all(
            moments + [(report.over_at, 1, report) for report in self.reports if report.over_at < LATER]
        )

    def end(self, seconds: float) -> None:
        """Those that are still open, within so many seconds."""
        late = [report for report in self.reports if report.over_at == LATER]
        self._all([(seconds * number / len(late), 1, report) for number, report in enumerate(late)])

    def _all(self, moments: list[tuple[float, int, Report]]) -> None:
        """What is said of one incident is said by one client, in order."""
        start = time.monotonic()
        shares: list[list[tuple[float, int, Report]]] = [[] for _ in range(CLIENTS)]
        for moment in moments:
            shares[moment[2].number % CLIENTS].append(moment)
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(self._client, share, start) for share in shares]:
                done.result()

    def _client(self, moments: list[tuple[float, int, Report]], start: float) -> None:
        for at, is_over, report in sorted(moments, key=lambda moment: moment[:2]):
            time.sleep(max(0.0, start + at - time.monotonic()))
            path, body = self._call(report, is_over=bool(is_over))
            self.product.insist("POST", path, body)

    def _call(self, report: Report, *, is_over: bool) -> tuple[str, Any]:
        if report.is_by_webhook:
            return "/api/v1/hooks/alertmanager", self._payload(report, is_over=is_over)
        if is_over:
            return f"/api/v1/incidents/by-key/{report.key.replace(' ', '%20')}/resolve", None
        return "/api/v1/incidents", {
            "key": report.key,
            "title": f"{report.key} is full",
            "severity": report.labels["severity"],
            "labels": report.labels,
        }

    def _payload(self, report: Report, *, is_over: bool) -> dict[str, Any]:
        status = "resolved" if is_over else "firing"
        alert = {
            "status": status,
            "labels": report.labels,
            "annotations": {"summary": f"{report.key} is full"},
            "startsAt": self.began_at,
            "endsAt": datetime.now(UTC).isoformat() if is_over else "0001-01-01T00:00:00Z",
        }
        return {"version": "4", "groupKey": "{}", "status": status, "receiver": "us", "alerts": [alert]}


class Killer(threading.Thread):
    """kill -9 of these processes at these seconds; one that is down already is waited for."""

    def __init__(self, product: Product, schedule: list[tuple[float, tuple[str, ...]]]) -> None:
        super().__init__(daemon=True)
        self.killed: list[str] = []
        self._product, self._schedule = product, sorted(schedule)

    def run(self) -> None:
        start = time.monotonic()
        for at, words in self._schedule:
            time.sleep(max(0.0, start + at - time.monotonic()))
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with contextlib.suppress(AssertionError):
                    self._product.kill(*words)
                    self.killed.append(words[-1])
                    break
                time.sleep(0.1)


def said_by(product: Product, code: str) -> Any:
    """What this code leaves in `found`, run inside the product's installation."""
    text = f"import json\n{code}\nprint('FOUND' + json.dumps(found, default=str))"
    lines = product.manage("shell", "-v", "0", "-c", text).splitlines()
    return json.loads(next(line for line in lines if line.startswith("FOUND")).removeprefix("FOUND"))
