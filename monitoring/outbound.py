"""HTTP to addresses that a person typed in, within fixed limits.

The name is resolved once, every address it has is checked (monitoring.targets), and the connection goes to an address
that was checked: a name that answers differently a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from http.client import HTTPException

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, SSLError

from monitoring.targets import Address, Target, check_address, target_of

ANSWER_MAX = 64 * 1024
TIMEOUT_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_ATTEMPTED_ADDRESSES = 2


class RequestFailed(Exception):
    """No answer. is_ambiguous: the request may have reached the receiver. is_untrusted: its certificate is wrong."""

    def __init__(self, reason: str, *, is_ambiguous: bool, is_untrusted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_ambiguous = is_ambiguous
        self.is_untrusted = is_untrusted


@dataclass(frozen=True)
class Answer:
    """What the receiver said; header names are in lower case, the body was cut at ANSWER_MAX bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        # PostgreSQL stores no NUL.
        return self.body.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as text; raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def addresses_of(target: Target, deadline: float) -> list[Address]:
    """All addresses of the target, each of them checked; raises BlockedTarget or RequestFailed."""
    try:
        found = _resolve_until(deadline, target)
    except TimeoutError:
        raise RequestFailed(f"{target.host} could not be resolved in time", is_ambiguous=False) from None
    except (OSError, UnicodeError) as error:
        raise RequestFailed(f"{target.host} cannot be resolved ({error})", is_ambiguous=False) from None
    # A scope ("fe80::1%eth0") belongs to addresses that are refused anyway.
    addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
    for address in addresses:
        check_address(target, address)
    return list(dict.fromkeys(addresses))


def _resolve_until(deadline: float, target: Target) -> list[str]:
    """The system's resolver knows no time-out: a thread waits for it, and is left behind when it is too slow."""
    asked: Future[list[str]] = Future()

    def ask() -> None:
        try:
            asked.set_result(resolve(target.host, target.port))
        except (OSError, UnicodeError) as error:
            asked.set_exception(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return asked.result(max(deadline - time.monotonic(), 0.0))


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> Answer:
    """`request` by POST."""
    return request("POST", url, body, headers, timeout_seconds=timeout_seconds)


def request(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    is_trusted: bool = False,
) -> Answer:
    """Send `body` and return the first answer, whatever its status; a redirect is an answer, not followed.

    is_trusted: the deployment chose the address, not a person, so it may be private. timeout_seconds bounds all of it, however slowly the name is resolved or single bytes arrive.
    Raises BlockedTarget and RequestFailed.
    """
    target = target_of(url)
    if is_trusted:
        target = replace(target, is_allowed=True)
    sent = _Sent(method, target, body, headers)
    deadline = time.monotonic() + timeout_seconds
    failure = RequestFailed(f"{target.host} has no address", is_ambiguous=False)
    for address in addresses_of(target, deadline)[:_ATTEMPTED_ADDRESSES]:
        connection = _connection(target, address, deadline)
        try:
            _connect(connection)
            return _exchange(connection, sent, deadline)
        except RequestFailed as error:
            if error.is_ambiguous or error.is_untrusted or time.monotonic() >= deadline:
                raise
            failure = error
        finally:
            connection.close()
    raise failure


@dataclass(frozen=True)
class _Sent:
    method: str
    target: Target
    body: bytes | None
    headers: Mapping[str, str]


def _connection(target: Target, address: Address, deadline: float) -> HTTPConnection:
    # Connecting and the TLS handshake each get this much.
    seconds = max(min(_CONNECT_SECONDS, (deadline - time.monotonic()) / 2), 0.001)
    if target.scheme == "http":
        return HTTPConnection(str(address), target.port, timeout=seconds)
    return HTTPSConnection(str(address), target.port, timeout=seconds, server_hostname=target.host)


def _connect(connection: HTTPConnection) -> None:
    try:
        connection.connect()
    except (SSLError, ssl.SSLError) as error:
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error) or "doesn't match" in str(error)
        raise RequestFailed(f"TLS failed: {error}", is_ambiguous=False, is_untrusted=is_untrusted) from None
    except (HTTPError, OSError) as error:
        raise RequestFailed(f"no connection: {error}", is_ambiguous=False) from None


def _exchange(connection: HTTPConnection, sent: _Sent, deadline: float) -> Answer:
    """Socket time-outs start anew with every byte; cutting the connection at the deadline does not."""
    seconds = max(deadline - time.monotonic(), 0.001)
    connection.timeout = seconds
    is_late = threading.Event()
    own_socket = connection.sock

    def cut() -> None:
        is_late.set()
        try:
            # The plain socket's method: that of TLS would change the object under the reader's hands.
            socket.socket.shutdown(own_socket, socket.SHUT_RDWR)
        except OSError:
            return  # It has ended by itself.

    watchdog = threading.Timer(seconds, cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        answer = _send_and_read(connection, sent)
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        # The socket's own time-out, the same as the watchdog's, may be a moment faster.
        is_slow = is_late.is_set() or isinstance(error, TimeoutError)
        reason = "no complete answer in time" if is_slow else f"the connection broke: {error}"
        raise RequestFailed(reason, is_ambiguous=True) from None
    finally:
        watchdog.cancel()
    if is_late.is_set():
        raise RequestFailed("no complete answer in time", is_ambiguous=True)
    return answer


def _send_and_read(connection: HTTPConnection, sent: _Sent) -> Answer:
    own = {
        "Host": sent.target.authority,
        "User-Agent": "TriageOps",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    headers = {**sent.headers, **own}
    connection.request(sent.method, sent.target.path, body=sent.body, headers=headers, preload_content=False)
    response = connection.getresponse()
    received = bytearray()
    # Not decoded: a small compressed answer must not become a large one.
    while len(received) < ANSWER_MAX:
        part = response.read1(ANSWER_MAX - len(received), decode_content=False)
        if not part:
            break
        received += part
    found = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, found, bytes(received))
