import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.channels.channel import DeliveryError, Outgoing
from monitoring.channels.slack import Slack, escaped
from tests.monitoring.receiver import Receiver, answer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAYLOAD: dict[str, Any] = {
    "at": "2026-03-01T11:59:00Z",
    "state": "firing",
    "title": "helpfulness is below 0.8 for variant <b> & co",
    "summary": "Found 5 min after it seems to have begun.",
    "where": "variant <b> & co",
    "since": "2026-03-01 11:50 UTC",
    "effect_text": "0.7 against 0.8: -0.1 (-0.12 to -0.08), n = 400",
    "budget_text": "1 false alarm in 30 days",
    "incident_url": "https://triage.example.org/admin/monitoring/incident/1/",
    "runbook_url": "https://runbooks.example.org/quality",
}


def message(**changes: Any) -> Outgoing:
    return Outgoing("msg_1", "trigger", PAYLOAD | changes.pop("payload", {}), **changes)


def texts(body: dict[str, Any]) -> list[str]:
    found = []
    for block in body["blocks"]:
        found += [
            part for part in [block.get("text"), *block.get("fields", []), *block.get("elements", [])] if part
        ]
    return [part["text"] if isinstance(part["text"], str) else part["text"]["text"] for part in found]


def test_slack_message_says_what_where_since_effect_budget_and_links(receiver: Receiver) -> None:
    Slack(receiver.url).send(message(), now=NOW)
    body = json.loads(receiver.got[0].body)
    said = "\n".join(texts(body))
    for part in (
        "FIRING",
        "0.7 against 0.8",
        "2026-03-01 11:50 UTC",
        "1 false alarm in 30 days",
        "msg_1 · attempt 1",
    ):
        assert part in said
    buttons = {part["text"]["text"]: part["url"] for part in body["blocks"][-1]["elements"]}
    assert buttons == {"Open incident": PAYLOAD["incident_url"], "Runbook": PAYLOAD["runbook_url"]}
    assert body["text"] == "FIRING · helpfulness is below 0.8 for variant &lt;b&gt; &amp; co"


def test_slack_message_that_may_be_a_repeat_says_so() -> None:
    assert "possible repeat" in "\n".join(texts(Slack("").body(message(attempt=2, is_possible_repeat=True))))


def test_slack_message_with_the_longest_texts_stays_within_slacks_limits() -> None:
    long = dict.fromkeys(("title", "summary", "where", "effect_text"), "<" * 5000) | {
        "runbook_url": "x" * 4000
    }
    body = Slack("").body(message(payload=long))
    header, section, facts, context, actions = body["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert all(len(field["text"]) <= 2000 for field in facts["fields"])
    assert len(facts["fields"]) <= 10
    assert len(context["elements"]) <= 10
    assert len(actions["elements"]) == 1
    assert len(json.dumps(body)) < 13_000


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_escaped_text_is_within_the_limit_and_has_whole_entities(text: str, limit: int) -> None:
    found = escaped(text, limit)
    assert len(found) <= limit
    plain = found.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert not {"&", "<", ">"} & set(plain)


@pytest.mark.parametrize(
    ("status", "body", "permanent", "is_gone"),
    [
        (200, b"<html>Please log in</html>", False, False),
        (200, b"no_service", True, True),
        (400, b"invalid_payload", True, False),
        (400, b"invalid_token", True, True),
        (403, b"action_prohibited", True, True),
        (404, b"channel_not_found", True, True),
        (410, b"channel_is_archived", True, True),
        (429, b'{"ok": false}', False, False),
        (500, b"rollup_error", False, False),
    ],
)
def test_slack_failure_is_told_by_status_and_body(
    receiver: Receiver, status: int, body: bytes, permanent: bool, is_gone: bool
) -> None:
    receiver.script.append(answer(status, body, Retry_After="3"))
    with pytest.raises(DeliveryError) as failed:
        Slack(receiver.url).send(message(), now=NOW)
    assert (failed.value.permanent, failed.value.is_gone) == (permanent, is_gone)
    assert body.decode()[:20] in failed.value.reason


def test_slack_asks_to_wait_and_is_heard(receiver: Receiver) -> None:
    receiver.script.append(answer(429, b"", Retry_After="30"))
    with pytest.raises(DeliveryError) as failed:
        Slack(receiver.url).send(message(), now=NOW)
    assert failed.value.retry_after == 30
