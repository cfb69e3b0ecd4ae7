"""Who is told of what: channels, routes, a silence and a maintenance window, made over REST as any client may.

Also what comes from elsewhere: a made-up Alertmanager that repeats what fires, and probes that a team judges.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.client import Client, Refused, Unanswered
from demo.screen import Screen

ON_CALL, TEAM, INBOX = "Receiver of the demo", "Team chat", "Inbox"
TEMPLATE = "Short words for the team"
"""Made by manage.py demo_setup: REST knows templates by name only."""

ROUTES: tuple[dict[str, Any], ...] = (
    {
        "name": "Everything",
        "channels": [TEAM, INBOX],
        "group_by": ["alertname"],
        "group_wait_seconds": 5,
        "group_interval_seconds": 60,
    },
    {
        "name": "Critical: on call",
        "matchers": ['severity="critical"'],
        "channels": [ON_CALL, INBOX],
        "group_wait_seconds": 0,
        "repeat_interval_seconds": 1_800,
        "steps": [{"after_seconds": 300, "channels": [TEAM]}],
    },
    {"name": "For information: once a day", "matchers": ['severity="info"'], "channels": [TEAM], "digest": "daily"},
)  # fmt: skip
SILENCE = {
    "matchers": 'alertname="NightlyExportLate"',
    "seconds": 2 * 3_600,
    "comment": "The export is being moved to another host.",
}
WINDOW = {
    "name": "Restart of the gateway",
    "matchers": 'service="gateway"',
    "repeats": "weekly",
    "weekdays": "sun",
    "start": "03:00",
    "duration_seconds": 3_600,
    "comment": "Requests queue for some minutes.",
}
ALERTS = (
    ("GatewayQueueLong", "warning", "billing", "Requests wait for longer than 2 s in the gateway's queue"),
    ("NightlyExportLate", "warning", "export", "The nightly export has not come"),
    ("DiskGrows", "info", "storage", "The disk of the archive is full in about 20 days"),
)
REPEAT_SECONDS = 60.0
PROBES = 7
USEFUL_PROBE = 1
JUDGED_AFTER_SECONDS = 45.0


class Alerting:
    """Made at the start; `tick` plays the other systems' part."""

    def __init__(self, client: Client, screen: Screen) -> None:
        self._client, self._screen = client, screen
        self._began_at = datetime.now(UTC) - timedelta(minutes=4)
        self._repeat_at = 0.0
        self._judge_at: float | None = None

    def make(self, team_url: str) -> None:
        """Each start of the demo listens on ports of its own; all else is made where it is missing."""
        self._make_channels(team_url)
        is_new = self._make_routes()
        if not any(row["comment"] == SILENCE["comment"] for row in self._all("/silences?state=active")):
            self._client.call("POST", "/silences", SILENCE)
        if WINDOW["name"] not in {row["name"] for row in self._all("/maintenance-windows")}:
            self._client.call("POST", "/maintenance-windows", WINDOW)
        if is_new:
            self._report_probes()
            self._judge_at = time.monotonic() + JUDGED_AFTER_SECONDS
        self._screen.say(
            "Critical incidents go on call and escalate, others to the team's chat, infos into a digest."
        )

    def tick(self) -> None:
        now = time.monotonic()
        if now >= self._repeat_at:
            self._repeat_at = now + REPEAT_SECONDS
            self._send_alerts()
        if self._judge_at is not None and now >= self._judge_at:
            self._judge_at = None
            self._judge_probes()

    def _make_channels(self, team_url: str) -> None:
        known = {row["name"]: row["id"] for row in self._all("/channels")}
        if TEAM in known:
            self._client.call("PATCH", f"/channels/{known[TEAM]}", {"url": team_url})
        else:
            team = {"name": TEAM, "kind": "slack", "url": team_url, "template": TEMPLATE}
            self._client.call("POST", "/channels", {**team, "takes_experiments": False})
        if INBOX not in known:
            self._client.call("POST", "/channels", {"name": INBOX, "kind": "inbox"})

    def _make_routes(self) -> bool:
        """Whether they are new. The first one is the root, and the others hang below it."""
        if self._all("/routes"):
            return False
        for route in ROUTES:
            self._client.call("POST", "/routes", route)
        return True

    def _send_alerts(self) -> None:
        """As an Alertmanager does: what fires is said again and again, or it would be taken to be over."""
        alerts = [
            {
                "status": "firing",
                "labels": {"alertname": name, "severity": severity, "service": service},
                "annotations": {"summary": summary},
                "startsAt": self._began_at.isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
            }
            for name, severity, service, summary in ALERTS
        ]
        body = {"version": "4", "status": "firing", "receiver": "triageops", "alerts": alerts}
        try:
            self._client.once("POST", "/hooks/alertmanager", body)
        except (Unanswered, Refused):
            self._repeat_at = time.monotonic() + REPEAT_SECONDS / 4

    def _report_probes(self) -> None:
        for number in range(PROBES):
            body = {
                "key": f"probe-{number}",
                "title": f"Probe {number + 1} was slow twice in a row",
                "severity": "warning",
                "labels": {"alertname": "ProbeSlow", "probe": str(number + 1)},
            }
            self._client.call("POST", "/incidents", body)

    def _judge_probes(self) -> None:
        """One of them led to something: so noisy an alert is pointed out."""
        open_ones = [row for row in self._all("/incidents?state=open") if row["title"].startswith("Probe ")]
        for number, row in enumerate(sorted(open_ones, key=lambda row: str(row["title"]))):
            is_useful = number == USEFUL_PROBE
            verdicts = (
                ("judge", {"usefulness": "useful" if is_useful else "noise"}),
                ("resolve", {"resolution": "fixed" if is_useful else "false_positive"}),
            )
            for what, body in verdicts:
                try:
                    self._client.call("POST", f"/incidents/{row['id']}/{what}", body)
                except Refused:
                    # The visitor was faster.
                    continue
        if open_ones:
            self._screen.say(
                f"The team judged {len(open_ones)} alerts of probes: one was useful, the others were noise."
            )

    def _all(self, path: str) -> list[dict[str, Any]]:
        joint = "&" if "?" in path else "?"
        found = self._client.call("GET", f"{path}{joint}page_size=100")
        rows: list[dict[str, Any]] = found["results"]
        return rows
