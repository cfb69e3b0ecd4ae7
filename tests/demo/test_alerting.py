"""The demo's routes, channels and reports, made over HTTP on the real product."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command

from demo import alerting
from demo.alerting import Alerting
from demo.client import Client, Outage
from demo.receiver import BUSY_EVERY, UNWELL_EVERY, Receiver
from demo.screen import Screen
from feedback import authentication
from feedback.models import ALL_SCOPES, ApiKey
from monitoring.models import (
    Channel,
    Incident,
    MaintenanceWindow,
    MessageTemplate,
    OutboxMessage,
    Route,
    Silence,
)
from monitoring.templating import texts

pytestmark = pytest.mark.django_db(transaction=True)
TEAM_URL = "http://127.0.0.1:9/services/T0/B0/demo"


@pytest.fixture
def client(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    settings.IS_DEMO, settings.OUTBOUND_ALLOW = True, ["127.0.0.0/8"]
    monkeypatch.setitem(authentication._state, "redis_down_until", 0.0)
    call_command("demo_setup", receiver="http://127.0.0.1:9/alerts", verbosity=0)
    secret = ApiKey.new_secret()
    key = ApiKey(name="demo", scopes=list(ALL_SCOPES))
    key.take_secret(secret)
    key.save()
    found = Client(live_server.url, secret, Outage(print, print))
    yield found
    found.close()


def test_template_of_the_demo_is_usable(client: Client) -> None:
    template = MessageTemplate.objects.get(name=alerting.TEMPLATE)
    assert texts.check(template.title, template.body) == []


def test_second_start_changes_the_address_only(client: Client) -> None:
    for url in (TEAM_URL, TEAM_URL.replace(":9/", ":8/")):
        Alerting(client, Screen()).make(url)
    team = Channel.objects.get(name=alerting.TEAM)
    assert (team.url, team.template is not None) == (TEAM_URL.replace(":9/", ":8/"), True)
    assert Channel.objects.count() == 3
    root = Route.objects.get(parent=None)
    assert list(root.children.values_list("name", flat=True)) == [
        route["name"] for route in alerting.ROUTES[1:]
    ]
    assert (Silence.objects.count(), MaintenanceWindow.objects.count()) == (1, 1)


def test_alerts_of_the_other_system_open_one_incident_each_and_the_silenced_one_waits(client: Client) -> None:
    played = Alerting(client, Screen())
    played.make(TEAM_URL)
    played.tick()
    played._repeat_at = 0.0
    played.tick()
    found = Incident.objects.filter(source="alertmanager")
    assert {one.labels["alertname"] for one in found} == {name for name, *_ in alerting.ALERTS}
    assert found.count() == len(alerting.ALERTS)
    held = OutboxMessage.objects.filter(status="suppressed")
    assert {one.incident.labels["alertname"] for one in held if one.incident} == {"NightlyExportLate"}


def test_probes_are_judged_once_they_were_told(client: Client) -> None:
    played = Alerting(client, Screen())
    played.make(TEAM_URL)
    played._judge_at = 0.0
    played.tick()
    judged = Incident.objects.filter(source="api")
    assert judged.filter(usefulness="useful", resolution="fixed").count() == 1
    assert judged.filter(usefulness="noise", resolution="false_positive").count() == alerting.PROBES - 1


def test_chat_is_unwell_now_and_then() -> None:
    receiver = Receiver()
    heard: list[str] = []
    receiver.open("whsec_x", lambda _: None, heard.append)
    place = urlsplit(receiver.team_url)
    answers = []
    for _ in range(8):
        connection = http.client.HTTPConnection(place.netloc, timeout=5)
        connection.request("POST", place.path, json.dumps({"text": "hello"}))
        answer = connection.getresponse()
        answers.append((answer.status, answer.read(), answer.getheader("Retry-After")))
        connection.close()
    receiver.close()
    assert answers[UNWELL_EVERY - 1][0] == 503
    assert answers[BUSY_EVERY - 1][0::2] == (429, "3")
    assert [one[1] for one in answers].count(b"ok") == len(heard) == 5
