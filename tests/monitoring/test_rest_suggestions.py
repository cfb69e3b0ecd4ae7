"""REST and the command: monitors that are suggested, and taken."""

import io
import json
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from feedback.models import Scope
from monitoring import suggestions
from monitoring.candidates import Suggestion
from monitoring.models import Monitor
from tests.monitoring.callers import client_with, get, post, writer
from tests.monitoring.factories import make_metric

pytestmark = pytest.mark.django_db

DRIFT = Suggestion("one", "Helpfulness", "It matters.", {"metric": "helpfulness", "kind": "distribution"})
BLOCKED = Suggestion("two", "Tone", "", {"metric": "tone"}, blocked="Classify the metric first.")


@pytest.fixture(autouse=True)
def proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    make_metric()

    def propose(now: datetime) -> list[Suggestion]:
        return [DRIFT, BLOCKED]

    def create(keys: Any, *, by: User | None, now: datetime) -> list[Monitor]:
        return [Monitor.objects.create(name=DRIFT.name, **DRIFT.settings) for key in keys if key == DRIFT.key]

    monkeypatch.setattr(suggestions, "propose", propose)
    monkeypatch.setattr(suggestions, "create", create)


def test_suggestions_say_why_and_what_has_to_be_done_first() -> None:
    first, second = get(writer(), "suggestions")["results"]
    assert (first["key"], first["why"], first["settings"]) == ("one", "It matters.", DRIFT.settings)
    assert (first["blocked"], second["blocked"]) == ("", "Classify the metric first.")
    assert first["preview"] == {"points": [], "mean": None, "n": 0}


def test_suggestion_that_is_taken_becomes_a_monitor() -> None:
    [row] = post(writer(), "suggestions", {"keys": ["one"]}, 201)["results"]
    assert (row["name"], row["kind"], row["state"]) == ("Helpfulness", "distribution", "learning")
    assert Monitor.objects.get().pk == row["id"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"keys": ["one", "three"]}, 400, "keys"),
        ({"keys": ["one", "two"]}, 409, "keys"),
        ({"keys": []}, 400, "keys"),
        ({"keys": "one"}, 400, "keys"),
        ({"keys": [1]}, 400, "keys.0"),
        ({"key": ["one"]}, 400, "key"),
        ({}, 400, "keys"),
    ],
)
def test_suggestion_that_cannot_be_taken_makes_nothing(body: Any, status: int, field: str) -> None:
    assert post(writer(), "suggestions", body, status)["field"] == field
    assert not Monitor.objects.exists()


def test_suggestions_need_their_scopes() -> None:
    post(client_with(Scope.INCIDENTS_READ), "suggestions", {"keys": ["one"]}, 403)
    get(client_with(Scope.MONITORS_WRITE), "suggestions", 403)


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("monitors", "suggest", *words, stdout=out)
    return out.getvalue()


def test_command_shows_suggestions_and_takes_them() -> None:
    assert "Classify the metric first." in said()
    assert [row["key"] for row in json.loads(said("--json"))] == ["one", "two"]
    assert [row["name"] for row in json.loads(said("one", "--json"))] == ["Helpfulness"]
    with pytest.raises(CommandError, match="not suggested") as refused:
        said("three")
    assert refused.value.returncode == 2
