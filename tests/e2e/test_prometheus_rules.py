"""The rules of deploy/prometheus: promtool takes them, they ask for metrics there are, and each runbook has its alert."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.counterparts import run
from tests.e2e.product import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "triageops.rules.yml"


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_promtool_and_amtool_take_our_rules_and_examples() -> None:
    run("promtool", "check", "rules", "--lint-fatal", str(RULES))
    run("promtool", "check", "config", "--syntax-only", str(FOLDER / "prometheus.yml"))
    run("amtool", "check-config", str(ROOT / "deploy" / "alertmanager" / "alertmanager.yml"))


def test_rules_fire_and_stay_silent_as_promtools_own_tests_say() -> None:
    run("promtool", "test", "rules", str(FOLDER / "triageops.rules.test.yml"))


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    asked = {name for rule in _rules() for name in re.findall(r"\btriageops_\w+", rule["expr"])}
    assert asked - known == set()
    assert len(asked) > 5


def test_each_runbook_has_an_alert_and_each_alerts_runbook_exists() -> None:
    named = {rule["annotations"]["runbook"] for rule in _rules() if "runbook" in rule["annotations"]}
    there = {str(Path("docs/runbooks") / path.name) for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert named == there
