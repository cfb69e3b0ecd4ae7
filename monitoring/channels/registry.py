"""All kinds of channels. A new one: one file, one line here, one test file, one row in docs/extending.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from monitoring.channels.alertmanager import Alertmanager
from monitoring.channels.channel import ChannelKind
from monitoring.channels.email import Email
from monitoring.channels.inbox import Inbox
from monitoring.channels.pagerduty import PagerDuty
from monitoring.channels.sink import Sink
from monitoring.channels.slack import Slack
from monitoring.channels.webhook import Webhook

KINDS: tuple[type[ChannelKind], ...] = (Webhook, Slack, PagerDuty, Alertmanager, Email, Inbox)
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
    """Which settings this kind uses: among url, secret, previous_secret and recipients."""
    return frozenset(field.name for field in dataclasses.fields(cast("Any", kind)))


def make(name: str, settings: Mapping[str, Any]) -> ChannelKind:
    """The channel, ready to send; a setting that is not there keeps the kind's default. Raises LookupError."""
    kind = kind_named(name)
    return kind(**{field: settings[field] for field in fields_of(kind) if field in settings})


def mistakes(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """What keeps a channel with these settings from sending, by the name of the setting; raises LookupError."""
    return kind_named(name).mistakes(settings)
