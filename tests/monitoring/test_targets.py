import ipaddress

import pytest
from pytest_django import Settings

from monitoring.targets import BlockedTarget, check_address, check_before_sending, is_public, target_of

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "3fff:1000::1",
    "::ffff:8.8.8.8",
]
NOT_PUBLIC = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "192.0.2.1",
    "::1",
    "::",
    "::127.0.0.1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "2001:20::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fec0::1",
    "100::1",
    "1fff::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_is_public_of_a_public_address_is_true(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_is_public_of_any_other_address_is_false(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://@example.org/",
        "https://example.org:port/",
        "https://example.org:70000/",
        "https://exam ple.org/",
        "https://example.org/a\r\nHost: b",
        "https://[::1/",
        "https://" + "a" * 64 + ".org/",
        "https://localhost/",
        "https://LOCALHOST./",
    ],
)
def test_target_of_a_bad_url_is_blocked(url: str) -> None:
    with pytest.raises(BlockedTarget):
        target_of(url)


def test_target_of_our_own_name_is_blocked(settings: Settings) -> None:
    settings.BASE_URL, settings.ALLOWED_HOSTS = "https://triage.example.org", [".inside.example.org"]
    for host in ("triage.example.org", "inside.example.org"):
        with pytest.raises(BlockedTarget, match="our own"):
            target_of(f"https://{host}/hook")


@pytest.mark.parametrize(
    ("url", "address", "reason"),
    [
        ("https://example.org/", "10.0.0.1", "not a public address"),
        ("http://example.org/", "8.8.8.8", "https"),
        ("https://example.org:8080/", "8.8.8.8", "Port 8080"),
    ],
)
def test_check_address_outside_the_rules_says_which(url: str, address: str, reason: str) -> None:
    with pytest.raises(BlockedTarget, match=reason):
        check_address(target_of(url), ipaddress.ip_address(address))


@pytest.mark.parametrize("url", ["https://example.org/", "https://example.org:8443/x?y=1"])
def test_check_address_of_a_public_https_target_passes(url: str) -> None:
    check_address(target_of(url), ipaddress.ip_address("8.8.8.8"))


@pytest.mark.parametrize("allow", [["10.1.0.0/16"], ["hooks.internal"]])
def test_check_address_of_what_the_deployment_allows_passes(settings: Settings, allow: list[str]) -> None:
    settings.OUTBOUND_ALLOW = allow
    check_address(target_of("http://hooks.internal:9000/x"), ipaddress.ip_address("10.1.2.3"))


def test_check_address_beside_the_allowed_network_is_blocked(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = ["10.1.0.0/16"]
    with pytest.raises(BlockedTarget):
        check_address(target_of("http://hooks.internal:9000/x"), ipaddress.ip_address("10.2.0.1"))


def test_target_of_a_name_beyond_ascii_is_spelt_as_dns_does() -> None:
    target = target_of("https://bücher.example/ä?q=ü%20")
    assert target.host == "xn--bcher-kva.example"
    assert target.path == "/%C3%A4?q=%C3%BC%20"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://169.254.169.254/latest", "is not a public address"),
        ("https://[fe80::1]/", "is not a public address"),
        ("http://example.org/", "Only https"),
        ("https://example.org:22/", "Port 22"),
        ("https://8.8.8.8:9093/", "Port 9093"),
    ],
)
@pytest.mark.parametrize("allow", [[], ["127.0.0.0/8"], ["hooks.internal"]])
def test_address_that_can_never_be_used_is_refused_when_it_is_typed(
    url: str, reason: str, allow: list[str], settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW = allow
    with pytest.raises(BlockedTarget, match=reason):
        check_before_sending(url)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://example.org/x", []),
        ("https://8.8.8.8:8443/x", []),
        ("http://127.0.0.1:9093/", ["127.0.0.0/8"]),
        ("http://box.localhost:9093/", ["127.0.0.0/8"]),
        ("http://hooks.internal:9000/", ["hooks.internal"]),
        # It may be in that network: what it resolves to decides when something is sent.
        ("http://alertmanager:9093/", ["10.0.0.0/8"]),
    ],
)
def test_address_that_may_be_used_is_taken_when_it_is_typed(
    url: str, allow: list[str], settings: Settings
) -> None:
    settings.OUTBOUND_ALLOW = allow
    check_before_sending(url)
