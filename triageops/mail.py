"""The mail server in one address, such as smtp://user:password@mail.example:587?tls=starttls."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_PORTS = {"smtp": 25, "smtps": 465}


class InvalidMailServer(ValueError):
    """The address cannot be read; the message names the fix, and repeats no password."""


def mail_settings(url: str) -> dict[str, Any]:
    """Django's settings of the mail server; host is empty when the address is. Raises InvalidMailServer."""
    if not url:
        return {"EMAIL_HOST": ""}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidMailServer("This is no address of a mail server.") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidMailServer(
            "Write smtp://user:password@host:587?tls=starttls, or smtps://user:password@host."
        )
    tls = parse_qs(parts.query).get("tls", ["none"])[-1]
    if tls not in {"none", "starttls"}:
        raise InvalidMailServer("tls is “starttls” or left out; smtps:// is encrypted from the start.")
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or _PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": tls == "starttls" and parts.scheme == "smtp",
    }
