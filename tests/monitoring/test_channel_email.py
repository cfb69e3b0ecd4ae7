import json
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from monitoring.channels.channel import DeliveryError, Notice, Outgoing, Written, excerpt
from monitoring.channels.email import Email, addresses_of
from monitoring.channels.email_text import headers_of, subject_of
from tests.monitoring.mail_server import MailServer, running_mail_server
from tests.monitoring.receiver import certificate_for

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INCIDENT = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
PAYLOAD: dict[str, Any] = {
    "at": "2026-03-01T11:59:00Z",
    "incident_id": INCIDENT,
    "state": "firing",
    "severity": "critical",
    "title": "helpfulness is below 0.8 for <b> & “co”",
    "summary": "Found 5 min after it seems to have begun.",
    "since": "2026-03-01 11:50 UTC",
    "effect_text": "0.7 against 0.8",
    "opened_at": "2026-03-01T11:58:00Z",
    "incident_url": "https://triage.example.org/admin/monitoring/incident/1/change/",
    "runbook_url": "https://runbooks.example.org/quality?a=1&b=2",
}
TO = "ana@example.org"


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    with running_mail_server() as found:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", found.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.DEFAULT_FROM_EMAIL = "TriageOps <alerts@triage.example.org>"
        settings.BASE_URL = "https://triage.example.org"
        yield found


def notice(kind: str = "trigger", payload: dict[str, Any] | None = None, **changes: Any) -> Notice:
    said = {name: changes.pop(name) for name in ("written", "complaint") if name in changes}
    return Notice((Outgoing("msg_1", kind, PAYLOAD | (payload or {}), **changes),), **said)


def test_email_about_an_incident_arrives_with_its_facts_and_links(server: MailServer) -> None:
    answer = Email(f"{TO}, ben@example.org").send(notice(), now=NOW)
    assert (answer.status, answer.body) == (250, b"2.0.0 queued as 42")
    (mail,) = server.got
    assert server.recipients == [[TO, "ben@example.org"]]
    assert mail["Subject"].strip() == "[critical] FIRING · helpfulness is below 0.8 for <b> & “co”"
    assert mail["From"] == "TriageOps <alerts@triage.example.org>"
    assert mail["Message-ID"] == f"<{INCIDENT}.1@triage.example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-TriageOps-Incident"] == INCIDENT
    assert "List-Unsubscribe" not in mail
    assert "In-Reply-To" not in mail
    text = part_of(mail, "plain")
    for said in (
        "Effect: 0.7 against 0.8",
        "Since: 2026-03-01 11:50 UTC",
        "Runbook: https://runbooks",
        "attempt 1",
    ):
        assert said in text
    html = part_of(mail, "html")
    assert '<a href="https://runbooks.example.org/quality?a=1&amp;b=2">Runbook</a>' in html
    assert "&lt;b&gt; &amp; “co”" in html
    assert "<b>" not in html


def part_of(mail: Any, kind: str) -> str:
    content: str = mail.get_body((kind,)).get_content()
    return content.replace("\r\n", "\n")


def test_email_lines_end_as_the_protocol_wants_and_none_is_too_long(server: MailServer) -> None:
    Email(TO).send(notice(payload={"summary": "wörd " * 2000 + "\n.\n.x"}), now=NOW)
    assert not re.search(rb"(?<!\r)\n", server.raw[0])
    assert max(len(line) for line in server.raw[0].split(b"\r\n")) <= 998
    assert "\n.\n.x" in part_of(server.got[0], "plain")


def test_email_of_a_thread_answers_the_first_and_repeats_carry_the_same_id() -> None:
    first = headers_of(notice(seq=3))
    later = headers_of(notice("resolve", seq=7, thread="msg_0"))
    assert later["In-Reply-To"] == later["References"] == first["Message-ID"]
    assert later["Message-ID"].startswith(f"<{INCIDENT}.7@")
    assert headers_of(notice("resolve", seq=7, thread="msg_0", attempt=4)) == later


def test_email_about_a_group_lists_the_worst_first_and_can_be_left(server: MailServer) -> None:
    messages = tuple(
        Outgoing(
            f"msg_{number}",
            "trigger" if number % 2 else "resolve",
            PAYLOAD | {"incident_id": f"id-{number}", "title": f"number {number}"},
        )
        for number in range(1000)
    )
    Email(TO).send(Notice(messages, labels={"lang": "es"}), now=NOW)
    (mail,) = server.got
    assert mail["Subject"] == "500 firing, 500 resolved · lang=es"
    assert mail["Message-ID"] == "<group.msg_0@triage.example.org>"
    assert mail["List-Unsubscribe"] == "<https://triage.example.org/admin/monitoring/channel/>"
    assert mail["X-TriageOps-Incident"].count("id-") == 20
    text = part_of(mail, "plain")
    assert text.count("\n- ") == 99
    assert text.startswith("- firing · critical · number 1 · since")
    assert "and 900 more" in text
    assert "Open inbox: https://triage.example.org/admin/monitoring/incident/" in text
    assert part_of(mail, "html").count("<li>") == 101


@pytest.mark.parametrize("field", ["title", "severity", "incident_id", "incident_url"])
def test_email_with_line_breaks_in_its_fields_has_no_header_of_a_stranger(
    server: MailServer, field: str
) -> None:
    evil = "x\r\nBcc: eve@example.org\r\n\r\nbody\n\x85 \u2028Cc: eve@example.org"
    for given in (notice(payload={field: evil}), notice(written=Written(evil, evil))):
        Email(TO).send(given, now=NOW)
    for mail in server.got:
        assert (mail["Bcc"], mail["Cc"]) == (None, None)
    assert server.recipients == [[TO], [TO]]


def test_email_with_the_longest_title_has_a_short_subject() -> None:
    assert len(subject_of(notice(payload={"title": "🩺" * 5000}))) == 200
    assert subject_of(Notice((Outgoing("msg_1", "trigger", {}),))) == "TRIGGER · An incident without a title"


def test_email_in_an_administrators_words_is_text_and_keeps_links_and_small_print(server: MailServer) -> None:
    said = notice(
        written=Written("Wake up", "line one\n<script>alert(1)</script>"), complaint="own text is broken"
    )
    Email(TO).send(said, now=NOW)
    (mail,) = server.got
    assert mail["Subject"] == "Wake up"
    assert part_of(mail, "plain").startswith("line one\n<script>")
    assert "<script>" not in part_of(mail, "html")
    assert "own text is broken" in part_of(mail, "plain")


def test_email_reminder_and_one_that_was_held_back_say_so() -> None:
    assert subject_of(notice("reminder", {"reminder": 2})).startswith("[critical] Still firing, reminder 2 ·")
    with_since = notice(suppressed_since="2026-03-01T10:00:00Z", suppressed_by="maintenance")
    assert "suppressed since" not in subject_of(with_since)


def test_email_test_message_needs_no_incident(server: MailServer) -> None:
    Email(TO).send(
        Notice((Outgoing("msg_7", "test", {"title": "This is a test", "state": "test"}),)), now=NOW
    )
    assert server.got[0]["Message-ID"] == "<msg_7@triage.example.org>"
    assert "X-TriageOps-Incident" not in server.got[0]


@pytest.mark.parametrize(
    ("reply", "permanent", "is_ambiguous"),
    [("451 4.3.0 try later", False, False), ("554 5.7.1 spam", True, False), (None, False, True)],
)
def test_email_that_is_not_taken_is_told_by_the_servers_answer(
    server: MailServer, reply: str | None, permanent: bool, is_ambiguous: bool
) -> None:
    server.reply = reply
    with pytest.raises(DeliveryError) as failed:
        Email(TO).send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous) == (permanent, is_ambiguous)
    assert (reply or "broke off")[:3] in failed.value.reason


@pytest.mark.parametrize(
    ("reply", "permanent"), [("450 4.2.1 greylisted", False), ("550 5.1.1 unknown", True)]
)
def test_email_whose_only_recipient_is_refused_is_not_sent(
    server: MailServer, reply: str, permanent: bool
) -> None:
    server.refusals[TO] = reply
    with pytest.raises(DeliveryError, match=reply[:3]) as failed:
        Email(TO).send(notice(), now=NOW)
    assert failed.value.permanent == permanent
    assert server.got == []


def test_email_that_not_all_recipients_take_is_sent_once_and_says_who_has_it_not(server: MailServer) -> None:
    server.refusals["gone@example.org"] = "550 5.1.1 unknown"
    server.refusals["full@example.org"] = "452 4.2.2 mailbox full"
    answer = Email(f"gone@example.org, {TO}, full@example.org").send(notice(), now=NOW)
    assert server.recipients == [[TO]]
    assert answer.status == 250
    assert answer.text == (
        "1 of 3 recipients has it. Refused for good: gone@example.org (550 5.1.1 unknown)."
        " Refused for now, and not tried again: full@example.org (452 4.2.2 mailbox full).\n2.0.0 queued as 42"
    )


def test_email_that_most_recipients_refuse_names_those_refused_for_good_first(server: MailServer) -> None:
    given = [f"{'x' * 40}{number}@example.org" for number in range(49)]
    for number, address in enumerate(given):
        server.refusals[address] = "550 5.1.1 unknown" if number % 2 else "452 4.2.2 mailbox full"
    answer = Email(", ".join([TO, *given])).send(notice(), now=NOW)
    kept = excerpt(answer)
    assert kept.startswith("1 of 50 recipients has it. Refused for good: xxx")
    assert "and 21 more. Refused for now, and not tried again: xxx" in kept


@pytest.mark.parametrize("lasting", ["550 5.1.1 unknown", "452 4.2.2 mailbox full"])
def test_email_that_nobody_takes_is_tried_again_while_one_may(server: MailServer, lasting: str) -> None:
    server.refusals |= {TO: lasting, "full@example.org": "452 4.2.2 mailbox full"}
    with pytest.raises(DeliveryError, match="452") as failed:
        Email(f"{TO}, full@example.org").send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous, server.got) == (False, False, [])


def test_email_to_a_slow_server_is_not_sent_rather_than_sent_twice(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.channels.email.ENVELOPE_SECONDS", -1.0)
    with pytest.raises(DeliveryError, match="too slow") as failed:
        Email(TO).send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous, server.got) == (False, False, [])


def test_email_without_a_mail_server_names_the_setting(settings: Settings) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = "django.core.mail.backends.smtp.EmailBackend", ""
    with pytest.raises(DeliveryError, match="TRIAGEOPS_EMAIL_URL") as failed:
        Email(TO).send(notice(), now=NOW)
    assert failed.value.permanent


def test_email_to_a_server_that_is_not_there_was_not_sent(server: MailServer, settings: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings.EMAIL_PORT = unused.getsockname()[1]
        with pytest.raises(DeliveryError, match="broke off") as failed:
            Email(TO).send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous) == (False, False)


def test_email_to_a_server_with_a_wrong_certificate_is_a_permanent_failure(
    server: MailServer, settings: Settings, tmp_path: Path
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate_for("elsewhere.example", tmp_path))
    with running_mail_server(tls) as strange:
        settings.EMAIL_PORT, settings.EMAIL_USE_TLS = strange.port, True
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED") as failed:
            Email(TO).send(notice(), now=NOW)
    assert (failed.value.permanent, failed.value.is_ambiguous, strange.got) == (True, False, [])


def test_email_recipients_are_read_and_checked() -> None:
    assert addresses_of(" a@x.org,b@x.org ;\n a@x.org,") == ["a@x.org", "b@x.org"]
    assert Email.mistakes({"recipients": "a@x.org, b@x.org"}) == {}
    wrong = (
        "",
        " , ",
        "nobody",
        "a@x.org, é@x.org",
        "a@x.org\r\nBcc: b@x.org",
        ",".join(f"a{i}@x.org" for i in range(51)),
    )
    for recipients in wrong:
        assert set(Email.mistakes({"recipients": recipients})) == {"recipients"}, json.dumps(recipients)


def test_email_to_no_address_is_a_permanent_failure() -> None:
    with pytest.raises(DeliveryError) as failed:
        Email("").send(notice(), now=NOW)
    assert failed.value.permanent
