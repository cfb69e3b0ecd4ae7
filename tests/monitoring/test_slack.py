import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.channels.channel import DeliveryError, Notice, Outgoing, Written
from monitoring.channels.slack import Slack
from monitoring.channels.slack_blocks import escaped
from tests.monitoring.receiver import Receiver, answer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
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


def message(**changes: Any) -> Notice:
    payload = PAYLOAD | changes.pop("payload", {})
    return Notice((Outgoing("msg_1", changes.pop("kind", "trigger"), payload, **changes),))


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
    assert not {"&", "<", ">"} & set(found.replace("&amp;", "").replace("&lt;", "").replace("&gt;", ""))


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


def group(count: int, **changes: Any) -> Notice:
    """Every third is over; severities take turns; the later ones are older."""
    messages = []
    for number in range(count):
        payload = PAYLOAD | {
            "title": f"incident {number}",
            "severity": ("warning", "critical", "info")[number % 3],
            "opened_at": f"2026-03-01T10:{59 - number % 60:02}:00Z",
            "incident_url": f"https://triage.example.org/admin/monitoring/incident/{number}/change/",
        }
        kind = "resolve" if number % 3 == 2 else "trigger"
        messages.append(
            Outgoing(f"msg_{number}", kind, payload | {"state": "resolved"[: 8 * (kind == "resolve")]})
        )
    return Notice(tuple(messages), **changes)


def test_slack_group_of_a_thousand_reads_as_one_message_with_the_worst_first() -> None:
    body = Slack("").body(group(1000, labels={"lang": "es", "service": "triage"}))
    header, *lines, more, small, actions = body["blocks"]
    assert header["text"]["text"] == "667 firing, 333 resolved · lang=es, service=triage"
    assert len(lines) == 10
    assert all("critical" in line["text"]["text"] for line in lines)
    assert "incident/58/change/|incident 58>" in lines[0]["text"]["text"]
    assert more["text"]["text"] == "and 990 more"
    assert "1 000 messages".replace(" ", "\u202f", 1) in small["elements"][0]["text"]
    assert actions["elements"] == [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": "Open inbox"},
            "url": "https://triage.example.org/admin/monitoring/incident/",
        }
    ]


def test_slack_group_takes_the_inbox_that_the_payload_names() -> None:
    notice = group(2)
    named = Outgoing("msg_9", "trigger", PAYLOAD | {"inbox_url": "https://triage.example.org/inbox/"})
    blocks = Slack("").body(Notice((*notice.messages, named)))["blocks"]
    assert blocks[-1]["elements"][0]["url"] == "https://triage.example.org/inbox/"


def test_slack_group_shows_what_fires_before_what_is_over() -> None:
    lines = [block["text"]["text"] for block in Slack("").body(group(6))["blocks"][1:-2]]
    assert [line.rpartition("incident ")[2][0] for line in lines] == ["4", "1", "3", "0", "5", "2"]


def test_slack_group_shows_what_is_over_last_however_bad_it_was() -> None:
    over = Outgoing("msg_1", "resolve", PAYLOAD | {"title": "over", "severity": "critical"})
    mild = Outgoing("msg_2", "trigger", PAYLOAD | {"title": "mild", "severity": "info"})
    first = Slack("").body(Notice((over, mild)))["blocks"][1]["text"]["text"]
    assert "|mild>" in first


@pytest.mark.parametrize("character", ["<", "é", "🩺", "\x00", "\n"])
@pytest.mark.parametrize("count", [1, 2, 60])
def test_slack_message_of_any_size_stays_within_every_limit(character: str, count: int) -> None:
    names = ("title", "summary", "where", "effect_text", "budget_text", "sequence_text", "note", "since")
    payload = dict.fromkeys(names, character * 5000) | {
        "slices": [{"name": character * 500, "share": 0.5}] * 40,
        "affected_count": 12,
        **dict.fromkeys(
            ("incident_url", "runbook_url", "responses_url", "experiment_url"), "https://x.org/" + "a" * 2900
        ),
    }
    sent = Outgoing(
        "msg_1", "trigger", payload, suppressed_since="2026-03-01T10:00:00Z", suppressed_by=character * 900
    )
    notice = Notice((sent,) * count, labels={character * 300: character * 300}, complaint=character * 5000)
    for each in (notice, Notice(notice.messages, written=Written(character * 5000, character * 8000))):
        assert_within_limits(Slack("").body(each))


def assert_within_limits(body: dict[str, Any]) -> None:
    assert len(body["text"]) <= 40_000
    assert 1 <= len(body["blocks"]) <= 50
    assert len(json.dumps(body["blocks"], ensure_ascii=False)) <= 12_000
    for block in body["blocks"]:
        if block["type"] == "header":
            assert 1 <= len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert "fields" in block or 1 <= len(block["text"]["text"]) <= 3000
            assert len(block.get("fields", [])) <= 10
            assert all(1 <= len(part["text"]) <= 2000 for part in block.get("fields", []))
        elif block["type"] == "context":
            assert 1 <= len(block["elements"]) <= 10
            assert all(1 <= len(part["text"]) <= 2000 for part in block["elements"])
        else:
            assert 1 <= len(block["elements"]) <= 25
            assert all(
                len(part["text"]["text"]) <= 75 and len(part["url"]) <= 3000 for part in block["elements"]
            )


def test_slack_message_with_empty_fields_has_no_empty_block() -> None:
    assert_within_limits(
        Slack("").body(Notice((Outgoing("msg_1", "trigger", {"at": "", "state": "", "title": ""}),)))
    )


def test_slack_reminder_says_that_it_still_fires_and_which_reminder_it_is() -> None:
    body = Slack("").body(message(kind="reminder", payload={"reminder": 2}))
    assert body["blocks"][0]["text"]["text"].startswith("Still firing, reminder 2 · helpfulness")


def test_slack_message_that_was_held_back_says_since_when_and_by_what() -> None:
    held = message(suppressed_since="2026-03-01T10:00:00Z", suppressed_by="the silence “rollout” of Ana")
    said = "\n".join(texts(Slack("").body(held)))
    assert "Suppressed since 2026-03-01T10:00:00Z by the silence “rollout” of Ana" in said


def test_slack_message_in_an_administrators_words_is_escaped_and_keeps_the_buttons() -> None:
    notice = message(payload={})
    body = Slack("").body(
        Notice(notice.messages, Written("Wake <up>", "*bold* <!channel> & co"), complaint="x")
    )
    header, section, _small, actions = body["blocks"]
    assert header["text"]["text"] == "Wake <up>"
    assert section["text"]["text"] == "*bold* &lt;!channel&gt; &amp; co"
    assert len(actions["elements"]) == 2


def test_slack_message_says_in_small_print_why_the_own_text_was_not_used() -> None:
    notice = Notice(message().messages, complaint="the channel's own text is broken: body, line 2")
    assert "own text is broken: body, line 2" in texts(Slack("").body(notice))[-3]


def test_slack_line_of_an_address_with_signs_keeps_the_link_whole() -> None:
    odd = PAYLOAD | {"incident_url": "https://triage.example.org/i/?a=1&b=<2>|3"}
    body = Slack("").body(Notice((Outgoing("msg_1", "trigger", odd), Outgoing("msg_2", "trigger", odd))))
    assert (
        "<https://triage.example.org/i/?a=1&amp;b=%3C2%3E%7C3|helpfulness"
        in body["blocks"][1]["text"]["text"]
    )
