"""Requests over keep-alive connections, each sent as soon as the one before was answered; by one process, without a library."""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.product import Product


@dataclass(frozen=True)
class Loaded:
    """What was answered: how many, in how many seconds, and how long each took, in order of the answers."""

    done: int
    seconds: float
    waited: list[float]

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the answers took at most."""
        return sorted(self.waited)[min(self.done - 1, int(share * self.done))] * 1_000


def request(product: Product, path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{product.port}\r\nAuthorization: Bearer {product.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One keep-alive connection that sends a request as soon as the last one was answered."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.sent_at = 0.0

    def send(self, data: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(data)

    def answer(self) -> int | None:
        """Status of the answer once it is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server closed the connection")
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self.buffer) < end + 4 + length:
            return None
        status = int(head[9:12])
        if status not in {200, 201}:
            raise SystemExit(f"refused: {bytes(self.buffer[:600])!r}")
        del self.buffer[: end + 4 + length]
        return status


def load(port: int, connections: int, requests: Sequence[bytes], seconds: float) -> Loaded:
    """Stops when the time or the requests are used up."""
    waiting = iter(requests)
    waited: list[float] = []
    open_count = 0
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        for _ in range(connections):
            connection = Connection(port)
            connection.send(next(waiting))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            open_count += 1
        while open_count:
            for key, _ in selector.select():
                if key.data.answer() is None:
                    continue
                now = time.perf_counter()
                waited.append(now - key.data.sent_at)
                following = next(waiting, None) if now - began < seconds else None
                if following is None:
                    selector.unregister(key.fileobj)
                    key.data.socket.close()
                    open_count -= 1
                else:
                    key.data.send(following)
        return Loaded(len(waited), time.perf_counter() - began, waited)
