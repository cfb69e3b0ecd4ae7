"""All kinds of channels. A new one: one file, one line here, one test file, one row in docs/extending.md."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from monitoring.channels.channel import ChannelKind
from monitoring.channels.sink import Sink
from monitoring.channels.slack import Slack
from monitoring.channels.webhook import Webhook

KINDS: tuple[type[ChannelKind], ...] = (Webhook, Slack)
_OWN: tuple[type[ChannelKind], ...] = (Sink,)
"""Of the product itself: nobody is offered them."""


def choices() -> list[tuple[str, str]]:
    return [(kind.name, kind.title) for kind in KINDS]


def kind_named(name: str) -> type[ChannelKind]:
    """Raises LookupError: a row may outlive the kind that it was made with."""
    for kind in (*KINDS, *_OWN):
        if kind.name == name:
            return kind
    raise LookupError(f"there is no kind of channel “{name}”")


def fields_of(kind: type[ChannelKind]) -> frozenset[str]:
    """Which of `url` and `secret` this kind uses."""
    return frozenset(field.name for field in dataclasses.fields(cast("Any", kind)))


def make(name: str, *, url: str, secret: str) -> ChannelKind:
    """The channel, ready to send; raises LookupError."""
    kind = kind_named(name)
    given = {"url": url, "secret": secret}
    return kind(**{field: given[field] for field in fields_of(kind)})
