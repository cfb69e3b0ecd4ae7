"""Debian's Alertmanager, amtool and Prometheus against the running product: both sides are the real ones."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.counterparts import alertmanager, authorization_of, eventually, fires, prometheus, read, run
from tests.e2e.product import ROOT, Product, running

OWN_RULES = ROOT / "deploy" / "prometheus" / "triageops.rules.yml"
_CHANNEL = """
from monitoring.models import Channel, Route
channel = Channel.objects.create(name="alertmanager", kind="alertmanager", url={url!r}, secret="")
root = Route.objects.create(name="all", group_wait_seconds=0, group_interval_seconds=1, tells_nobody=True)
# Not what came from there.
route = Route.objects.create(parent=root, name="ours", matchers=['source="api"'])
route.channels.set([channel])
"""
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="triageops-e2e-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def product(place: Path) -> Iterator[Product]:
    with running(place, TRIAGEOPS_OUTBOUND_ALLOW="127.0.0.0/8") as found:
        yield found


@pytest.fixture(scope="module")
def alertmanager_url(product: Product, place: Path) -> Iterator[str]:
    """An Alertmanager that the product tells everything, and that tells the product what others tell it."""
    with alertmanager(place, product) as url:
        product.manage("shell", "-v", "0", "-c", _CHANNEL.format(url=url))
        yield url


def _open(product: Product, name: str, **changes: Any) -> None:
    labels = {"alertname": name, "team": "storage"}
    body = {"key": name, "title": f"{name} is too high", "severity": "error", "labels": labels}
    product.insist("POST", "/api/v1/incidents", body | changes)


def _resolve(product: Product, name: str) -> None:
    product.insist("POST", f"/api/v1/incidents/by-key/{name}/resolve")


def _incidents(product: Product, name: str, **asked: str) -> list[Any]:
    """Incidents of this alert's name, which `asked` narrows."""
    words = {"matchers": f'alertname="{name}"', **asked}
    query = "&".join(f"{word}={quote(value)}" for word, value in words.items())
    found: list[Any] = product.insist("GET", f"/api/v1/incidents?{query}")["results"]
    return found


def _amtool(product: Product, place: Path, *words: str) -> str:
    config = place / "amtool-http.json"
    config.write_text(json.dumps(authorization_of(product)))
    url = f"http://127.0.0.1:{product.port}/alertmanager"
    return run("amtool", f"--alertmanager.url={url}", f"--http.config.file={config}", *words)


def test_alertmanager_shows_our_incident_firing_silenced_and_resolved(
    product: Product, place: Path, alertmanager_url: str
) -> None:
    _open(product, "QueueTooLong")
    (alert,) = eventually(lambda: fires(alertmanager_url, "QueueTooLong"), "our incident fires there")
    assert (
        alert["labels"] | {"team": "storage", "severity": "error", "service": "llm-triage"} == alert["labels"]
    )
    assert "QueueTooLong" in alert["annotations"]["summary"]
    silence = _amtool(product, place, "silence", "add", "--comment=deploy", "alertname=QueueTooLong").strip()
    (alert,) = eventually(
        lambda: fires(alertmanager_url, "QueueTooLong", state="suppressed"), "our silence holds there"
    )
    (theirs,) = alert["status"]["silencedBy"]
    assert read(f"{alertmanager_url}/api/v2/silence/{theirs}")["comment"].startswith(
        "Mirrored from TriageOps"
    )
    _amtool(product, place, "silence", "expire", silence)
    eventually(lambda: fires(alertmanager_url, "QueueTooLong"), "our silence has ended there")
    _resolve(product, "QueueTooLong")
    eventually(lambda: not _known(alertmanager_url, "QueueTooLong"), "our incident is over there")


def _known(url: str, name: str) -> list[Any]:
    return [*fires(url, name), *fires(url, name, state="suppressed")]


def test_alertmanagers_webhook_opens_and_resolves_an_incident_here(
    product: Product, alertmanager_url: str
) -> None:
    run("amtool", f"--alertmanager.url={alertmanager_url}", "alert", "add", "DiskFull", "severity=critical",
        "node=a", '--annotation=summary=The disk of a is full')  # fmt: skip
    (incident,) = eventually(lambda: _incidents(product, "DiskFull", state="open"), "it opens here")
    assert incident["title"] == "The disk of a is full"
    assert (incident["severity"], incident["labels"]["node"]) == ("critical", "a")
    (alert,) = fires(alertmanager_url, "DiskFull")
    run("amtool", f"--alertmanager.url={alertmanager_url}", "alert", "add", "DiskFull", "severity=critical",
        "node=a", f"--start={alert['startsAt']}", f"--end={_soon_after(alert['startsAt'])}")  # fmt: skip
    eventually(lambda: _incidents(product, "DiskFull", state="resolved"), "it is over here")
    assert len(_incidents(product, "DiskFull")) == 1


def _soon_after(starts_at: str) -> str:
    """An end that has passed."""
    return (datetime.fromisoformat(starts_at) + timedelta(milliseconds=1)).isoformat()


def test_amtool_lists_alerts_and_adds_and_expires_silences_here(product: Product, place: Path) -> None:
    _open(product, "LatencyTooHigh")
    listed = json.loads(
        _amtool(product, place, "--output=json", "alert", "query", "alertname=LatencyTooHigh")
    )
    assert [alert["labels"]["team"] for alert in listed] == ["storage"]
    silence = _amtool(
        product, place, "silence", "add", "--author=eve", "--comment=known", 'alertname=~"Latency.*"'
    ).strip()
    (found,) = json.loads(
        _amtool(product, place, "--output=json", "silence", "query", "alertname=~Latency.*")
    )
    assert (found["id"], found["comment"]) == (silence, "known")
    assert json.loads(_amtool(product, place, "--output=json", "alert", "query", "LatencyTooHigh")) == []
    (held,) = json.loads(
        _amtool(product, place, "--output=json", "alert", "query", "--silenced", "LatencyTooHigh")
    )
    assert held["status"]["silencedBy"] == [silence]
    _amtool(product, place, "silence", "expire", silence)
    held = json.loads(_amtool(product, place, "--output=json", "silence", "query", "alertname=~Latency.*"))
    assert held == []
    assert len(json.loads(_amtool(product, place, "--output=json", "alert", "query", "LatencyTooHigh"))) == 1
    _resolve(product, "LatencyTooHigh")
    assert json.loads(_amtool(product, place, "--output=json", "alert", "query", "LatencyTooHigh")) == []


def test_rule_of_prometheus_on_our_own_metrics_opens_and_resolves_incidents_here(
    product: Product, place: Path, alertmanager_url: str
) -> None:
    rule = {
        "alert": "MetricNotClassified",
        "expr": "triageops_quality_metrics_discovered > 0",
        "labels": {"severity": "warning"},
        "annotations": {"summary": "{{ $value }} metrics are not classified"},
    }
    rules = place / "rules.json"
    rules.write_text(json.dumps({"groups": [{"name": "test", "rules": [rule]}]}))
    run("promtool", "check", "rules", str(rules), str(OWN_RULES))
    with prometheus(place, product, alertmanager_url, [rules, OWN_RULES]) as url:
        eventually(lambda: _own_rules_hold(url), "our own rules were evaluated, and none fires")
        product.insist(
            "POST", "/api/v1/responses", {"response_id": "r1", "endpoint": "/answer", "model": "m"}
        )
        quality = {"response_id": "r1", "evaluator_kind": "llm_judge", "evaluator_name": "j"}
        product.insist("POST", "/api/v1/quality", quality | {"metrics": {"unheard_of": 0.5}})
        for source in ("alertmanager", "prometheus"):
            (incident,) = eventually(
                lambda source=source: _incidents(product, "MetricNotClassified", state="open", source=source),  # type: ignore[misc]
                f"it opens here by {source}",
            )
            assert incident["title"] == "1 metrics are not classified"
        code = "from feedback.models import QualityMetric; QualityMetric.objects.update(kind='rate')"
        product.manage("shell", "-v", "0", "-c", code)
        eventually(lambda: not _incidents(product, "MetricNotClassified", state="open"), "both are over here")
    assert len(_incidents(product, "MetricNotClassified", state="resolved")) == 2


def _own_rules_hold(url: str) -> bool:
    groups = read(f"{url}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups if group["name"] == "triageops" for rule in group["rules"]]
    assert all(rule["health"] in {"ok", "unknown"} for rule in rules), rules
    return len(rules) > 0 and all((rule["health"], rule["state"]) == ("ok", "inactive") for rule in rules)
