from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.core.cache import cache
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring import tasks
from monitoring.models import MessageKind, Monitor, OutboxMessage
from monitoring.notifying import messages
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


def test_many_commits_need_one_wake_up_until_a_worker_takes_it(
    wakes: list[str], django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        for _ in range(100):
            tasks.wake_delivery()
    assert wakes == ["woken"]
    tasks.deliver_due()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        tasks.wake_delivery()
    assert wakes == ["woken", "woken"]


def test_wake_delivery_without_redis_is_no_error(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    def fail(*_: object) -> None:
        raise redis.ConnectionError("no redis")

    monkeypatch.setattr(cache, "add", fail)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        tasks.wake_delivery()


def test_deliver_due_comes_back_when_the_next_message_is_due(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[float] = []
    monkeypatch.setattr(tasks.deliver_due, "apply_async", lambda *, countdown: later.append(countdown))
    message = messages.enqueue_test(make_channel(url=receiver.url), now=timezone.now())
    OutboxMessage.objects.update(not_before=message.not_before + timedelta(seconds=8))
    assert tasks.deliver_due() == 0
    tasks.deliver_due()
    assert len(later) in {1, 2}, "one for each second, of which two may have passed"
    assert 6 < later[0] <= 8
    OutboxMessage.objects.update(not_before=message.not_before + timedelta(seconds=80))
    later.clear()
    tasks.deliver_due()
    assert later == [], "the sweep is soon enough"


def test_tend_alerts_does_the_other_parts_when_one_fails(
    wakes: list[str],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., object],
) -> None:
    done: list[str] = []
    monkeypatch.setattr("monitoring.incidents.tend", lambda now: 1 / 0)

    def remind(now: object) -> int:
        done.append("reminders")
        return 3

    monkeypatch.setattr("monitoring.outgoing.reminding.reminders", remind)
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(ZeroDivisionError):  # type: ignore[attr-defined]
        tasks.tend_alerts()
    assert done == ["reminders"]
    assert wakes == ["woken"]


def test_resend_alerts_and_audit_deliveries_say_how_many(wakes: list[str]) -> None:
    assert tasks.resend_alerts() == 0
    make_incident(make_monitor())
    assert tasks.audit_deliveries() == 1
