"""Where the canary's planted incidents go: taken, and told to nobody. That the message was delivered is all it is for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from monitoring.channels.channel import Outgoing
from monitoring.outbound import Answer


@dataclass(frozen=True)
class Sink:
    name: ClassVar[str] = "sink"
    title: ClassVar[str] = "receipt only (self-test)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "resolve"})

    def send(self, message: Outgoing, *, now: datetime) -> Answer:
        return Answer(204, {}, b"")
