"""Which addresses we talk to: the public internet, and what the deployment allows besides.

TRIAGEOPS_OUTBOUND_ALLOW opens private targets (networks or host names); plain http and any port are allowed for those.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from django.conf import settings

PUBLIC_PORTS = frozenset({443, 8443})
_DEFAULT_PORTS = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Allocated to the public by IANA; what Python calls global beside it (fec0::/10, 5f00::/16) depends on its version.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
# Inside it, yet special or carriers of other addresses: protocol assignments with Teredo, documentation, 6to4.
_SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class BlockedTarget(Exception):
    """The address is one that we do not talk to; the message says which rule refuses it."""


@dataclass(frozen=True)
class Target:
    """A URL that passed `target_of`. is_allowed: the deployment's allow-list names this host."""

    scheme: str
    host: str
    port: int
    path: str
    is_allowed: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(url: str) -> Target:
    """What can be said of a URL without resolving it; raises BlockedTarget."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BlockedTarget("This is not a URL.") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise BlockedTarget("This must be a URL that starts with https://.")
    if "@" in parts.netloc:
        raise BlockedTarget("The URL must not carry a user name or password.")
    if any(character <= " " or character == "\x7f" for character in url):
        raise BlockedTarget("The URL must not contain spaces or control characters.")
    host = _ascii_host(parts.hostname)
    is_allowed = host in _allowed_hosts() or _is_allowed_literal(host)
    if not is_allowed and host in _own_hosts():
        raise BlockedTarget("This is our own address.")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], _path_of(parts), is_allowed)


def check_before_sending(url: str) -> None:
    """What can be said when an address is typed in: all of a literal one; of a name, which is resolved when sending, the rest.

    Raises BlockedTarget.
    """
    target = target_of(url)
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        if not target.is_allowed and not _may_lead_inside(target.host):
            _check_way(target)
        return
    check_address(target, address)


def _may_lead_inside(host: str) -> bool:
    """Whether a name could be at an address that the deployment allows. At this machine's own are names of that kind only."""
    if all(network.is_loopback for network in _allowed_networks()):
        return bool(_allowed_networks()) and (host == "localhost" or host.endswith(".localhost"))
    return True


def _path_of(parts: SplitResult) -> str:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # What is quoted already stays as it is; letters beyond ASCII cannot be sent.
    return quote(path, safe="/?%:@!$&'()*+,;=~[]-._")


def _ascii_host(host: str) -> str:
    if ":" in host:
        return host
    try:
        return host.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError:
        raise BlockedTarget("The host name is not valid.") from None


def _own_hosts() -> set[str]:
    own = {host.strip("[]").lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"}
    return own | {urlsplit(settings.BASE_URL).hostname or ""}


def _allowed_networks() -> list[Network]:
    return [network for network in map(_as_network, settings.OUTBOUND_ALLOW) if network is not None]


def _allowed_hosts() -> set[str]:
    return {entry.lower() for entry in settings.OUTBOUND_ALLOW if _as_network(entry) is None}


def _is_allowed_literal(host: str) -> bool:
    try:
        return _is_allowed(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_allowed(address: Address) -> bool:
    return any(address in network for network in _allowed_networks())


def _as_network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether packets to this address leave for the public internet, unwrapping what carries other addresses."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _PUBLIC_V6 or any(address in network for network in _SPECIAL_V6):
            return False
    return address.is_global and not address.is_multicast


def check_address(target: Target, address: Address) -> None:
    """Raises BlockedTarget unless we may connect to this address for this target."""
    if target.is_allowed or _is_allowed(address):
        return
    if not is_public(address):
        where = f"{address} is" if target.host == str(address) else f"{target.host} is at {address}, which is"
        raise BlockedTarget(f"{where} not a public address.")
    _check_way(target)


def _check_way(target: Target) -> None:
    if target.scheme != "https":
        raise BlockedTarget("Only https:// is used outside the allow-list.")
    if target.port not in PUBLIC_PORTS:
        raise BlockedTarget(f"Port {target.port} is not used outside the allow-list; use 443 or 8443.")
