import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from monitoring import outbound
from monitoring.outbound import ANSWER_MAX, RequestFailed, post
from monitoring.targets import BlockedTarget
from tests.monitoring.receiver import (
    Receiver,
    answer,
    break_off,
    break_off_within_the_status,
    certificate_for,
    drip,
    hang,
    running_receiver,
)


def resolved_to(*answers: list[str]) -> Any:
    """A resolver that gives one list of addresses after the other, and notes how often it was asked."""
    left = list(answers)

    def resolve(host: str, port: int) -> list[str]:
        resolve.calls += 1  # type: ignore[attr-defined]
        return left.pop(0) if len(left) > 1 else left[0]

    resolve.calls = 0  # type: ignore[attr-defined]
    return resolve


def test_post_sends_the_exact_bytes_with_the_name_as_host(receiver: Receiver) -> None:
    receiver.script.append(answer(201, b"made", X_Thing="1"))
    found = post(receiver.url + "?a=1", b"\x00\xff{}", {"X-Own": "yes"})
    assert (found.status, found.body, found.headers["x-thing"]) == (201, b"made", "1")
    got = receiver.got[0]
    assert (got.path, got.body, got.headers["x-own"]) == ("/hook?a=1", b"\x00\xff{}", "yes")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_post_to_an_address_that_is_not_allowed_sends_nothing(receiver: Receiver, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = []
    settings.ALLOWED_HOSTS = []
    settings.BASE_URL = "https://elsewhere.example"
    with pytest.raises(BlockedTarget, match="not a public address"):
        post(receiver.url, b"", {})
    assert receiver.got == []


def test_post_to_a_name_with_one_bad_address_among_good_ones_is_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbound, "resolve", resolved_to(["8.8.8.8", "127.0.0.1"]))
    with pytest.raises(BlockedTarget):
        post("https://rebound.example/", b"", {})


def test_post_to_a_rebinding_name_connects_to_the_checked_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    # First the address that is allowed, then one that must never be asked for.
    resolver = resolved_to(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(outbound, "resolve", resolver)
    found = post(f"http://rebound.example:{receiver.port}/hook", b"x", {})
    assert found.status == 200
    assert receiver.got[0].headers["host"] == f"rebound.example:{receiver.port}"
    assert resolver.calls == 1


def test_post_to_numbers_in_disguise_is_blocked() -> None:
    for host in ("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]"):
        with pytest.raises((BlockedTarget, RequestFailed)):
            post(f"https://{host}/", b"", {})


def test_post_does_not_follow_redirects(receiver: Receiver) -> None:
    receiver.script.append(answer(302, Location="http://169.254.169.254/latest/meta-data/"))
    assert post(receiver.url, b"", {}).status == 302
    assert len(receiver.got) == 1


def test_post_reads_no_more_than_the_limit_of_a_large_answer(receiver: Receiver) -> None:
    receiver.script.append(answer(200, b"a" * 5_000_000))
    assert len(post(receiver.url, b"", {}).body) == ANSWER_MAX


def test_post_to_a_closed_port_fails_without_doubt(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(RequestFailed) as failed:
        post(f"http://127.0.0.1:{port}/", b"", {})
    assert not failed.value.is_ambiguous


@pytest.mark.parametrize(
    "behaviour", [hang, drip(head=True), drip(head=False)], ids=["hang", "slow head", "slow body"]
)
def test_post_to_a_slow_receiver_ends_in_time_and_in_doubt(receiver: Receiver, behaviour: Any) -> None:
    receiver.script.append(behaviour)
    began = time.monotonic()
    with pytest.raises(RequestFailed, match="in time") as failed:
        post(receiver.url, b"", {}, timeout_seconds=0.6)
    assert time.monotonic() - began < 1.5
    assert failed.value.is_ambiguous


def test_post_to_a_name_that_is_slow_to_resolve_ends_in_time_and_sends_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        is_over.wait(10)
        return ["127.0.0.1"]

    monkeypatch.setattr(outbound, "resolve", resolve)
    began = time.monotonic()
    with pytest.raises(RequestFailed, match="could not be resolved in time") as failed:
        post(receiver.url, b"", {}, timeout_seconds=0.3)
    took = time.monotonic() - began
    is_over.set()
    assert took < 1.5
    assert not failed.value.is_ambiguous
    assert receiver.got == []


def test_post_to_a_name_that_nobody_knows_fails_without_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(outbound, "resolve", resolve)
    with pytest.raises(RequestFailed, match="not known") as failed:
        post("https://nobody.example/", b"", {})
    assert not failed.value.is_ambiguous


@pytest.mark.parametrize("behaviour", [break_off, break_off_within_the_status])
def test_post_whose_connection_breaks_after_the_request_is_in_doubt(
    receiver: Receiver, behaviour: Any
) -> None:
    receiver.script.append(behaviour)
    with pytest.raises(RequestFailed) as failed:
        post(receiver.url, b"", {})
    assert failed.value.is_ambiguous


def test_post_of_https_to_a_plain_server_fails_without_doubt(receiver: Receiver) -> None:
    with pytest.raises(RequestFailed) as failed:
        post(receiver.url.replace("http://", "https://"), b"", {}, timeout_seconds=3)
    assert (failed.value.is_ambiguous, failed.value.is_untrusted) == (False, False)


@pytest.fixture
def https(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Receiver, list[str]]]:
    """A receiver with a trusted certificate for hooks.example, and the names that callers asked it for."""
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    certificate = certificate_for("hooks.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(outbound, "resolve", resolved_to(["127.0.0.1"]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with running_receiver(context) as found:
        yield found, names


def test_post_of_https_asks_the_checked_address_for_the_name(https: tuple[Receiver, list[str]]) -> None:
    receiver, names = https
    found = post(f"https://hooks.example:{receiver.port}/hook", b"x", {})
    assert found.status == 200
    assert names == ["hooks.example"]
    assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_post_of_https_to_a_certificate_of_another_name_is_untrusted(
    https: tuple[Receiver, list[str]],
) -> None:
    receiver, _ = https
    with pytest.raises(RequestFailed) as failed:
        post(f"https://other.example:{receiver.port}/hook", b"x", {})
    assert failed.value.is_untrusted
    assert receiver.got == []


def test_post_of_https_to_a_slow_receiver_ends_in_time(https: tuple[Receiver, list[str]]) -> None:
    receiver, _ = https
    receiver.script.append(drip(head=False))
    began = time.monotonic()
    with pytest.raises(RequestFailed, match="in time"):
        post(f"https://hooks.example:{receiver.port}/hook", b"x", {}, timeout_seconds=0.8)
    assert time.monotonic() - began < 2


def test_post_of_https_to_an_unknown_certificate_is_untrusted(
    https: tuple[Receiver, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(RequestFailed) as failed:
        post(f"https://hooks.example:{https[0].port}/hook", b"x", {})
    assert failed.value.is_untrusted
