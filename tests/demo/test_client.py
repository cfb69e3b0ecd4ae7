import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo import client as module
from demo.client import Client, Outage, Refused, Unanswered


class Server:
    """Gives the planned answers one after the other, then 200; notes what it was asked."""

    def __init__(self) -> None:
        self.planned: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, bytes, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.asked.append((self.path, body, self.headers["Authorization"]))
                status, text = owner.planned.pop(0) if owner.planned else (200, b'{"ok": true}')
                if status == 0:
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


@pytest.fixture
def told(monkeypatch: Any) -> list[Any]:
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.0)
    return []


@pytest.fixture
def client(server: Server, told: list[Any]) -> Iterator[Client]:
    found = Client(server.url, "tri_x", Outage(told.append, lambda _: told.append("back")))
    yield found
    found.close()


def test_call_is_repeated_unchanged_until_it_is_answered(
    server: Server, client: Client, told: list[Any]
) -> None:
    server.planned = [(503, b""), (0, b""), (500, b"x"), (429, b"{}")]
    assert client.call("POST", "/feedback", {"a": "é"}) == {"ok": True}
    assert len(server.asked) == 5
    assert len({body for _, body, _ in server.asked}) == 1
    assert server.asked[0][0] == "/api/v1/feedback"
    assert told == ["it answers 503", "back"]


def test_call_that_is_refused_is_not_repeated(server: Server, client: Client, told: list[Any]) -> None:
    server.planned = [(409, b'{"detail": "Other content.", "fix": "Use another id."}')]
    with pytest.raises(Refused, match=r"409 Other content\. Use another id\."):
        client.call("POST", "/responses", {})
    assert len(server.asked) == 1
    assert told == []


def test_outage_is_told_once_while_answers_and_failures_alternate(
    server: Server, client: Client, told: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "STEADY_SECONDS", 60.0)
    server.planned = [(503, b""), (200, b"{}"), (503, b""), (200, b"{}")]
    client.call("POST", "/feedback", {})
    client.call("POST", "/feedback", {})
    assert told == ["it answers 503"]


def test_once_does_not_wait_for_a_server_that_is_gone(client: Client, server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(Unanswered):
        client.once("POST", "/feedback", {})


def test_token_takes_the_place_of_the_key(server: Server, client: Client) -> None:
    client.call("POST", "/feedback", {}, token="fbt_y")
    client.call("POST", "/feedback", {})
    assert [secret for _, _, secret in server.asked] == ["Bearer fbt_y", "Bearer tri_x"]
