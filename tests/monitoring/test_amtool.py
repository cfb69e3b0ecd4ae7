"""Debian's amtool 0.25 against our API, over the network."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from feedback.models import ApiKey, Scope
from monitoring.models import Silence
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import opened, told

AMTOOL = shutil.which("amtool")
IS_IN_CI = os.environ.get("CI")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        AMTOOL is None and not IS_IN_CI,
        reason="amtool is not installed: apt-get install prometheus-alertmanager",
    ),
]


class Amtool:
    def __init__(self, address: str, folder: Path) -> None:
        key = ApiKey(name="amtool", scopes=[Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE])
        secret = ApiKey.new_secret()
        key.take_secret(secret)
        key.save()
        self.config = folder / "http.yml"
        self.config.write_text(f"authorization:\n  type: Bearer\n  credentials: {secret}\n")
        self.address, self.home = f"{address}/alertmanager", folder

    def __call__(self, *arguments: str, status: int = 0) -> str:
        command = [
            AMTOOL or "amtool",
            f"--alertmanager.url={self.address}",
            f"--http.config.file={self.config}",
        ]
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "ada"}
        done = subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, env=environment, timeout=30
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output=json"))


@pytest.fixture
def amtool(live_server: LiveServer, tmp_path: Path) -> Amtool:
    return Amtool(live_server.url, tmp_path)


def test_amtool_lists_silences_and_tells_alerts(amtool: Amtool) -> None:
    monitor = make_monitor(channels=(make_channel("ops"),))
    incident = opened(monitor, now=timezone.now())
    [alert] = amtool.json("alert", "query")
    assert alert["labels"]["alertname"] == "helpfulness floor"
    assert "helpfulness floor" in amtool("alert", "query", "severity=error", "monitor=~help.*")
    assert amtool.json("alert", "query", "severity=warning") == []

    silence_id = amtool(
        "silence",
        "add",
        "monitor=helpfulness floor",
        "--author=ada",
        "--comment=being repaired",
        "--duration=2h",
    ).strip()
    [silence] = amtool.json("silence", "query")
    assert (silence["id"], silence["createdBy"], silence["comment"]) == (silence_id, "ada", "being repaired")
    assert told(incident) == [("trigger", "suppressed")]
    assert amtool.json("alert", "query") == []
    assert [one["status"]["silencedBy"] for one in amtool.json("alert", "query", "--silenced")] == [
        [silence_id]
    ]

    assert amtool("silence", "update", "--duration=3h", "--comment=longer", silence_id)
    assert Silence.objects.get().comment == "longer"
    amtool("silence", "expire", silence_id)
    assert amtool.json("silence", "query") == []
    assert [one["id"] for one in amtool.json("silence", "query", "--expired")] == [silence_id]
    assert told(incident) == [("trigger", "pending")]


def test_amtool_adds_an_alert_which_opens_an_incident(amtool: Amtool) -> None:
    amtool("alert", "add", "Down", "severity=critical", "team=ops", "--annotation=summary=It is down.")
    [alert] = amtool.json("alert", "query", "team=ops")
    assert alert["annotations"]["summary"] == "It is down."


def test_amtool_reads_the_status_and_routes(amtool: Amtool) -> None:
    make_channel("ops")
    assert "disabled" in amtool("cluster", "show")
    assert "ops" in amtool("config", "show")
    assert "ops" in amtool("config", "routes", "test", "severity=error")


def test_amtool_with_a_wrong_pattern_hears_why(amtool: Amtool) -> None:
    said = amtool("silence", "add", "monitor=~(x+x+)+y", "--comment=c", status=1)
    assert "write it without a repetition inside another" in said


def test_amtool_imports_what_it_exported(amtool: Amtool, tmp_path: Path) -> None:
    amtool("silence", "add", "monitor=a", "--comment=c")
    exported = tmp_path / "silences.json"
    exported.write_text(amtool("silence", "query", "--output=json"))
    amtool("silence", "import", "--force", str(exported))
    assert Silence.objects.count() == 2
