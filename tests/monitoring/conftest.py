from collections.abc import Iterator

import pytest
from django.core.cache import cache
from pytest_django import Settings

from tests.monitoring.receiver import Receiver, running_receiver


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """A receiver that the deployment allows."""
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    with running_receiver() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_wake_up_waits() -> None:
    """No worker takes the wake-ups that tests send, and while one waits no other is sent."""
    cache.delete("delivery-woken")
