"""Where the alerts arrive, on this machine: a receiver of Standard Webhooks, as an on-call tool would have one, and a chat.

The chat is like Slack's incoming webhooks, and like them it is unwell now and then.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/alerts"
TEAM_PATH = "/services/T0/B0/demo"
UNWELL_EVERY, BUSY_EVERY = 3, 5
"""Of the calls to the chat, this one gets 503, and that one 429."""

_TOLERANCE_SECONDS = 300
_LARGEST_BODY = 1024 * 1024

Take = Callable[[dict[str, Any]], None]
Hear = Callable[[str], None]


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is that of these bytes, made lately (Standard Webhooks 1.0.0)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > _TOLERANCE_SECONDS:
        return False
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one, expected) for one in given)


class Receiver:
    """Has an address from the start, and takes messages in from `open` on; each message is taken once."""

    def __init__(self) -> None:
        self._secret = ""
        self._take: Take | None = None
        self._hear: Hear | None = None
        self._seen: set[str] = set()
        self._team_calls = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(min(size, _LARGEST_BODY))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if self.path == TEAM_PATH:
                    self._say(*receiver.answer_team(body))
                else:
                    self._say(receiver.answer(headers, body))

            def _say(self, status: int, text: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 429:
                    self.send_header("Retry-After", "3")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """The demo says itself what is worth saying."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    @property
    def team_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{TEAM_PATH}"

    def open(self, secret: str, take: Take, hear: Hear | None = None) -> None:
        """hear: what is posted to the chat."""
        self._secret, self._take, self._hear = secret, take, hear

    def answer(self, headers: dict[str, str], body: bytes) -> int:
        """The status for one delivery: 503 asks to try again, 401 refuses a wrong signature."""
        if self._take is None:
            return 503
        if not is_signed(self._secret, headers, body):
            return 401
        with self._lock:
            is_new = headers["webhook-id"] not in self._seen
            self._seen.add(headers["webhook-id"])
        if is_new:
            self._take(json.loads(body))
        return 204

    def answer_team(self, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            self._team_calls += 1
            number = self._team_calls
        if number % UNWELL_EVERY == 0:
            return 503, b"upstream connect error"
        if number % BUSY_EVERY == 0:
            return 429, b"rate_limited"
        if self._hear is not None:
            self._hear(str(json.loads(body).get("text", "")))
        return 200, b"ok"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
