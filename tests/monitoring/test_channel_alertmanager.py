import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring.channels.alertmanager import Alertmanager, alerts_of, label_name
from monitoring.channels.channel import DeliveryError, Notice, Outgoing, Written
from tests.monitoring.receiver import Receiver, answer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAYLOAD: dict[str, Any] = {
    "at": "2026-03-01T11:59:00Z",
    "incident_id": "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
    "state": "firing",
    "severity": "critical",
    "title": "helpfulness is below 0.8",
    "summary": "Found 5 min after it seems to have begun.",
    "effect_text": "0.7 against 0.8",
    "opened_at": "2026-03-01T11:58:00Z",
    "incident_url": "https://triage.example.org/admin/monitoring/incident/1/change/",
    "runbook_url": "https://runbooks.example.org/quality",
    "routing_labels": {"alertname": "TriageDrift", "monitor": "floor", "severity": "critical", "service": ""},
}


def message(kind: str = "trigger", **payload: Any) -> Outgoing:
    return Outgoing("msg_1", kind, PAYLOAD | payload)


def base(receiver: Receiver) -> str:
    return receiver.url.removesuffix("/hook")


def test_alertmanager_alert_has_the_published_shape(receiver: Receiver) -> None:
    receiver.script.append(answer(200))
    Alertmanager(base(receiver) + "/").send(Notice((message(),)), now=NOW)
    got = receiver.got[0]
    assert (got.method, got.path) == ("POST", "/api/v2/alerts")
    assert got.headers["content-type"] == "application/json"
    assert "authorization" not in got.headers
    assert json.loads(got.body) == [
        {
            "labels": {"alertname": "TriageDrift", "monitor": "floor", "severity": "critical"},
            "annotations": {
                "summary": "helpfulness is below 0.8",
                "description": "Found 5 min after it seems to have begun. Effect: 0.7 against 0.8.",
                "runbook_url": "https://runbooks.example.org/quality",
                "severity": "critical",
            },
            "startsAt": "2026-03-01T11:58:00.000Z",
            "endsAt": "2026-03-01T12:04:00.000Z",
            "generatorURL": PAYLOAD["incident_url"],
        }
    ]


def test_alertmanager_alert_said_again_later_ends_later_with_the_same_identity() -> None:
    (first,), (second,) = (
        alerts_of([message()], now=NOW),
        alerts_of([message(effect_text="0.6 against 0.8")], now=NOW + timedelta(minutes=1)),
    )
    assert first["labels"] == second["labels"]
    assert (first["startsAt"], second["endsAt"]) == (second["startsAt"], "2026-03-01T12:05:00.000Z")


def test_alertmanager_alert_that_is_over_ended_when_the_incident_did() -> None:
    (alert,) = alerts_of([message("resolve", resolved_at="2026-03-01T11:59:30+00:00")], now=NOW)
    assert alert["endsAt"] == "2026-03-01T11:59:30.000Z"
    assert alerts_of([message("resolve")], now=NOW)[0]["endsAt"] == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize("opened_at", [None, "", "soon", "2026-03-01T13:00:00Z", "2026-03-01T11:00:00", 7])
@pytest.mark.parametrize("kind", ["trigger", "resolve", "test"])
def test_alertmanager_alert_never_ends_before_it_starts(kind: str, opened_at: Any) -> None:
    (alert,) = alerts_of([message(kind, opened_at=opened_at, resolved_at="2026-03-01T10:00:00Z")], now=NOW)
    assert alert["startsAt"] <= alert["endsAt"]


def test_alertmanager_labels_hold_no_number_time_or_id_of_the_incident() -> None:
    (alert,) = alerts_of([message(routing_labels=None, labels={"lang": "es"}, monitor="floor")], now=NOW)
    assert alert["labels"] == {
        "alertname": "TriageOpsIncident",
        "lang": "es",
        "monitor": "floor",
        "severity": "critical",
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [("lang", "lang"), ("gen_ai.model", "gen_ai_model"), ("1st", "_1st"), ("é-x y", "__x_y"), ("a:b", "a_b")],
)
def test_label_name_holds_only_what_alertmanager_takes(name: str, found: str) -> None:
    assert label_name(name) == found


def test_alertmanager_labels_without_value_or_name_are_left_out() -> None:
    (alert,) = alerts_of([message(routing_labels={"a": "", "": "b", "c": None, "d": 7})], now=NOW)
    assert alert["labels"] == {"alertname": "TriageOpsIncident", "d": "7"}


def test_alertmanager_group_goes_in_one_call_and_the_last_word_about_an_alert_counts(
    receiver: Receiver,
) -> None:
    messages = [message(routing_labels={"alertname": "A", "n": str(number)}) for number in range(1000)]
    messages.append(message("resolve", routing_labels={"alertname": "A", "n": "3"}))
    Alertmanager(base(receiver)).send(Notice(tuple(messages)), now=NOW)
    (got,) = receiver.got
    alerts = json.loads(got.body)
    assert len(alerts) == 1000
    assert [alert["labels"]["n"] for alert in alerts if alert["endsAt"] == "2026-03-01T12:00:00.000Z"] == [
        "3"
    ]


def test_alertmanager_texts_are_cut_and_an_administrators_words_are_annotations() -> None:
    notice = Notice((message(),), Written("Wake up", "é" * 9000), complaint="")
    (alert,) = alerts_of(notice.messages, now=NOW, notice=notice)
    assert alert["annotations"]["summary"] == "Wake up"
    assert len(alert["annotations"]["description"]) == 4000
    (long,) = alerts_of([message(title="t" * 5000)], now=NOW)
    assert len(long["annotations"]["summary"]) == 4000


def test_alertmanager_test_is_an_alert_of_its_own_that_ends_soon() -> None:
    (alert,) = alerts_of([Outgoing("msg_1", "test", {"at": "2026-03-01T11:59:00Z", "title": "x"})], now=NOW)
    assert alert["labels"] == {"alertname": "TriageOpsTest", "severity": "info"}
    assert alert["endsAt"] == "2026-03-01T12:01:00.000Z"
    assert "generatorURL" not in alert


@pytest.mark.parametrize(
    ("count", "is_ambiguous", "said"), [(1, False, "refused the alert"), (2, True, "valid were taken")]
)
def test_alertmanager_that_refuses_an_alert_is_told_honestly(
    receiver: Receiver, count: int, is_ambiguous: bool, said: str
) -> None:
    receiver.script.append(answer(400, b'"bad\nlabels"'))
    messages = tuple(message(routing_labels={"n": str(number)}) for number in range(count))
    with pytest.raises(DeliveryError, match=said) as failed:
        Alertmanager(base(receiver)).send(Notice(messages), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous) == (True, is_ambiguous)
    assert '"bad labels"' in failed.value.reason


@pytest.mark.parametrize(
    ("status", "permanent"), [(401, True), (404, True), (429, False), (500, False), (503, False)]
)
def test_alertmanager_failure_is_permanent_only_where_another_try_is_useless(
    receiver: Receiver, status: int, permanent: bool
) -> None:
    receiver.script.append(answer(status))
    with pytest.raises(DeliveryError) as failed:
        Alertmanager(base(receiver)).send(Notice((message(),)), now=NOW)
    assert failed.value.permanent == permanent


@pytest.mark.parametrize(
    ("secret", "header"), [("ana:pass:word", "Basic YW5hOnBhc3M6d29yZA=="), ("token", "Bearer token")]
)
def test_alertmanager_secret_is_a_password_or_a_token(receiver: Receiver, secret: str, header: str) -> None:
    Alertmanager(base(receiver), secret).resend([message()], now=NOW)
    assert receiver.got[0].headers["authorization"] == header


def test_alertmanager_silence_is_put_and_expired(receiver: Receiver) -> None:
    silence = {
        "matchers": [{"name": "monitor", "value": "floor", "isRegex": False, "isEqual": True}],
        "startsAt": "2026-03-01T12:00:00Z",
        "endsAt": "2026-03-01T14:00:00Z",
        "createdBy": "ana",
        "comment": "rollout",
    }
    receiver.script.extend([answer(200, b'{"silenceID":"5d27-aa"}'), answer(200)])
    channel = Alertmanager(base(receiver), "token")
    assert channel.put_silence(silence, now=NOW) == "5d27-aa"
    channel.expire_silence("5d27-aa", now=NOW)
    put, expired = receiver.got
    assert (put.method, put.path, json.loads(put.body)) == ("POST", "/api/v2/silences", silence)
    assert (expired.method, expired.path, expired.body) == ("DELETE", "/api/v2/silence/5d27-aa", b"")
    assert expired.headers["authorization"] == "Bearer token"


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (500, b'"silence 5d27 already expired"'), (500, b'"silence not found"\n')],
)
def test_alertmanager_silence_that_has_ended_can_be_expired(
    receiver: Receiver, status: int, body: bytes
) -> None:
    receiver.script.append(answer(status, body))
    Alertmanager(base(receiver)).expire_silence("5d27-aa", now=NOW)
    assert len(receiver.got) == 1


def test_alertmanager_silence_whose_end_fails_is_told(receiver: Receiver) -> None:
    receiver.script.append(answer(500, b'"out of disk"'))
    with pytest.raises(DeliveryError) as failed:
        Alertmanager(base(receiver)).expire_silence("5d27-aa", now=NOW)
    assert 'answered 500 "out of disk"' in failed.value.reason


def test_alertmanager_silence_without_a_proper_id_is_not_asked_for() -> None:
    with pytest.raises(DeliveryError, match="not the id"):
        Alertmanager("https://example.org").expire_silence("../alerts", now=NOW)


@pytest.mark.parametrize(("status", "body"), [(400, b"bad matcher"), (200, b"[]"), (200, b"<html>")])
def test_alertmanager_silence_without_an_id_is_a_failure(
    receiver: Receiver, status: int, body: bytes
) -> None:
    receiver.script.append(answer(status, body))
    with pytest.raises(DeliveryError) as failed:
        Alertmanager(base(receiver)).put_silence({}, now=NOW)
    assert failed.value.permanent == (status == 400)


def test_alertmanager_settings_refuse_a_signing_secret() -> None:
    assert Alertmanager.mistakes({"url": "https://example.org", "secret": ""}) == {}
    for secret in ("whsec_abc", "é", "a\nb"):
        assert set(Alertmanager.mistakes({"url": "https://example.org", "secret": secret})) == {"secret"}
