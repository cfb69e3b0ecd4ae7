"""The far side of alerts, as the real ones behave: three receivers behind one port that misbehave on command or by a plan.

What they take is written to a journal, one line each, with what the receiver itself knows to be a repeat.
"""

import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.e2e.misdeeds import MISDEEDS, PAGERDUTY, SLACK, WEBHOOK, Whims
from tests.monitoring.receiver import Behaviour, answer

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
PATHS = {"/webhook": WEBHOOK, "/v2/enqueue": PAGERDUTY, "/services/T0/B0/x": SLACK}
WELL = {
    WEBHOOK: answer(200, b""),
    PAGERDUTY: answer(202, b'{"status":"success","message":"Event processed"}'),
    SLACK: answer(200, b"ok"),
}
_ACTIONS = {
    "incident.opened": "trigger",
    "incident.acknowledged": "acknowledge",
    "incident.resolved": "resolve",
    "incident.reminder": "reminder",
}


@dataclass(frozen=True)
class Taken:
    """A line of the journal. incident: empty for Slack, which knows none; there `text` and `note` are what people read."""

    receiver: str
    message: str
    action: str = ""
    incident: str = ""
    is_repeat: bool = False
    text: str = ""
    note: str = ""
    body: dict[str, Any] = field(default_factory=dict)


@dataclass
class Receivers:
    """secret: of the webhook. script: what the next calls meet, None for a good answer; after that what `whims` say."""

    journal: Path
    secret: str
    port: int = 0
    script: dict[str, deque[str | None]] = field(default_factory=dict)
    whims: dict[str, Whims] = field(default_factory=dict)
    met: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in WELL})
    refused: list[str] = field(default_factory=list)
    trap_count: int = 0
    call_times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WELL})
    released: threading.Event = field(default_factory=threading.Event)
    _known: set[tuple[str, ...]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: "_Server | None" = None

    def url(self, receiver: str) -> str:
        path = next(path for path, name in PATHS.items() if name == receiver)
        return f"http://127.0.0.1:{self.port}{path}"

    def taken(self) -> list[Taken]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [Taken(**json.loads(line)) for line in lines]

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self.port = self._server.server_address[1]
        self._server.receiver = self
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens: connections are refused."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def meet(self, path: str, headers: dict[str, str], body: bytes) -> Behaviour:
        """Take the message or not, and say how to answer."""
        receiver = PATHS.get(path)
        if receiver is None:
            self.trap_count += 1
            return answer(200, b"ok")
        with self._lock:
            self.call_times[receiver].append(time.monotonic())
            name = self._next(receiver)
            self.met[receiver][name or "well"] += 1
            if name is not None and receiver not in MISDEEDS[name].takes:
                return MISDEEDS[name].behave
            try:
                found = _READERS[receiver](self, headers, body)
            except (ValueError, KeyError, WebhookVerificationError) as error:
                self.refused.append(f"{receiver}: {error!r}")
                return answer(400, json.dumps({"status": "invalid event", "errors": [str(error)]}).encode())
            with self.journal.open("a") as lines:
                lines.write(json.dumps(asdict(found)) + "\n")
        return WELL[receiver] if name is None else MISDEEDS[name].behave

    def is_known(self, *key: str) -> bool:
        if key in self._known:
            return True
        self._known.add(key)
        return False

    def _next(self, receiver: str) -> str | None:
        script = self.script.get(receiver)
        if script:
            return script.popleft()
        whims = self.whims.get(receiver)
        return whims.next() if whims is not None else None


def _webhook(receivers: Receivers, headers: dict[str, str], body: bytes) -> Taken:
    """Verified with the standard's own package; the id says what is a repeat."""
    Webhook(receivers.secret).verify(body, headers)
    event = json.loads(body)
    if len(body) > 20_000:
        raise ValueError(f"the body has {len(body)} bytes")
    message = headers["webhook-id"]
    return Taken(
        WEBHOOK,
        message,
        _ACTIONS[event["type"]],
        event["data"]["incident_id"],
        receivers.is_known(WEBHOOK, message),
    )


def _pagerduty(receivers: Receivers, _headers: dict[str, str], body: bytes) -> Taken:
    """While an incident of a key is open a trigger adds to it; after its end the same key would open another one."""
    event = json.loads(body)
    if event["routing_key"] != ROUTING_KEY:
        raise ValueError("Length of 'routing_key' is incorrect (should be 32 characters)")
    action, key = event["event_action"], event["dedup_key"]
    if len(key) > 255:
        raise ValueError("the key is too long")
    if action == "trigger":
        about = event["payload"]
        if not about["summary"] or len(about["summary"]) > 1024 or not about["source"]:
            raise ValueError("summary or source")
        if about["severity"] not in {"critical", "error", "warning", "info"}:
            raise ValueError("severity")
    return Taken(
        PAGERDUTY, key, action, key.removeprefix("triageops:"), receivers.is_known(PAGERDUTY, key, action)
    )


def _slack(receivers: Receivers, _headers: dict[str, str], body: bytes) -> Taken:
    """Slack knows no repeats: whoever reads must be told."""
    found = json.loads(body)
    notes = [
        part["text"] for block in found["blocks"] if block["type"] == "context" for part in block["elements"]
    ]
    note = " ".join(notes)
    message = note.split(" ", maxsplit=1)[0]
    return Taken(
        SLACK, message, is_repeat="possible repeat" in note, text=found["text"], note=note, body=found
    )


_READERS = {WEBHOOK: _webhook, PAGERDUTY: _pagerduty, SLACK: _slack}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receivers: Receivers = self.server.receiver  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with contextlib.suppress(OSError):
            receivers.meet(self.path, headers, body)(self)
        self.close_connection = True

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None: ...


class _Server(ThreadingHTTPServer):
    receiver: Receivers
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers whose process was killed break the connection: that is the purpose."""


@contextlib.contextmanager
def running_receivers(journal: Path, secret: str) -> Iterator[Receivers]:
    receivers = Receivers(journal, secret)
    receivers.start()
    try:
        yield receivers
    finally:
        receivers.released.set()
        receivers.stop()
