"""Code and docs say the same: settings, metrics, log events, links. A page is compared from the day it exists."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.project.tree import ROOT, calls, documented_names, first_text, modules, name_of, relative

DOCS = ROOT / "docs"
METRIC_CLASSES = {"Counter", "Gauge", "Histogram", "Summary", "CounterMetricFamily", "GaugeMetricFamily"}
LOG_METHODS = {f"log.{level}" for level in ("debug", "info", "warning", "error", "exception", "critical")}
PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))


def page(name: str) -> Path:
    path = DOCS / name
    if not path.exists():
        pytest.skip(f"docs/{name} is not written yet")
    return path


def settings_in_code() -> set[str]:
    """Names read from the environment: env.str("NAME"), os.environ.get("NAME"), given.get("NAME")."""
    readers = re.compile(
        r"(env\.\w+|os\.environ\.get|os\.getenv|(self\.|installation\.)?given\.get|environment\.get)"
    )
    names = (
        first_text(call) for path in modules() for call in calls(path) if readers.fullmatch(name_of(call))
    )
    return {name for name in names if name and re.fullmatch(r"[A-Z][A-Z0-9_]+", name)} - {"PATH"}


def metrics_in_code() -> set[str]:
    names = (
        first_text(call)
        for path in modules()
        for call in calls(path)
        if name_of(call).rpartition(".")[2] in METRIC_CLASSES
    )
    return {name for name in names if name}


def events_in_code() -> set[str]:
    names = (first_text(call) for path in modules() for call in calls(path) if name_of(call) in LOG_METHODS)
    return {name for name in names if name}


def test_settings_and_their_page_are_equal() -> None:
    assert documented_names(page("settings.md")) == settings_in_code()


def test_metrics_and_their_page_are_equal() -> None:
    own = {name for name in documented_names(page("metrics.md")) if not name.startswith("django_")}
    assert own == metrics_in_code()


def test_events_and_their_page_are_equal() -> None:
    assert documented_names(page("events.md")) == events_in_code()


def test_events_are_named_entity_and_action() -> None:
    assert [name for name in events_in_code() if not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []


def test_events_are_plain_texts() -> None:
    """An event put together at run time cannot be counted, searched or documented."""
    found = [
        f"{relative(path)}:{call.lineno}"
        for path in modules()
        for call in calls(path)
        if name_of(call) in LOG_METHODS and first_text(call) is None
    ]
    assert found == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    missing = [
        link
        for link in links
        if not re.match(r"[a-z]+:", link) and not (path.parent / unquote(link)).exists()
    ]
    assert missing == []
