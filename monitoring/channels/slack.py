"""A Slack channel, through an incoming webhook: Block Kit within its limits, success only when the body is `ok`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from monitoring.channels.channel import DeliveryError, Notice, Rate, call, refuse_failure, url_mistakes
from monitoring.channels.slack_blocks import body_of
from monitoring.outbound import Answer

_DEAD_HOOK = frozenset(
    {
        "invalid_token",
        "action_prohibited",
        "channel_not_found",
        "channel_is_archived",
        "no_service",
        "no_team",
        "user_not_found",
    }
)


@dataclass(frozen=True)
class Slack:
    name: ClassVar[str] = "slack"
    title: ClassVar[str] = "Slack (incoming webhook)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve", "reminder", "test"})
    is_grouped: ClassVar[bool] = True
    rate: ClassVar[Rate] = Rate(1.0, 1)

    url: str

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        return url_mistakes(settings)

    def body(self, notice: Notice) -> dict[str, Any]:
        return body_of(notice)

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        body = json.dumps(self.body(notice), ensure_ascii=False).encode()
        answer = call(self.url, body, {"Content-Type": "application/json; charset=utf-8"})
        told = answer.text.strip()
        try:
            refuse_failure(answer, now=now)
        except DeliveryError as error:
            error.reason = f"{error.reason} {told[:100]}".strip()
            error.is_gone = answer.status in {404, 410} or told in _DEAD_HOOK
            raise
        if told != "ok":
            # Something that is not Slack answered, or Slack refused: either way nobody has read the message.
            raise DeliveryError(
                f"answered 200 with “{told[:100]}” instead of “ok”",
                permanent=told in _DEAD_HOOK,
                is_ambiguous=told not in _DEAD_HOOK,
                is_gone=told in _DEAD_HOOK,
                answer=answer,
            )
        return answer
