"""What a channel is: a frozen dataclass that turns a notice into one call and judges the answer.

`send()` raises DeliveryError; retry, record and disabling are written once, in monitoring/outgoing/delivery.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Protocol

from monitoring.outbound import TIMEOUT_SECONDS, Answer, RequestFailed, request
from monitoring.targets import BlockedTarget, check_before_sending

_TRY_AGAIN = frozenset({408, 409, 425, 429})
_GATEWAY_ERRORS = frozenset({502, 504})
_EXCERPT_MAX = 500
_RETRY_AFTER_MAX_SECONDS = 86_400.0
"""However far away the date is that a receiver gives."""


class DeliveryError(Exception):
    """The receiver did not take the message.

    permanent: it never will. retry_after: seconds that the receiver asked for. is_ambiguous: it may have taken it.
    is_gone: the whole channel is dead, not only this message.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        is_ambiguous: bool = False,
        is_gone: bool = False,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after
        self.is_ambiguous = is_ambiguous
        self.is_gone = is_gone
        self.answer = answer


@dataclass(frozen=True)
class Outgoing:
    """One message on its way. is_possible_repeat: an earlier attempt may have arrived without our knowing."""

    webhook_id: str
    kind: str
    payload: Mapping[str, Any]
    attempt: int = 1
    is_possible_repeat: bool = False
    dedup_key: str = ""
    """“triageops:<incident uuid>”: what a receiver tells incidents apart by."""
    seq: int = 1
    suppressed_since: str = ""
    """ISO time from which the message was held back; empty if it was not."""
    suppressed_by: str = ""
    thread: str = ""
    """webhook_id of the first message of this incident to this channel; empty for the first itself."""


@dataclass(frozen=True)
class Written:
    """What an administrator's template made of the messages: plain text, not escaped for any channel."""

    title: str
    body: str


@dataclass(frozen=True)
class Rate:
    """The token bucket of one endpoint."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Notice:
    """What one call says: one message, or several where the kind `is_grouped`."""

    messages: tuple[Outgoing, ...]
    written: Written | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """What all messages of a group have in common."""
    complaint: str = ""
    """Why the channel's own text was not used, said in small print; empty if nothing is wrong with it."""


class ChannelKind(Protocol):
    """A row of the registry; its fields are taken by name from the channel's settings."""

    name: ClassVar[str]
    title: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    """Kinds of messages that it wants to hear, among trigger, acknowledge, resolve, reminder and test."""
    is_grouped: ClassVar[bool]
    """Whether one call may carry several messages."""
    rate: ClassVar[Rate]

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with a channel's settings, by the name of the setting; empty when it can send."""

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        """Raises DeliveryError."""


def url_mistakes(settings: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the setting `url`, as far as can be said without asking the network."""
    try:
        check_before_sending(str(settings.get("url") or ""))
    except BlockedTarget as error:
        return {"url": str(error)}
    return {}


def call(url: str, body: bytes | None, headers: Mapping[str, str], *, method: str = "POST") -> Answer:
    """One request; whatever keeps it from being answered becomes a DeliveryError."""
    try:
        return request(method, url, body, headers, timeout_seconds=TIMEOUT_SECONDS)
    except BlockedTarget as error:
        raise DeliveryError(f"address refused: {error}", permanent=True) from None
    except RequestFailed as error:
        raise DeliveryError(
            error.reason, permanent=error.is_untrusted, is_ambiguous=error.is_ambiguous
        ) from None


def refuse_failure(answer: Answer, *, now: datetime) -> None:
    """Return for a 2xx answer, else raise DeliveryError: 4xx is permanent, all else may be better next time."""
    if 200 <= answer.status < 300:
        return
    redirect = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
    raise DeliveryError(
        f"answered {answer.status}{redirect}",
        permanent=400 <= answer.status < 500 and answer.status not in _TRY_AGAIN,
        retry_after=retry_after_seconds(answer, now=now),
        is_ambiguous=answer.status in _GATEWAY_ERRORS,
        is_gone=answer.status == 410,
        answer=answer,
    )


def retry_after_seconds(answer: Answer, *, now: datetime) -> float | None:
    """The Retry-After header, which is seconds or a date; at most a day. None when absent or unreadable."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(_RETRY_AFTER_MAX_SECONDS, float(value[:9]))
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(_RETRY_AFTER_MAX_SECONDS, max(0.0, (at - now).total_seconds()))


def excerpt(answer: Answer | None) -> str:
    """The beginning of what the receiver said, to be kept with the attempt."""
    return "" if answer is None else answer.text[:_EXCERPT_MAX]
