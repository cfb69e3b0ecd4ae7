"""Several workers at once, and workers that are killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection, connections

from monitoring import checks, incidents
from monitoring.models import (
    DriftEvaluation,
    Incident,
    IncidentEvent,
    MessageKind,
    MessageStatus,
    Monitor,
    MonitorSlice,
    OutboxMessage,
    Resolution,
)
from monitoring.notifying import messages
from monitoring.outgoing import delivery
from tests.monitoring.factories import (
    add_bucket,
    bucket_at,
    close,
    make_channel,
    make_incident,
    make_monitor,
    now_after,
)
from tests.monitoring.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]


def at_once(work: Callable[[], object], count: int = 4) -> None:
    """Run `work` in several threads that begin together; errors of theirs are errors of the test."""
    start, errors = threading.Barrier(count), []

    def run() -> None:
        try:
            start.wait(10)
            work()
        except Exception as error:  # noqa: BLE001 - told to the test below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_checks_of_several_schedulers_at_once_use_each_bucket_once() -> None:
    channel = make_channel()
    for number in range(5):
        make_monitor(name=f"m{number}", channels=(channel,))
    for number in range(30):
        add_bucket(number, 0.85 if number < 20 else 0.5)
    for last in (9, 24, 29):
        close(last)
        at_once(lambda last=last: checks.run_due(now_after(last)))  # type: ignore[misc]
    assert not Monitor.objects.exclude(check_error="").exists()
    assert set(Monitor.objects.values_list("watermark_at", flat=True)) == {bucket_at(30)}
    for place in MonitorSlice.objects.all():
        assert list(place.evaluations.values_list("bucket_at", flat=True)) == [
            bucket_at(n) for n in range(30)
        ]
    assert Incident.objects.count() == 5
    assert OutboxMessage.objects.count() == 5


def test_messages_with_several_workers_at_once_are_each_sent_once(receiver: Receiver) -> None:
    channels = [make_channel(f"c{number}", url=receiver.url) for number in range(6)]
    for number in range(4):
        incident = make_incident(make_monitor(name=f"m{number}", channels=tuple(channels)))
        messages.enqueue(incident, MessageKind.TRIGGER, now=bucket_at(2))
    at_once(lambda: delivery.deliver_due(lambda: datetime(2026, 3, 1, 14, 0, tzinfo=UTC)), count=3)
    assert len(receiver.got) == 24
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 24
    assert set(OutboxMessage.objects.values_list("status", flat=True)) == {MessageStatus.DELIVERED}


def test_resolving_by_several_people_at_once_happens_once(admin_user: object) -> None:
    incident = make_incident(make_monitor(channels=(make_channel(),)))
    messages.enqueue(incident, MessageKind.TRIGGER, now=bucket_at(2))
    at_once(lambda: incidents.resolve(incident.pk, Resolution.FIXED, by=admin_user, now=bucket_at(3)))  # type: ignore[arg-type]
    assert list(IncidentEvent.objects.values_list("kind", flat=True)) == ["resolved"]
    assert OutboxMessage.objects.filter(kind=MessageKind.RESOLVE).count() == 1


WORKER = """
import sys, time, django
django.setup()
from datetime import datetime
from monitoring import checks
from monitoring.notifying import messages
enqueue = messages.enqueue
def stuck(*args, **kwargs):
    enqueue(*args, **kwargs)
    print("in the middle", flush=True)
    time.sleep(60)
messages.enqueue = stuck
checks.run_due(datetime.fromisoformat(sys.argv[1]))
"""


def test_check_of_a_worker_killed_in_the_middle_is_done_by_the_next_one_whole() -> None:
    make_monitor(channels=(make_channel(),))
    for number in range(6):
        add_bucket(number, 0.5)
    close(5)
    now = now_after(5)
    found = connection.settings_dict
    host = quote(str(found["HOST"]), safe="")
    url = f"postgresql://{found['USER']}:{quote(found['PASSWORD'])}@{host}:{found['PORT'] or 5432}/{found['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, now.isoformat()], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    with worker.stdout:
        assert worker.stdout.readline() == "in the middle\n"
        # While it lives, nobody else touches the monitor.
        assert checks.run_due(now) == 0
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    everything = (DriftEvaluation, Incident, IncidentEvent, OutboxMessage)
    assert [model.objects.count() for model in everything] == [0, 0, 0, 0]
    for _ in range(100):
        # PostgreSQL needs a moment to notice that the other end is gone.
        if checks.run_due(now):
            break
        threading.Event().wait(0.05)
    assert [model.objects.count() for model in everything] == [6, 1, 1, 1]
