from collections.abc import Callable

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring import messages, tasks
from monitoring.models import MessageKind, Monitor, OutboxMessage
from tests.monitoring.factories import add_bucket, close, make_channel, make_incident, make_monitor
from tests.monitoring.receiver import Receiver
from triageops.observability.metrics import exported

pytestmark = pytest.mark.django_db


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


def test_run_checks_says_how_many_buckets_it_saw_and_wakes_delivery_only_when_there_is_something_to_send(
    wakes: list[str], django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    make_monitor(channels=(make_channel(),))
    add_bucket(0, 0.85)
    close(0)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        assert tasks.run_checks() == 1
    assert wakes == []
    Monitor.objects.update(due_at=timezone.now())
    add_bucket(1, 0.2)
    close(1)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        assert tasks.run_checks() == 1
    assert wakes == ["woken"]


def test_deliver_due_says_how_many_attempts_it_made(receiver: Receiver) -> None:
    messages.enqueue_test(make_channel(url=receiver.url), now=timezone.now())
    assert tasks.deliver_due() == 1
    assert OutboxMessage.objects.get().status == "delivered"


def test_wake_delivery_without_a_broker_is_no_error(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    def fail() -> None:
        raise OperationalError("no broker")

    monkeypatch.setattr(tasks.deliver_due, "delay", fail)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        tasks.wake_delivery()


def test_metrics_page_has_open_incidents_and_waiting_messages() -> None:
    incident = make_incident(make_monitor(channels=(make_channel(),)))
    messages.enqueue(incident, MessageKind.TRIGGER, now=timezone.now())
    shown = exported()[0].decode()
    assert 'triageops_incidents_open{severity="error"} 1.0' in shown
    assert 'triageops_incidents_open{severity="critical"} 0.0' in shown
    assert "triageops_messages_waiting 1.0" in shown
