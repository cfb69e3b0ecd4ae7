"""Any receiver of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): signed JSON by POST."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from monitoring.channels.channel import Outgoing, call, refuse_failure
from monitoring.outbound import Answer

SECRET_PREFIX = "whsec_"  # noqa: S105 - the standard's prefix, not a secret
_SECRET_BYTES = 32
_SECRET_MIN, _SECRET_MAX = 24, 64

TYPES = {
    "trigger": "incident.opened",
    "acknowledge": "incident.acknowledged",
    "resolve": "incident.resolved",
    "test": "channel.test",
}


class InvalidSecret(ValueError):
    """Not `whsec_` and the base64 of 24 to 64 bytes."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The signing key in a secret; raises InvalidSecret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise InvalidSecret("The secret is not base64.") from None
    if not _SECRET_MIN <= len(key) <= _SECRET_MAX:
        raise InvalidSecret(f"The secret has {len(key)} bytes; it needs {_SECRET_MIN} to {_SECRET_MAX}.")
    return key


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header for exactly these bytes; raises InvalidSecret."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Webhook:
    name: ClassVar[str] = "webhook"
    title: ClassVar[str] = "webhook (Standard Webhooks)"
    takes: ClassVar[frozenset[str]] = frozenset(TYPES)

    url: str
    secret: str

    def body(self, message: Outgoing) -> bytes:
        """The same bytes for every attempt: the time in it is that of the event."""
        payload = dict(message.payload)
        at = payload.pop("at")
        body = {"type": TYPES[message.kind], "timestamp": at, "data": payload}
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def send(self, message: Outgoing, *, now: datetime) -> Answer:
        body = self.body(message)
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self.secret, message.webhook_id, timestamp, body),
        }
        answer = call(self.url, body, headers)
        refuse_failure(answer, now=now)
        return answer
