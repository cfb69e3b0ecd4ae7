from collections.abc import Iterator

import pytest
from django.core.cache import cache
from pytest_django import Settings

from tests.monitoring.receiver import Receiver, _Server, running_receiver


@pytest.fixture
def receiver(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the deployment allows, and that takes as many connections at once as several workers make."""
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(_Server, "request_queue_size", 128)
    with running_receiver() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_wake_up_waits() -> None:
    """No worker takes the wake-ups that tests send, and while one waits no other is sent."""
    cache.delete("delivery-woken")
