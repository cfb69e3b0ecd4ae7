"""Alertmanager's API v2 as the real one (0.25.0) answers it; what it says was read from that program."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from feedback.models import Scope
from monitoring.models import Incident, MaintenanceWindow, Silence
from monitoring.quiet import causes, silences
from monitoring.serializers.alertmanager import fingerprint
from tests.monitoring.callers import client_with
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, opened

pytestmark = pytest.mark.django_db

BASE = "/alertmanager/api/v2"


@pytest.fixture
def client() -> Client:
    return client_with(Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE)


def read(client: Client, path: str, status: int = 200) -> Any:
    answer = client.get(f"{BASE}/{path}")
    assert answer.status_code == status, answer.content
    return answer.json()


def send(client: Client, path: str, body: Any, status: int = 200) -> Any:
    answer = client.post(f"{BASE}/{path}", body, "application/json")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def body_of_silence(**changes: Any) -> dict[str, Any]:
    now = timezone.now()
    return {
        "matchers": [{"name": "monitor", "value": "helpfulness floor", "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + HOUR).isoformat(),
        "createdBy": "ada",
        "comment": "being repaired",
    } | changes


def test_fingerprint_is_that_of_the_real_one() -> None:
    # Asked of prometheus-alertmanager 0.25.0: POST these labels, GET /api/v2/alerts.
    assert fingerprint({"alertname": "x", "severity": "error", "team": "a b"}) == "9683281e3455e577"


def test_alert_has_every_field_of_the_real_one(client: Client) -> None:
    incident = opened(make_monitor(channels=(make_channel("ops"),)), now=timezone.now())
    [alert] = read(client, "alerts")
    assert set(alert) == {
        "annotations", "endsAt", "fingerprint", "receivers", "startsAt", "status", "updatedAt", "generatorURL", "labels",
    }  # fmt: skip
    assert alert["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": []}
    assert alert["receivers"] == [{"name": "ops"}]
    assert alert["labels"]["alertname"] == "helpfulness floor"
    assert alert["annotations"]["summary"] == incident.title
    assert alert["startsAt"].endswith("Z")
    assert len(alert["startsAt"]) == len("2026-11-28T06:16:44.237Z")


def test_alert_says_by_what_it_is_held_back(client: Client) -> None:
    now = timezone.now()
    monitor = make_monitor(channels=(make_channel(),))
    whole = opened(monitor, now=now - HOUR)
    part = opened(monitor, now=now, key="variant=a", labels={"variant": "a"})
    made = send(
        client, "silences", body_of_silence(matchers=[{"name": "variant", "value": "a", "isRegex": False}])
    )
    MaintenanceWindow.objects.create(name="w", starts_at=now - HOUR, ends_at=now + HOUR, created_by="bo")
    alerts = {one["labels"].get("variant", ""): one for one in read(client, "alerts")}
    assert alerts["a"]["status"]["state"] == alerts[""]["status"]["state"] == "suppressed"
    window = MaintenanceWindow.objects.get()
    assert alerts["a"]["status"]["silencedBy"] == [made["silenceID"], f"window:{window.pk}"]
    assert alerts["a"]["status"]["inhibitedBy"] == [alerts[""]["fingerprint"]]
    assert {whole.pk, part.pk} == set(Incident.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 3),
        ("active=false", 2),
        ("silenced=false", 2),
        ("inhibited=false", 2),
        ("silenced=false&inhibited=false", 1),
        ("active=true&silenced=false&inhibited=false&unprocessed=false", 1),
        ("filter=variant%3D%22a%22", 1),
        ("filter=variant%3D~%22a%7Cb%22", 2),
        ("filter=variant%3D~%22a%7Cb%22&filter=variant!%3D%22a%22", 1),
        ("filter=%7Bvariant%3D%22a%22%7D", 1),
        ("receiver=op", 0),
        ("receiver=op.*", 3),
    ],
)
def test_alerts_are_filtered_as_the_real_one_does(client: Client, query: str, count: int) -> None:
    now = timezone.now()
    monitor = make_monitor(channels=(make_channel("ops"),))
    whole = opened(monitor, now=now - HOUR)
    opened(monitor, now=now, key="variant=a", labels={"variant": "a"})
    other = make_monitor(name="other", channels=(monitor.channels.get(),))
    opened(other, now=now, key="variant=b", labels={"variant": "b"})
    assert whole.is_open
    send(client, "silences", body_of_silence(matchers=[{"name": "variant", "value": "b", "isRegex": False}]))
    assert len(read(client, f"alerts?{query}")) == count


def test_alerts_that_are_over_or_only_suspected_are_not_listed(client: Client) -> None:
    incident = opened(make_monitor(), now=timezone.now())
    Incident.objects.filter(pk=incident.pk).update(state="suspect")
    assert read(client, "alerts") == []


def test_groups_and_receivers(client: Client) -> None:
    opened(make_monitor(channels=(make_channel("ops"), make_channel("page"))), now=timezone.now())
    groups = read(client, "alerts/groups")
    assert [(one["receiver"], one["labels"], len(one["alerts"])) for one in groups] == [
        ({"name": "ops"}, {"alertname": "helpfulness floor"}, 1),
        ({"name": "page"}, {"alertname": "helpfulness floor"}, 1),
    ]
    assert read(client, "receivers") == [{"name": "ops"}, {"name": "page"}]


def test_status_has_what_clients_read(client: Client) -> None:
    make_channel('odd "name"\n')
    status = read(client, "status")
    assert status["cluster"] == {"peers": [], "status": "disabled"}
    assert status["versionInfo"]["version"] == "0.25.0"
    assert '- name: "odd \\"name\\"\\n"' in status["config"]["original"]


def test_silence_goes_through_its_life(client: Client) -> None:
    made = send(client, "silences", body_of_silence())
    [silence] = read(client, "silences")
    assert silence["id"] == made["silenceID"]
    assert silence["status"] == {"state": "active"}
    assert silence["matchers"] == [
        {"name": "monitor", "value": "helpfulness floor", "isRegex": False, "isEqual": True}
    ]
    assert set(silence) == {
        "id", "status", "updatedAt", "comment", "createdBy", "endsAt", "matchers", "startsAt",
    }  # fmt: skip
    assert read(client, f"silence/{silence['id']}") == silence
    changed = send(client, "silences", {**silence, "comment": "longer"})
    assert changed == made
    assert client.delete(f"{BASE}/silence/{silence['id']}").status_code == 200
    assert read(client, f"silence/{silence['id']}")["status"] == {"state": "expired"}
    again = client.delete(f"{BASE}/silence/{silence['id']}")
    assert (again.status_code, "already expired" in again.json()) == (400, True)


def test_silences_are_filtered_by_their_matchers_and_sorted_by_state(client: Client) -> None:
    now = timezone.now()
    ended = send(client, "silences", body_of_silence())["silenceID"]
    silences.end(ended, by="x", now=now)
    later = send(client, "silences", body_of_silence(startsAt=(now + HOUR / 2).isoformat()))["silenceID"]
    active = send(client, "silences", body_of_silence())["silenceID"]
    assert [one["id"] for one in read(client, "silences")] == [active, later, ended]
    assert read(client, "silences?filter=monitor%3D%22other%22") == []
    assert len(read(client, "silences?filter=monitor%3D~%22help.*%22")) == 3


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"comment": None}, 422, {"code": 602, "message": "comment in body is required"}),
        ({"matchers": None}, 422, {"code": 602, "message": "matchers in body is required"}),
        ({"matchers": []}, 400, "silence invalid"),
        ({"matchers": "x"}, 422, None),
        (
            {"matchers": [{"name": "team", "value": "", "isRegex": False}]},
            400,
            "must not match the empty string",
        ),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, 400, "bad matcher"),
        ({"matchers": [{"name": "a", "value": "(x+x+)+y", "isRegex": True}]}, 400, "bad matcher"),
        ({"matchers": [{"name": "a\0", "value": "b"}]}, 400, "bad matcher"),
        (
            {"startsAt": "2026-11-28T06:00:00Z", "endsAt": "2020-11-28T06:00:00Z"},
            400,
            "start time must be before end time",
        ),
        (
            {"startsAt": "2019-11-28T06:00:00Z", "endsAt": "2020-11-28T06:00:00Z"},
            400,
            "end time can't be in the past",
        ),
        ({"endsAt": "tomorrow"}, 422, None),
        ({"endsAt": "2026-13-41T99:00:00Z"}, 422, None),
        ({"id": "00000000-0000-0000-0000-000000000000"}, 404, "silence not found"),
        ({"id": "aaaa"}, 422, None),
        ({"createdBy": 7}, 422, None),
    ],
)
def test_silence_that_is_wrong_is_refused(
    client: Client, changes: dict[str, Any], status: int, said: Any
) -> None:
    answer = send(client, "silences", body_of_silence(**changes), status)
    if isinstance(said, str):
        assert isinstance(answer, str)
        assert said in answer
    elif said is not None:
        assert answer == said
    assert not Silence.objects.exists()


def test_refusals_are_texts_in_json(client: Client) -> None:
    assert isinstance(read(client, "alerts?filter=%3D%3D", 400), str)
    assert "failed to parse receiver param" in read(client, "alerts?receiver=%5B", 400)
    assert read(client, "silence/00000000-0000-0000-0000-000000000000", 404) == "silence not found"
    assert read(client, "silence/aaaa", 422)["code"] == 601
    assert isinstance(send(client, "alerts", {"no": "list"}, 400), str)
    broken = client.post(f"{BASE}/silences", "{", "application/json")
    assert (broken.status_code, isinstance(broken.json(), str)) == (400, True)


def test_caller_without_key_or_scope_is_refused_as_a_text() -> None:
    answer = Client().get(f"{BASE}/alerts")
    assert (answer.status_code, isinstance(answer.json(), str)) == (401, True)
    assert answer["WWW-Authenticate"] == "Bearer"
    reader = client_with(Scope.INCIDENTS_READ)
    send(reader, "silences", body_of_silence(), 403)
    send(reader, "alerts", [], 403)
    assert reader.delete(f"{BASE}/silence/00000000-0000-0000-0000-000000000000").status_code == 403


def test_alerts_of_prometheus_open_and_resolve(client: Client) -> None:
    now = timezone.now()
    alert = {
        "labels": {"alertname": "Down", "severity": "critical", "team": "ops"},
        "annotations": {"summary": "It is down."},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=4)).isoformat(),
        "generatorURL": "https://prometheus.example.org/graph",
    }
    send(client, "alerts", [alert])
    send(client, "alerts", [alert])
    [found] = read(client, "alerts")
    assert found["labels"] | alert["labels"] == found["labels"]
    assert Incident.objects.get().source == "prometheus"
    send(client, "alerts", [{**alert, "endsAt": (now + timedelta(seconds=1)).isoformat()}])
    send(client, "alerts", [{**alert, "endsAt": timezone.now().isoformat()}])
    assert read(client, "alerts") == []


def test_one_wrong_alert_keeps_the_others_from_nothing(client: Client) -> None:
    said = send(client, "alerts", [{"labels": {}}, {"labels": {"alertname": "Down"}}], 400)
    assert said.startswith("alert 0")
    assert Incident.objects.count() == 1


def test_silence_by_the_api_holds_back_what_opens_then(client: Client) -> None:
    send(client, "silences", body_of_silence())
    incident = opened(make_monitor(channels=(make_channel(),)), now=timezone.now())
    assert causes.of_one(incident, timezone.now())
    assert [one.status for one in incident.messages.all()] == ["suppressed"]


def test_group_too_small_to_be_named_is_not_named_here_either(client: Client) -> None:
    few = {"current": 0.7, "level": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "n": 5}
    opened(
        make_monitor(),
        key="lang=rare-tongue",
        labels={"lang": "rare-tongue"},
        effect=few,
        title="helpfulness fell for lang=rare-tongue",
        now=timezone.now(),
    )
    [alert] = read(client, "alerts")
    assert "rare-tongue" not in str(alert)
    assert "which is not named here" in alert["annotations"]["summary"]
    assert alert["fingerprint"] == fingerprint(alert["labels"])
    assert read(client, 'alerts?filter=lang="rare-tongue"') == []
    assert "rare-tongue" not in str(read(client, "alerts/groups"))
