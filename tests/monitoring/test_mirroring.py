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
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from monitoring.models import Channel, SilenceMirror
from monitoring.outgoing import mirroring
from monitoring.quiet import silences
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.receiver import Receiver, answer
from tests.monitoring.silencing import HOUR, NOW, opened, silenced

pytestmark = pytest.mark.django_db

PROGRAM = shutil.which("prometheus-alertmanager")
RETRY = mirroring.RETRY


def channel_to(url: str, name: str = "am") -> Channel:
    return make_channel(name, kind="alertmanager", url=url, secret="")


def made(silence_id: str) -> Any:
    return answer(200, json.dumps({"silenceID": silence_id}).encode(), Content_Type="application/json")


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
    few = {"current": 0.7, "level": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 7}
    opened(make_monitor(), key="variant=rare", labels={"variant": "rare"}, effect=few)
    silenced('variant="rare"')
    assert mirroring.mirror(NOW) == 0
    assert receiver.got == []
    assert SilenceMirror.objects.get().reason == mirroring.TOO_SMALL


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
    assert {one["status"]["state"] for one in silences_at(alertmanager)} == {"active"}
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
