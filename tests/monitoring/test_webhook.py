import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from monitoring.channels.channel import DeliveryError, Notice, Outgoing, refuse_failure, retry_after_seconds
from monitoring.channels.webhook import BODY_MAX, InvalidSecret, Webhook, key_of, new_secret, signature
from monitoring.outbound import ANSWER_MAX, Answer
from tests.monitoring.receiver import Receiver, answer, break_off

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MESSAGE = Outgoing(
    "msg_1", "trigger", {"at": "2026-03-01T11:59:00Z", "title": "“x” fell", "effect": {"n": 40}}
)
NOTICE = Notice((MESSAGE,))


def test_signature_of_the_published_vector_is_the_published_one() -> None:
    found = signature(
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_webhook_message_is_accepted_by_the_standards_own_package(receiver: Receiver) -> None:
    secret = new_secret()
    now = datetime.now(UTC)
    Webhook(receiver.url, secret).send(NOTICE, now=now)
    got = receiver.got[0]
    assert Verifier(secret).verify(got.body, got.headers) == {
        "type": "incident.opened",
        "timestamp": "2026-03-01T11:59:00Z",
        "data": {"title": "“x” fell", "effect": {"n": 40}},
    }
    assert got.headers["webhook-id"] == "msg_1"
    assert got.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert got.headers["content-type"] == "application/json"


def test_webhook_attempts_send_the_same_id_and_body(receiver: Receiver) -> None:
    channel = Webhook(receiver.url, new_secret())
    channel.send(NOTICE, now=NOW)
    channel.send(NOTICE, now=NOW + timedelta(hours=3))
    first, second = receiver.got
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_new_secret_is_new_and_long_enough() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(key_of(secret)) for secret in secrets} == {32}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64", "whsec_" + "A" * 100])
def test_key_of_a_bad_secret_is_refused(secret: str) -> None:
    with pytest.raises(InvalidSecret):
        key_of(secret)


@pytest.mark.parametrize(
    ("status", "permanent", "is_gone"),
    [
        (301, False, False),
        (400, True, False),
        (401, True, False),
        (403, True, False),
        (404, True, False),
        (408, False, False),
        (410, True, True),
        (422, True, False),
        (425, False, False),
        (429, False, False),
        (500, False, False),
        (503, False, False),
    ],
)
def test_webhook_failure_is_permanent_only_where_another_try_is_useless(
    receiver: Receiver, status: int, permanent: bool, is_gone: bool
) -> None:
    receiver.script.append(answer(status, b"why"))
    with pytest.raises(DeliveryError, match=str(status)) as failed:
        Webhook(receiver.url, new_secret()).send(NOTICE, now=NOW)
    assert (failed.value.permanent, failed.value.is_gone) == (permanent, is_gone)
    assert failed.value.answer is not None
    assert failed.value.answer.body == b"why"


def test_webhook_to_a_forbidden_address_is_permanent() -> None:
    with pytest.raises(DeliveryError, match="address refused") as failed:
        Webhook("https://127.0.0.1/", new_secret()).send(NOTICE, now=NOW)
    assert failed.value.permanent


def test_webhook_whose_connection_breaks_is_in_doubt(receiver: Receiver) -> None:
    receiver.script.append(break_off)
    with pytest.raises(DeliveryError) as failed:
        Webhook(receiver.url, new_secret()).send(NOTICE, now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous) == (False, True)


def test_webhook_success_with_a_large_answer_is_a_success(receiver: Receiver) -> None:
    receiver.script.append(answer(200, b"a" * 5_000_000))
    assert len(Webhook(receiver.url, new_secret()).send(NOTICE, now=NOW).body) == ANSWER_MAX


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("99999999999999999999", 86_400.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(Answer(429, {"retry-after": value}, b""), now=NOW) == seconds


def test_refuse_failure_of_a_gateway_error_is_in_doubt() -> None:
    with pytest.raises(DeliveryError) as failed:
        refuse_failure(Answer(504, {}, b""), now=NOW)
    assert failed.value.is_ambiguous


def test_webhook_body_of_the_longest_message_is_below_the_standards_limit() -> None:
    payload = dict.fromkeys(("title", "where", "summary", "runbook_url"), "x" * 1000) | {
        "at": "2026-03-01T11:59:00Z"
    }
    payload |= {"labels": {f"l{i}": "ü" * 128 for i in range(9)}}  # type: ignore[dict-item]
    assert len(Webhook("", "").body(Outgoing("msg_1", "resolve", payload))) < 20_000
    assert (
        json.loads(Webhook("", "").body(Outgoing("msg_1", "resolve", payload)))["type"] == "incident.resolved"
    )


def test_webhook_during_a_change_of_secret_signs_with_both(receiver: Receiver) -> None:
    secret, previous, stranger = new_secret(), new_secret(), new_secret()
    now = datetime.now(UTC)
    Webhook(receiver.url, secret, previous).send(NOTICE, now=now)
    got = receiver.got[0]
    assert got.headers["webhook-signature"].count("v1,") == 2
    for known in (secret, previous):
        assert Verifier(known).verify(got.body, got.headers)["type"] == "incident.opened"
    with pytest.raises(WebhookVerificationError):
        Verifier(stranger).verify(got.body, got.headers)


def test_webhook_with_a_bad_secret_is_a_permanent_failure_and_sends_nothing(receiver: Receiver) -> None:
    for secrets in (("",), ("whsec_c2hvcnQ=",), (new_secret(), "whsec_c2hvcnQ=")):
        with pytest.raises(DeliveryError, match="nothing can be signed") as failed:
            Webhook(receiver.url, *secrets).send(NOTICE, now=NOW)
        assert failed.value.permanent
    assert receiver.got == []


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("trigger", "incident.opened"),
        ("acknowledge", "incident.acknowledged"),
        ("resolve", "incident.resolved"),
        ("reminder", "incident.reminder"),
        ("test", "channel.test"),
    ],
)
def test_webhook_names_each_kind_of_message(kind: str, type_: str) -> None:
    assert json.loads(Webhook("", "").body(Outgoing("msg_1", kind, {"at": "x"})))["type"] == type_
    assert kind in Webhook.takes


def test_webhook_body_that_is_too_large_becomes_ids_and_a_link_and_says_so() -> None:
    payload = {
        "at": "2026-03-01T11:59:00Z",
        "incident_id": "0190",
        "state": "firing",
        "incident_url": "https://x.org/1",
        "title": "é" * 5000,
        "summary": "é" * 5001,
    }
    found = Webhook("", "").body(Outgoing("msg_1", "trigger", payload))
    assert len(found) <= BODY_MAX
    data = json.loads(found)["data"]
    assert {name: data[name] for name in ("incident_id", "state", "incident_url", "is_thin")} == {
        "incident_id": "0190",
        "state": "firing",
        "incident_url": "https://x.org/1",
        "is_thin": True,
    }
    assert "more than 20000" in data["note"]
    assert "title" not in data


def test_webhook_body_says_since_when_it_was_held_back_and_nothing_of_the_attempt() -> None:
    held = Outgoing(
        "msg_1", "trigger", {"at": "x"}, suppressed_since="2026-03-01T10:00:00Z", suppressed_by="Ana"
    )
    again = Outgoing("msg_1", "trigger", {"at": "x"}, 7, True, "k", 3, "2026-03-01T10:00:00Z", "Ana")
    assert json.loads(Webhook("", "").body(held))["data"]["suppressed_by"] == "Ana"
    assert Webhook("", "").body(held) == Webhook("", "").body(again)


@pytest.mark.parametrize(("status", "seconds"), [(429, 10.0), (502, 10.0), (504, 10.0), (500, None)])
def test_webhook_that_throttles_without_a_time_is_left_alone_for_a_while(
    receiver: Receiver, status: int, seconds: float | None
) -> None:
    receiver.script.append(answer(status))
    with pytest.raises(DeliveryError) as failed:
        Webhook(receiver.url, new_secret()).send(NOTICE, now=NOW)
    assert failed.value.retry_after == seconds


def test_webhook_settings_are_told_apart_by_name() -> None:
    assert Webhook.mistakes({"url": "https://example.org/", "secret": new_secret()}) == {}
    found = Webhook.mistakes({"url": "ftp://x", "secret": "", "previous_secret": "é"})
    assert set(found) == {"url", "secret", "previous_secret"}
