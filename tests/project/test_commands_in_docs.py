"""The commands that the pages show do what the pages say: they are cut out and run against the product."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feedback import authentication, definitions, rollups
from feedback.models import ALL_SCOPES, ApiKey, Feedback, QualityRecord, Response
from tests.project.tree import ROOT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
ADDRESS = "http://127.0.0.1:8000"


def marked_blocks(page: Path) -> list[str]:
    return re.findall(r"<!-- tested -->\n```sh\n(.*?)```", page.read_text(), re.DOTALL)


def run(script: str, url: str, key: str) -> list[Any]:
    """The JSON lines that the script prints; a refused call fails the script."""
    text = script.replace(ADDRESS, url)
    done = subprocess.run(
        ["sh", "-eu"], input=f"key={key}\n{text}", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def key(monkeypatch: Any) -> str:
    definitions.forget()
    monkeypatch.setitem(authentication._state, "redis_down_until", 0.0)
    secret = ApiKey.new_secret()
    row = ApiKey(name="docs", scopes=list(ALL_SCOPES))
    row.take_secret(secret)
    row.save()
    return secret


def test_readme_tour_stores_facts_and_shows_them(live_server: Any, key: str) -> None:
    sending, reading = marked_blocks(ROOT / "README.md")
    assert {line["response_id"] for line in run(sending, live_server.url, key)} == {"case-1"}
    rollups.roll_up(datetime.now(UTC))
    # Sent again, as the page says that one may.
    *_, quality, feedback, ledger = run(sending + reading, live_server.url, key)
    assert [model.objects.count() for model in (Response, QualityRecord, Feedback)] == [1, 1, 1]
    means = {line["metric"]: line["mean"] for line in quality["results"]}
    assert means == pytest.approx({"helpfulness": 0.84, "latency_seconds": 2.3})
    assert feedback["results"][0]["coverage"] == 1
    assert {(line["kind"], line["stored"], line["repeated"]) for line in ledger["results"]} == {
        ("response", 1, 1), ("quality", 1, 1), ("feedback", 1, 1),
    }  # fmt: skip


def test_api_page_facts_are_accepted_as_shown(live_server: Any, key: str) -> None:
    (block,) = marked_blocks(ROOT / "docs" / "api.md")
    assert len(run(block, live_server.url, key)) == 3
    assert Response.objects.get().attributes == {"language": "es", "channel": "web"}
    assert QualityRecord.objects.get().metrics == {"helpfulness": 0.84, "groundedness": None}
    assert Feedback.objects.get().rating == 5
