"""Where the web server of bin/up listens, and whether it answers there."""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass


class NoAddress(Exception):
    """The web server cannot listen there; the message is one line for a person."""


@dataclass(frozen=True)
class Address:
    """Where the web server listens."""

    host: str
    port: int

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Address":
        text = given.get("PORT") or "8000"
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise NoAddress(f"PORT is {text!r}: a number from 1 to 65535 is needed")
        return cls(given.get("HOST") or "127.0.0.1", int(text))

    @property
    def reachable_host(self) -> str:
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not listened on

    @property
    def url(self) -> str:
        host = f"[{self.reachable_host}]" if ":" in self.reachable_host else self.reachable_host
        return f"http://{host}:{self.port}"

    def require_free(self) -> None:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                # As the web server does: connections of an earlier run that are still closing are no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            raise NoAddress(
                f"cannot listen on {self.host}:{self.port} ({error.strerror}): "
                f"set another port, for example PORT={self.port + 1 if self.port < 65535 else 8000}"
            ) from error

    def trouble(self, host_header: str) -> str | None:
        """What /ready says when it is not green; None when it is."""
        connection = http.client.HTTPConnection(self.reachable_host, self.port, timeout=5)
        try:
            connection.request("GET", "/ready", headers={"Host": host_header})
            response = connection.getresponse()
            said = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return None if response.status == 200 else f"{response.status} {said[:300]}"
