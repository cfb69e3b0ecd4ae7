import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from demo.receiver import Receiver
from monitoring.channels.webhook import new_secret, signature

SECRET = new_secret()
BODY = json.dumps({"type": "incident.opened", "data": {}}).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def post(
    receiver: Receiver, body: bytes = BODY, *, webhook_id: str = "msg_1", age: int = 0, signed: str = ""
) -> int:
    place = urlsplit(receiver.url)
    at = int(time.time()) - age
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signed or signature(SECRET, webhook_id, at, BODY),
    }
    connection = http.client.HTTPConnection(place.netloc, timeout=5)
    connection.request("POST", place.path, body, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_message_with_its_signature_is_taken_once(receiver: Receiver) -> None:
    taken: list[Any] = []
    receiver.open(SECRET, taken.append)
    assert [post(receiver), post(receiver), post(receiver, webhook_id="msg_2")] == [204, 204, 204]
    assert taken == [json.loads(BODY)] * 2


def test_message_that_was_changed_forged_or_kept_back_is_refused(receiver: Receiver) -> None:
    taken: list[Any] = []
    receiver.open(SECRET, taken.append)
    assert post(receiver, BODY + b" ") == 401
    assert post(receiver, signed="v1,AAAA") == 401
    assert post(receiver, age=3600) == 401
    assert taken == []


def test_message_that_comes_too_early_is_asked_to_come_again(receiver: Receiver) -> None:
    assert post(receiver) == 503
