"""A client of the public API as anybody could write it: HTTP, JSON, a key, and the same call again until it is answered."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 15.0
STEADY_SECONDS = 2.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 5.0
_TRY_AGAIN = frozenset({408, 425, 429})


class Refused(Exception):
    """The API understood the call and says no; trying again would not help."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        said = " ".join(str(problem[name]) for name in ("detail", "fix") if problem.get(name))
        super().__init__(f"{status} {said or 'without a reason'}")
        self.status = status
        self.problem = problem


class Unanswered(Exception):
    """No answer, or one that says that the server is in trouble."""


class Outage:
    """One episode without answers, told once when it begins and once when it is over; for all threads together."""

    def __init__(self, on_begin: Callable[[str], None], on_end: Callable[[float], None]) -> None:
        self._on_begin, self._on_end = on_begin, on_end
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._failed_at = 0.0

    def note_failure(self, reason: str) -> None:
        with self._lock:
            self._failed_at = time.monotonic()
            if self._began_at is None:
                self._began_at = self._failed_at
                self._on_begin(reason)

    def note_answer(self) -> None:
        """Over when nobody has failed for a moment: one of several server processes may be back before the others."""
        with self._lock:
            now = time.monotonic()
            if self._began_at is not None and now - self._failed_at >= STEADY_SECONDS:
                self._on_end(now - self._began_at)
                self._began_at = None


class Client:
    """Calls from any thread; each thread keeps a connection of its own."""

    def __init__(self, base_url: str, key: str, outage: Outage) -> None:
        parts = urlsplit(base_url)
        is_https = parts.scheme == "https"
        self._make = http.client.HTTPSConnection if is_https else http.client.HTTPConnection
        self._place = parts.netloc
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._key = key
        self._outage = outage
        self._own = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close the connections of all threads, which must have ended or be idle."""
        for connection in self._connections:
            connection.close()

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """The answer, however long it takes; raises Refused. Safe because every call may be repeated."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                return self.once(method, path, body, token=token)
            except Unanswered:
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def once(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        seconds: float = TIMEOUT_SECONDS,
    ) -> Any:
        """One try; raises Refused or Unanswered."""
        try:
            status, text = self._exchange(method, path, body, token or self._key, seconds)
        except (OSError, http.client.HTTPException) as error:
            # It opens again by itself with the next call.
            self._connection(seconds).close()
            self._outage.note_failure(str(error) or type(error).__name__)
            raise Unanswered from error
        if status >= 500 or status in _TRY_AGAIN:
            self._outage.note_failure(f"it answers {status}")
            raise Unanswered
        self._outage.note_answer()
        if status >= 400:
            raise Refused(status, _as_object(text))
        return json.loads(text) if text else None

    def _exchange(
        self, method: str, path: str, body: object, secret: str, seconds: float
    ) -> tuple[int, bytes]:
        connection = self._connection(seconds)
        headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        connection.request(method, self._prefix + path, body=content, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._make(self._place, timeout=seconds)
            self._connections.append(connection)
        elif connection.sock is not None:
            connection.sock.settimeout(seconds)
        connection.timeout = seconds
        return connection


def _as_object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
