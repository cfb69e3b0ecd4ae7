from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.monitoring.receiver import Receiver, running_receiver


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """A receiver that the deployment allows."""
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    with running_receiver() as found:
        yield found
