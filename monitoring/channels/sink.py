"""Where the canary's planted incidents go: taken, and told to nobody. That the message was delivered is all it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from monitoring.channels.channel import Notice, Rate
from monitoring.outbound import Answer


@dataclass(frozen=True)
class Sink:
    name: ClassVar[str] = "sink"
    title: ClassVar[str] = "receipt only (self-test)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve"})
    is_grouped: ClassVar[bool] = False
    rate: ClassVar[Rate] = Rate(1000.0, 1000)

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        return {}

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        return Answer(204, {}, b"")
