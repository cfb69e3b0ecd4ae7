from datetime import UTC, datetime

import pytest

from monitoring.channels import registry
from monitoring.channels.channel import ChannelKind, Notice, Outgoing
from monitoring.channels.inbox import Inbox
from monitoring.channels.pagerduty import EVENTS_URL, PagerDuty
from monitoring.channels.sink import Sink

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MESSAGES = frozenset({"trigger", "acknowledge", "resolve", "reminder", "test"})
ALL: tuple[type[ChannelKind], ...] = (*registry.KINDS, Sink)


def test_registry_makes_a_channel_from_the_settings_it_uses() -> None:
    settings = {"url": "https://example.org", "secret": "s", "previous_secret": "", "recipients": "a@x.org"}
    for name, _ in registry.choices():
        made = registry.make(name, settings)
        assert made.name == name
        for field in registry.fields_of(type(made)):
            assert getattr(made, field) == settings[field]


def test_registry_leaves_what_is_not_given_at_its_default() -> None:
    assert registry.make("pagerduty", {"secret": "s"}) == PagerDuty("s", EVENTS_URL)
    assert registry.make("sink", {}) == Sink()


def test_registry_does_not_know_a_kind_that_is_gone() -> None:
    with pytest.raises(LookupError, match="pigeon"):
        registry.make("pigeon", {})
    with pytest.raises(LookupError):
        registry.mistakes("pigeon", {})


def test_registry_offers_each_kind_once_and_every_kind_keeps_the_rules() -> None:
    names = [name for name, _ in registry.choices()]
    assert len(names) == len(set(names))
    assert "sink" not in names
    for kind in ALL:
        assert {"trigger", "resolve"} <= kind.takes <= MESSAGES
        assert kind.rate.per_second > 0
        assert kind.rate.burst >= 1
        assert registry.fields_of(kind) <= {"url", "secret", "previous_secret", "recipients"}


def test_registry_tells_what_is_wrong_with_settings_only_of_fields_that_the_kind_has() -> None:
    for kind in ALL:
        found = registry.mistakes(kind.name, {})
        assert set(found) <= registry.fields_of(kind)
        assert bool(found) == bool(registry.fields_of(kind))


@pytest.mark.parametrize("channel", [Inbox(), Sink()])
def test_channel_within_the_product_always_delivers(channel: Inbox | Sink) -> None:
    assert channel.send(Notice((Outgoing("msg_1", "trigger", {}),)), now=NOW).status == 204
