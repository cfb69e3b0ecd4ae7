"""Our silences in a real Alertmanager 0.25, and what happens when it cannot be reached."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from monitoring.channels.alertmanager import Alertmanager
from monitoring.models import Channel, ChannelHealth, Silence, SilenceMirror
from monitoring.outgoing import mirroring
from monitoring.quiet import silences, waking
from monitoring.routing.matchers import as_text
from monitoring.tasks import mirror_silences
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.silencing import HOUR, NOW, opened, over, silenced

pytestmark = pytest.mark.django_db

PROGRAM = shutil.which("prometheus-alertmanager")
RETRY = mirroring.RETRY + timedelta(seconds=1)
FEW = {"current": 0.7, "level": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 7}


def channel_to(url: str, name: str = "am") -> Channel:
    return make_channel(name, kind="alertmanager", url=url, secret="")


def made(silence_id: str) -> Any:
    return answer(200, json.dumps({"silenceID": silence_id}).encode(), Content_Type="application/json")


def test_silence_of_one_incident_is_not_mirrored_and_says_why(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    incident = opened(make_monitor())
    silenced(str(silences.exactly(incident)[0]))
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.OF_ONE


def test_silence_is_made_once_and_told_again_when_it_changes(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    silence = silenced('monitor="x", slice.part=~"a|b"')
    receiver.script.extend([made("one"), made("one")])
    assert mirroring.mirror(NOW) == 1
    assert mirroring.mirror(NOW + RETRY) == 0
    [got] = receiver.got
    assert got.path == "/api/v2/silences"
    body = json.loads(got.body)
    assert "id" not in body
    assert body["matchers"] == [
        {"name": "monitor", "value": "x", "isRegex": False, "isEqual": True},
        {"name": "slice_part", "value": "a|b", "isRegex": True, "isEqual": True},
    ]
    assert body["createdBy"] == "ada"
    assert "being repaired" not in body["comment"]
    silences.change(
        silence.pk,
        silences.matchers_of(silence),
        starts_at=silence.starts_at,
        ends_at=NOW + 5 * HOUR,
        comment="c",
        created_by="bo",
        now=NOW + HOUR,
    )
    assert mirroring.mirror(NOW + HOUR) == 1
    assert json.loads(receiver.got[-1].body)["id"] == "one"


def test_what_is_not_reached_is_tried_again_and_its_reason_kept(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    silenced()
    receiver.script.extend([answer(503, b"busy"), made("one")])
    assert mirroring.mirror(NOW) == 0
    row = SilenceMirror.objects.get()
    assert "503" in row.reason
    assert mirroring.mirror(NOW + timedelta(seconds=1)) == 0
    assert len(receiver.got) == 1
    assert mirroring.mirror(NOW + RETRY) == 1
    row.refresh_from_db()
    assert (row.reason, row.remote_id) == ("", "one")


def test_alertmanager_that_is_down_is_asked_once_in_a_sweep(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    for _ in range(3):
        silenced()
    receiver.script.extend([answer(500)] * 3)
    mirroring.mirror(NOW)
    assert len(receiver.got) == 1


def test_ended_silence_that_was_never_told_is_not_told(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    silence = silenced()
    receiver.script.append(answer(500))
    mirroring.mirror(NOW)
    silences.end(silence.pk, by="bo", now=NOW + HOUR)
    mirroring.mirror(NOW + HOUR)
    mirroring.mirror(NOW + 2 * HOUR)
    assert len(receiver.got) == 1
    assert SilenceMirror.objects.get().reason == ""


def test_group_too_small_to_be_named_is_not_named_there(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    opened(make_monitor(), key="variant=rare", labels={"variant": "rare"}, effect=FEW)
    silenced('variant="rare"')
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.TOO_SMALL


@pytest.mark.parametrize(
    "text",
    ['variant=~"rare|nothing"', 'variant!="rare"', 'variant!~"ra.*"', 'severity="error", variant="rare"'],
)
def test_group_too_small_to_be_named_is_named_by_no_pattern_and_not_when_it_is_over(
    receiver: Receiver, text: str
) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    incident = opened(make_monitor(), key="variant=rare", labels={"variant": "rare"}, effect=FEW)
    over(incident, now=NOW)
    silenced(f'metric="helpfulness", {text}', now=NOW)
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.TOO_SMALL


@pytest.mark.parametrize("text", ['variant=~".+"', 'variant!="common"', 'variant=~"common|b"', 'model="gpt"'])
def test_silence_that_says_nothing_of_the_small_group_is_told(receiver: Receiver, text: str) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    monitor = make_monitor()
    opened(monitor, key="model=gpt,variant=rare", labels={"variant": "rare", "model": "gpt"}, effect=FEW)
    opened(monitor, key="model=gpt,variant=common", labels={"variant": "common", "model": "gpt"})
    silenced(f'metric="helpfulness", {text}')
    receiver.script.append(made("one"))
    assert mirroring.mirror(NOW) == 1


def test_silence_of_one_incident_is_not_told(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    incident = opened(make_monitor())
    silenced(as_text(silences.exactly(incident)))
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.OF_ONE


def test_silence_that_cannot_be_read_keeps_no_other_from_being_told(receiver: Receiver) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    broken = silenced()
    Silence.objects.filter(pk=broken.pk).update(matchers=[{"name": "a", "value": "(", "isRegex": True}])
    silenced()
    receiver.script.append(made("one"))
    assert mirroring.mirror(NOW) == 1
    assert "cannot be read" in SilenceMirror.objects.get(silence=broken).reason


def test_channel_that_rests_is_left_alone_and_then_probed(receiver: Receiver) -> None:
    channel = channel_to(f"http://127.0.0.1:{receiver.port}")
    silenced()
    health = ChannelHealth.objects.create(channel=channel, failure_count=5, closed_until=NOW + RETRY)
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.RESTS
    receiver.script.append(made("one"))
    assert mirroring.mirror(NOW + RETRY) == 1
    health.refresh_from_db()
    assert (health.failure_count, health.closed_until, health.busy_until) == (0, None, None)


def test_failure_counts_for_the_channel_as_that_of_a_message_does(receiver: Receiver) -> None:
    channel = channel_to(f"http://127.0.0.1:{receiver.port}")
    silenced()
    receiver.script.extend([answer(503)] * 5)
    for number in range(5):
        mirroring.mirror(NOW + number * RETRY)
    health = ChannelHealth.objects.get(channel=channel)
    assert (health.failure_count, health.closed_until is not None) == (5, True)


def test_channel_whose_call_is_under_way_is_not_called_beside_it(receiver: Receiver) -> None:
    channel = channel_to(f"http://127.0.0.1:{receiver.port}")
    silenced()
    ChannelHealth.objects.create(channel=channel, busy_until=NOW + timedelta(seconds=20))
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    receiver.script.append(made("one"))
    assert mirroring.mirror(NOW + timedelta(seconds=30)) == 1


def test_row_that_another_worker_has_is_left_to_it_until_its_lease_ends(receiver: Receiver) -> None:
    channel = channel_to(f"http://127.0.0.1:{receiver.port}")
    silence = silenced()
    SilenceMirror.objects.create(silence=silence, channel=channel, tried_at=NOW, reason=mirroring.UNDER_WAY)
    receiver.script.append(made("one"))
    assert mirroring.mirror(NOW + timedelta(seconds=30)) == 0
    assert mirroring.mirror(NOW + RETRY) == 1


def test_silence_that_is_changed_while_it_is_told_is_told_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel_to(f"http://127.0.0.1:{receiver.port}")
    silence = silenced()
    put = Alertmanager.put_silence

    def changed_meanwhile(self: Alertmanager, shape: Any, *, now: datetime) -> str:
        Silence.objects.filter(pk=silence.pk).update(updated_at=NOW + timedelta(seconds=1))
        return put(self, shape, now=now)

    monkeypatch.setattr(Alertmanager, "put_silence", changed_meanwhile)
    receiver.script.extend([made("one"), made("one")])
    assert mirroring.mirror(NOW) == 1
    monkeypatch.undo()
    assert mirroring.mirror(NOW + timedelta(seconds=2)) == 1
    assert json.loads(receiver.got[-1].body)["id"] == "one"


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_an_alertmanager_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    channel_to("http://127.0.0.1:9")
    silenced()
    seen = []

    def put(_self: Alertmanager, _shape: Any, *, now: datetime) -> str:
        seen.append((connection.in_atomic_block, now))
        return "one"

    monkeypatch.setattr(Alertmanager, "put_silence", put)
    assert mirroring.mirror(NOW) == 1
    assert [is_open for is_open, _ in seen] == [False]
    assert SilenceMirror.objects.get().remote_id == "one"


def test_worker_is_woken_after_the_commit_of_each_change_if_there_is_somebody_to_tell(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[str] = []

    class Woken:
        def __init__(self, name: str) -> None:
            self.name = name

        def delay(self) -> None:
            woken.append(self.name)

    monkeypatch.setattr(waking, "signature", Woken)
    with django_capture_on_commit_callbacks(execute=True):
        silence = silenced()
    assert woken == []
    channel_to("https://alerts.example.org")
    values = {"ends_at": NOW + 5 * HOUR, "comment": "c", "created_by": "bo", "now": NOW}
    matchers = silences.matchers_of(silence)
    with django_capture_on_commit_callbacks(execute=True):
        silences.change(silence.pk, matchers, starts_at=silence.starts_at, **values)  # type: ignore[arg-type]
    with django_capture_on_commit_callbacks(execute=True):
        silences.end(silence.pk, by="bo", now=NOW)
    assert woken == ["monitoring.tasks.mirror_silences"] * 2
    assert mirror_silences.name == woken[0]


def test_without_an_alertmanager_nothing_is_kept() -> None:
    make_channel()
    silenced()
    assert mirroring.mirror(NOW) == 0
    assert not SilenceMirror.objects.exists()


@pytest.fixture
def alertmanager(tmp_path: Path, settings: Settings) -> Iterator[str]:
    """The real one, on a port of its own."""
    if PROGRAM is None and not os.environ.get("CI"):
        pytest.skip("Alertmanager is not installed: apt-get install prometheus-alertmanager")
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    config = tmp_path / "alertmanager.yml"
    config.write_text("route:\n  receiver: none\nreceivers:\n- name: none\n")
    command = [
        PROGRAM or "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
    ]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                pytest.fail("the Alertmanager did not start")
            time.sleep(0.05)
        else:
            return


def silences_at(url: str) -> list[Any]:
    with urllib.request.urlopen(f"{url}/api/v2/silences", timeout=5) as got:
        found: list[Any] = json.loads(got.read())
    return found


def test_real_alertmanager_takes_changes_and_ends_our_silences(alertmanager: str) -> None:
    channel_to(alertmanager)
    now = timezone.now()
    silence = silenced('monitor="helpfulness floor", variant=~"a|b"', now=now)
    assert mirroring.mirror(now) == 1
    [there] = silences_at(alertmanager)
    assert there["status"]["state"] == "active"
    assert {one["name"] for one in there["matchers"]} == {"monitor", "variant"}
    silences.change(
        silence.pk,
        silences.matchers_of(silence),
        starts_at=silence.starts_at,
        ends_at=now + 5 * HOUR,
        comment="c",
        created_by="bo",
        now=now + timedelta(seconds=1),
    )
    assert mirroring.mirror(now + timedelta(seconds=2)) == 1
    # Where the first call came in a later second than it was made, Alertmanager ends that one and makes another.
    assert [one["status"]["state"] for one in silences_at(alertmanager)].count("active") == 1
    silences.end(silence.pk, by="bo", now=now + timedelta(seconds=3))
    assert mirroring.mirror(now + timedelta(seconds=4)) == 1
    assert {one["status"]["state"] for one in silences_at(alertmanager)} == {"expired"}
    row = SilenceMirror.objects.get()
    assert row.reason == ""
    assert mirroring.mirror(now + RETRY) == 0


def test_silence_that_ended_there_by_itself_is_no_error(alertmanager: str) -> None:
    channel_to(alertmanager)
    now = timezone.now()
    silence = silenced('monitor="x"', now=now)
    mirroring.mirror(now)
    row = SilenceMirror.objects.get()
    url = f"{alertmanager}/api/v2/silence/{row.remote_id}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=5).close()
    silences.end(silence.pk, by="bo", now=now + timedelta(seconds=1))
    assert mirroring.mirror(now + timedelta(seconds=2)) == 1
    assert SilenceMirror.objects.get().reason == ""
