"""E-mail over the deployment's SMTP server: one thread per incident, plain text with a simple HTML alternative."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends import smtp
from django.core.validators import validate_email

from monitoring.channels.channel import DeliveryError, Notice, Rate
from monitoring.channels.email_text import composed
from monitoring.channels.message_text import one_line
from monitoring.outbound import Answer

RECIPIENTS_MAX = 50
STEP_SECONDS, ENVELOPE_SECONDS = 10, 10.0
"""For one answer of the server, and for all until the text is on its way: together less than a lease."""
SETTING = "TRIAGEOPS_EMAIL_URL"
_NAMED_MAX = 3
_LINE_END = re.compile(rb"\r?\n")


@dataclass(frozen=True)
class Email:
    name: ClassVar[str] = "email"
    title: ClassVar[str] = "e-mail"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve", "reminder", "test"})
    is_grouped: ClassVar[bool] = True
    rate: ClassVar[Rate] = Rate(1.0, 10)

    recipients: str
    """Addresses, separated by commas."""

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        given = addresses_of(str(settings.get("recipients") or ""))
        if not given:
            return {"recipients": "Give at least one address."}
        if len(given) > RECIPIENTS_MAX:
            return {"recipients": f"Give at most {RECIPIENTS_MAX} addresses; for more, use a mailing list."}
        wrong = [address for address in given if not _is_address(address)]
        return {"recipients": f"These are not addresses: {', '.join(wrong)[:300]}."} if wrong else {}

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        mistakes = self.mistakes({"recipients": self.recipients})
        if mistakes:
            raise DeliveryError(mistakes["recipients"], permanent=True)
        connection = get_connection(timeout=STEP_SECONDS)
        message = composed(notice, addresses_of(self.recipients))
        if not isinstance(connection, smtp.EmailBackend):
            # Backends of development: a file, the console, memory.
            connection.send_messages([message])
            return Answer(250, {}, b"")
        if not connection.host:
            raise DeliveryError(
                f"no mail server is known; the deployment sets it in {SETTING}", permanent=True
            )
        return _post(connection, message)


def addresses_of(recipients: str) -> list[str]:
    """Each address once, in the order given."""
    found = (part.strip() for part in recipients.replace("\n", ",").replace(";", ",").split(","))
    return list(dict.fromkeys(part for part in found if part))


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return text.isascii() and text.isprintable()


def _post(connection: smtp.EmailBackend, message: EmailMultiAlternatives) -> Answer:
    """Hand over the mail; that the connection is lost once the text is on its way leaves the outcome in doubt."""
    body = _LINE_END.sub(b"\r\n", message.message().as_bytes())
    is_on_its_way = False
    deadline = time.monotonic() + ENVELOPE_SECONDS
    try:
        connection.open()
        session = connection.connection
        if session is None:
            raise DeliveryError("the mail server was not reached")
        session.ehlo_or_helo_if_needed()
        refused = _envelope(session, message, deadline)
        is_on_its_way = True
        return _answer(session.data(body), refused, len(message.recipients()))
    except smtplib.SMTPResponseException as error:
        raise _refusal(error.smtp_code, error.smtp_error) from None
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(
            f"the mail server broke off: {one_line(error)[:200]}",
            permanent=isinstance(error, ssl.SSLCertVerificationError),
            is_ambiguous=is_on_its_way,
        ) from None
    finally:
        # What was answered stands, however the goodbye went.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            connection.close()


def _envelope(
    session: smtplib.SMTP, message: EmailMultiAlternatives, deadline: float
) -> dict[str, tuple[int, bytes]]:
    """Who sends and who receives; the recipients that the server refuses, while it takes others."""
    options = ["BODY=8BITMIME"] if session.has_extn("8bitmime") else []
    code, reply = session.mail(parseaddr(message.from_email)[1], options)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, reply, "")
    refused = {}
    for address in message.recipients():
        code, reply = session.rcpt(address)
        if time.monotonic() > deadline:
            raise DeliveryError("the mail server is too slow; the text was not sent")
        if code not in {250, 251}:
            refused[address] = (code, reply)
    if len(refused) == len(message.recipients()):
        # One that may be taken later decides for all.
        code, reply = min(refused.values())
        raise smtplib.SMTPResponseException(code, reply)
    return refused


def _answer(reply: tuple[int, bytes], refused: Mapping[str, tuple[int, bytes]], count: int) -> Answer:
    """Taken when one recipient has it."""
    code, told = reply
    if code != 250:
        raise _refusal(code, told)
    return Answer(code, {}, b"\n".join(filter(None, [_shortfall(refused, count).encode(), told])))


def _shortfall(refused: Mapping[str, tuple[int, bytes]], count: int) -> str:
    """Who of `count` recipients has it not. The others have it and must not get it again, so nobody does."""
    if not refused:
        return ""
    for_good = [f"{one} ({_said(*why, most=40)})" for one, why in refused.items() if why[0] >= 500]
    for_now = [f"{one} ({_said(*why, most=40)})" for one, why in refused.items() if why[0] < 500]
    verb = "has" if count - len(refused) == 1 else "have"
    parts = [f"{count - len(refused)} of {count} recipients {verb} it."]
    if for_good:
        parts.append(f"Refused for good: {_some(for_good)}.")
    if for_now:
        parts.append(f"Refused for now, and not tried again: {_some(for_now)}.")
    return " ".join(parts)


def _some(refused: list[str]) -> str:
    """As many as an attempt has room for."""
    more = len(refused) - _NAMED_MAX
    return ", ".join(refused[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _refusal(code: int, told: bytes | str) -> DeliveryError:
    text = told if isinstance(told, bytes) else told.encode()
    return DeliveryError(
        f"the mail server answered {_said(code, text)}",
        permanent=500 <= code < 600,
        answer=Answer(code, {}, text) if code > 0 else None,
    )


def _said(code: int, told: bytes, most: int = 200) -> str:
    return f"{code} {one_line(told.decode('utf-8', 'replace'))[:most]}"
