"""Any receiver of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): signed JSON by POST."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from monitoring.channels.channel import (
    DeliveryError,
    Notice,
    Outgoing,
    Rate,
    call,
    refuse_failure,
    url_mistakes,
)
from monitoring.outbound import Answer

SECRET_PREFIX = "whsec_"  # noqa: S105 - the standard's prefix, not a secret
BODY_MAX = 20_000
_SECRET_BYTES = 32
_SECRET_MIN, _SECRET_MAX = 24, 64
_THROTTLING = frozenset({429, 502, 504})
_THROTTLE_SECONDS = 10.0

TYPES = {
    "trigger": "incident.opened",
    "acknowledge": "incident.acknowledged",
    "resolve": "incident.resolved",
    "reminder": "incident.reminder",
    "test": "channel.test",
}
_THIN = ("incident_id", "state", "severity", "incident_url")


class InvalidSecret(ValueError):
    """Not `whsec_` and the base64 of 24 to 64 bytes."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The signing key in a secret; raises InvalidSecret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret("The secret is not base64.") from None
    if not _SECRET_MIN <= len(key) <= _SECRET_MAX:
        raise InvalidSecret(f"The secret has {len(key)} bytes; it needs {_SECRET_MIN} to {_SECRET_MAX}.")
    return key


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One entry of the `webhook-signature` header, for exactly these bytes; raises InvalidSecret."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Webhook:
    name: ClassVar[str] = "webhook"
    title: ClassVar[str] = "webhook (Standard Webhooks)"
    takes: ClassVar[frozenset[str]] = frozenset(TYPES)
    is_grouped: ClassVar[bool] = False
    rate: ClassVar[Rate] = Rate(200.0, 200)

    url: str
    secret: str
    previous_secret: str = ""
    """While the secret is being changed: receivers may still check with this one."""

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        found = url_mistakes(settings)
        for name in ("secret", "previous_secret"):
            if name == "secret" or settings.get(name):
                try:
                    key_of(str(settings.get(name) or ""))
                except InvalidSecret as error:
                    found[name] = str(error)
        return found

    def body(self, message: Outgoing) -> bytes:
        """The same bytes for every attempt: the time in it is that of the event. Ids and a link only if it is large."""
        data = {name: value for name, value in message.payload.items() if name != "at"}
        if message.suppressed_since:
            data |= {"suppressed_since": message.suppressed_since, "suppressed_by": message.suppressed_by}
        body = _encoded(message, data)
        if len(body) <= BODY_MAX:
            return body
        thin = {name: str(data[name])[:2000] for name in _THIN if data.get(name)}
        note = f"The full message has {len(body)} bytes, more than {BODY_MAX}; follow the link for the rest."
        return _encoded(message, thin | {"is_thin": True, "note": note})

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        message = notice.messages[0]
        body = self.body(message)
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signatures(message.webhook_id, timestamp, body),
        }
        answer = call(self.url, body, headers)
        try:
            refuse_failure(answer, now=now)
        except DeliveryError as error:
            if answer.status in _THROTTLING and error.retry_after is None:
                error.retry_after = _THROTTLE_SECONDS
            raise
        return answer

    def _signatures(self, webhook_id: str, timestamp: int, body: bytes) -> str:
        try:
            return " ".join(
                signature(secret, webhook_id, timestamp, body)
                for secret in (self.secret, self.previous_secret)
                if secret or secret is self.secret
            )
        except InvalidSecret as error:
            raise DeliveryError(f"nothing can be signed: {error}", permanent=True) from None


def _encoded(message: Outgoing, data: Mapping[str, Any]) -> bytes:
    body = {"type": TYPES[message.kind], "timestamp": message.payload["at"], "data": data}
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
