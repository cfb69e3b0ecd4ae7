"""Prometheus Alertmanager, API v2 (0.25): alerts are states that are said again and again, not events.

What fires must be sent again before `endsAt`, every RESEND_SECONDS; what is over for KEEP_RESOLVED after it. Identity is
the set of labels, so no value, time or id may be among them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from monitoring.channels import message_text as said
from monitoring.channels.channel import (
    DeliveryError,
    Notice,
    Outgoing,
    Rate,
    call,
    refuse_failure,
    url_mistakes,
)
from monitoring.channels.webhook import SECRET_PREFIX
from monitoring.outbound import Answer

FIRES_FOR = timedelta(minutes=4)
RESEND_SECONDS = 60.0
KEEP_RESOLVED = timedelta(minutes=5)
_TEST_FIRES_FOR = timedelta(minutes=1)
_VALUE_MAX, _ANNOTATION_MAX = 1000, 4000
_ENDED = ("silence not found", "already expired")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True)
class Alertmanager:
    name: ClassVar[str] = "alertmanager"
    title: ClassVar[str] = "Alertmanager (API v2)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve", "test"})
    is_grouped: ClassVar[bool] = True
    rate: ClassVar[Rate] = Rate(5.0, 10)

    url: str
    """Its root, to which /api/v2/… is added."""
    secret: str = ""
    """“user:password” for basic authentication, anything else is a bearer token; empty for none."""

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        found = url_mistakes(settings)
        secret = str(settings.get("secret") or "")
        wrong = ""
        if secret.startswith(SECRET_PREFIX):
            wrong = "This is a webhook's signing secret. Give “user:password” or a token, or leave it empty."
        elif not secret.isascii() or not secret.isprintable():
            wrong = "Only printable ASCII characters can be sent."
        return found | {"secret": wrong} if wrong else found

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        alerts = alerts_of(notice.messages, now=now, notice=notice)
        answer = self._call("POST", "alerts", alerts)
        if answer.status == 400:
            # Alertmanager keeps the valid ones of a request and refuses the rest with 400.
            some = " at least one alert; those that are valid were taken" if len(alerts) > 1 else " the alert"
            raise DeliveryError(
                f"answered 400: refused{some}: {said.one_line(answer.text)[:300]}",
                permanent=True,
                is_ambiguous=len(alerts) > 1,
                answer=answer,
            )
        refuse_failure(answer, now=now)
        return answer

    def resend(self, messages: Iterable[Outgoing], *, now: datetime) -> Answer:
        """Say again what still fires, or has ended within KEEP_RESOLVED; raises DeliveryError."""
        return self.send(Notice(tuple(messages)), now=now)

    def put_silence(self, silence: Mapping[str, Any], *, now: datetime) -> str:
        """Make a silence, or change the one whose `id` is given; its id there. Raises DeliveryError.

        silence: matchers [{name, value, isRegex, isEqual}], startsAt, endsAt, createdBy, comment and id, as API v2 has them.
        """
        answer = self._call("POST", "silences", dict(silence))
        _refuse(answer, now=now)
        try:
            return str(json.loads(answer.body)["silenceID"])
        except (ValueError, KeyError, TypeError):
            raise DeliveryError("answered without a silenceID", is_ambiguous=True, answer=answer) from None

    def expire_silence(self, silence_id: str, *, now: datetime) -> None:
        """End a silence; one that is unknown there or has ended is no error. Raises DeliveryError."""
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,64}", silence_id):
            raise DeliveryError(f"“{silence_id[:64]}” is not the id of a silence", permanent=True)
        answer = self._call("DELETE", f"silence/{silence_id}", None)
        # 0.25 has no 404: it answers 500 with these words.
        if answer.status == 404 or any(words in answer.text for words in _ENDED):
            return
        _refuse(answer, now=now)

    def _call(self, method: str, path: str, content: Any) -> Answer:
        headers = {"Content-Type": "application/json", **_authorization(self.secret)}
        body = None if content is None else json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        return call(f"{self.url.rstrip('/')}/api/v2/{path}", body, headers, method=method)


def alerts_of(
    messages: Iterable[Outgoing], *, now: datetime, notice: Notice | None = None
) -> list[dict[str, Any]]:
    """Alerts as API v2 takes them, one for each set of labels: the last message about it counts."""
    alerts: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for message in messages:
        labels = labels_of(message)
        alerts[tuple(sorted(labels.items()))] = _alert(message, labels, now, notice)
    return list(alerts.values())


def labels_of(message: Outgoing) -> dict[str, str]:
    """The identity of the incident: names that Alertmanager takes, values that are not empty."""
    payload = message.payload
    given: Mapping[str, Any] = payload.get("routing_labels") or {
        **(payload.get("labels") or {}),
        "monitor": payload.get("monitor"),
        "experiment": payload.get("experiment"),
        "severity": payload.get("severity"),
    }
    labels = {label_name(name): str(value)[:_VALUE_MAX] for name, value in given.items() if name and value}
    if message.kind == "test":
        return labels | {"alertname": "TriageOpsTest", "severity": "info"}
    return {"alertname": "TriageOpsIncident"} | labels


def label_name(name: str) -> str:
    """`name` with “_” for everything that a label's name must not hold."""
    found = _NOT_IN_A_NAME.sub("_", name)
    return f"_{found}" if found[:1].isdigit() else found


def _alert(message: Outgoing, labels: dict[str, str], now: datetime, notice: Notice | None) -> dict[str, Any]:
    payload = message.payload
    if message.kind == "resolve":
        ends_at = min(_time(payload.get("resolved_at")) or now, now)
    else:
        ends_at = now + (_TEST_FIRES_FOR if message.kind == "test" else FIRES_FOR)
    starts_at = min(_time(payload.get("opened_at")) or _time(payload.get("at")) or now, ends_at)
    alert: dict[str, Any] = {
        "labels": labels,
        "annotations": _annotations(message, notice),
        "startsAt": _iso(starts_at),
        "endsAt": _iso(ends_at),
    }
    if payload.get("incident_url"):
        alert["generatorURL"] = payload["incident_url"]
    return alert


def _annotations(message: Outgoing, notice: Notice | None) -> dict[str, str]:
    facts = [f"{name}: {value}." for name, value in said.facts_of(message)]
    texts = {
        "summary": said.title_of(message),
        "description": " ".join([said.summary_of(message), *facts]),
        "runbook_url": str(message.payload.get("runbook_url") or ""),
        # The label stays what it was at first, or it would be another alert.
        "severity": str(message.payload.get("severity") or ""),
    }
    if notice is not None:
        texts["summary"] = said.own_title(notice) or texts["summary"]
        texts["description"] = said.own_body(notice) or texts["description"]
        texts["description"] += f"\n{notice.complaint}" if notice.complaint else ""
    return {name: said.cut(text, _ANNOTATION_MAX) for name, text in texts.items() if text}


def _authorization(secret: str) -> dict[str, str]:
    if not secret:
        return {}
    if ":" in secret:
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"}


def _refuse(answer: Answer, *, now: datetime) -> None:
    try:
        refuse_failure(answer, now=now)
    except DeliveryError as error:
        error.reason = f"{error.reason} {said.one_line(answer.text)[:200]}".strip()
        raise


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
