"""The product's own inbox: a message is read where it is stored, so that it was written is that it was delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from monitoring.channels.channel import Notice, Rate
from monitoring.outbound import Answer


@dataclass(frozen=True)
class Inbox:
    name: ClassVar[str] = "inbox"
    title: ClassVar[str] = "inbox (in this product)"
    takes: ClassVar[frozenset[str]] = frozenset({"trigger", "acknowledge", "resolve", "reminder", "test"})
    is_grouped: ClassVar[bool] = False
    rate: ClassVar[Rate] = Rate(1000.0, 1000)

    @classmethod
    def mistakes(cls, settings: Mapping[str, Any]) -> dict[str, str]:
        return {}

    def send(self, notice: Notice, *, now: datetime) -> Answer:
        return Answer(204, {}, b"")
