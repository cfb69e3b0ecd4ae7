import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from demo import history, service
from demo.client import Client, Outage
from demo.screen import Screen
from demo.service import Arm
from feedback import authentication, definitions, rollups
from feedback.decoding import MAX_BYTES, MAX_ITEMS
from feedback.models import ALL_SCOPES, ApiKey, Feedback, LedgerEntry, QualityRecord, Response

BEGAN_AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


class Interrupted(Exception):
    """The demo was stopped in the middle."""


def visits() -> list[tuple[datetime, str]]:
    return [visit for stretch in history.stretches(BEGAN_AT) for visit in stretch.visits]


def test_history_is_the_same_at_each_start() -> None:
    assert history.stretches(BEGAN_AT) == history.stretches(BEGAN_AT)


def test_history_fills_the_two_weeks_and_nothing_else() -> None:
    times = [at for at, _ in visits()]
    assert min(times) >= BEGAN_AT
    assert BEGAN_AT + history.LENGTH >= max(times) > BEGAN_AT + history.LENGTH * 0.999


def test_history_has_about_a_thousand_answers_a_day_and_fewer_at_night() -> None:
    pilot = [at for stretch in history.stretches(BEGAN_AT)[:14] for at, _ in stretch.visits]
    assert len(pilot) / 14 == pytest.approx(1_000, rel=0.05)
    by_day, by_night = (sum(at.hour in hours for at in pilot) for hours in (range(12, 18), range(6)))
    assert by_day > 3 * by_night


def test_history_opens_up_without_a_jump_to_the_live_rate() -> None:
    last_minutes = history.stretches(BEGAN_AT)[-1].visits
    seconds = (last_minutes[-1][0] - last_minutes[0][0]).total_seconds()
    assert len(last_minutes) / seconds == pytest.approx(5, abs=0.5)


def test_history_goes_over_in_calls_that_the_api_takes_and_uses_no_id_twice() -> None:
    arms = {unit: Arm("gpt-4", "gpt-4") for _, unit in visits()}
    ids: list[str] = []
    for stretch in history.stretches(BEGAN_AT):
        responses = [case.response for case in stretch.cases(arms)]
        assert len(responses) <= MAX_ITEMS
        assert len(json.dumps(responses)) < MAX_BYTES
        ids += [response["response_id"] for response in responses]
    assert len(set(ids)) == len(ids)


@pytest.fixture
def small(monkeypatch: Any) -> None:
    monkeypatch.setattr(history, "LENGTH", timedelta(days=3))
    monkeypatch.setattr(history, "A_DAY", 50)
    monkeypatch.setattr(history, "OPENING_PARTS", 2)
    monkeypatch.setattr(history, "OPENING", timedelta(minutes=1))
    monkeypatch.setattr(history, "PATIENTS", 20)


@pytest.fixture
def client(live_server: Any, settings: Any, monkeypatch: Any) -> Iterator[Client]:
    settings.IS_DEMO = True
    definitions.forget()
    monkeypatch.setitem(authentication._state, "redis_down_until", 0.0)
    call_command("demo_setup", receiver="http://127.0.0.1:9/alerts", verbosity=0)
    secret = ApiKey.new_secret()
    key = ApiKey(name="demo", scopes=list(ALL_SCOPES))
    key.take_secret(secret)
    key.save()
    found = Client(live_server.url, secret, Outage(print, print))
    yield found
    found.close()


def began_at(client: Client) -> datetime:
    return datetime.fromisoformat(client.call("GET", f"/experiments/{service.EXPERIMENT}")["started_at"])


@pytest.mark.django_db(transaction=True)
def test_history_sent_twice_is_stored_once(small: None, client: Client) -> None:
    start = began_at(client)
    sent = history.send(client, Screen(), {}, start)
    assert sent == Response.objects.count() > 100
    assert QualityRecord.objects.filter(evaluator_kind="llm_judge").count() > 0.9 * sent
    assert Feedback.objects.exists()
    rollups.roll_up(datetime.now(UTC))
    history.wait_until_counted(client, Screen(), start)
    received = sum(entry.received_count for entry in LedgerEntry.objects.all())
    assert history.send(client, Screen(), {}, start) == 0
    assert sum(entry.received_count for entry in LedgerEntry.objects.all()) == received


@pytest.mark.django_db(transaction=True)
def test_history_interrupted_goes_on_without_doubles(small: None, client: Client, monkeypatch: Any) -> None:
    start, calls, post = began_at(client), 0, history._post

    def interrupted(*given: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise Interrupted
        post(*given)

    monkeypatch.setattr(history, "_post", interrupted)
    with pytest.raises(Interrupted):
        history.send(client, Screen(), {}, start)
    stored = Response.objects.count()
    monkeypatch.setattr(history, "_post", post)
    sent = history.send(client, Screen(), {}, start)
    whole = sum(len(stretch.visits) for stretch in history.stretches(start))
    assert 0 < stored < whole
    assert sent < whole
    assert Response.objects.count() == whole
    assert not LedgerEntry.objects.filter(rejected_count__gt=0).exists()
