"""Code and docs say the same: settings, metrics, log events, problem types, registries, links."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from monitoring.channels import registry as channels
from monitoring.monitors import registry as monitors
from tests.project.tree import ROOT, calls, documented_names, first_text, modules, name_of, parsed, relative
from triageops.rest import TYPE_PREFIX, Problem

DOCS = ROOT / "docs"
METRIC_CLASSES = {"Counter", "Gauge", "Histogram", "Summary", "CounterMetricFamily", "GaugeMetricFamily"}
LOG_METHOD = re.compile(r"log\.(debug|info|warning|error|exception|critical)")
PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))


def page(name: str) -> Path:
    return DOCS / name


def rows_of(path: Path) -> Iterator[list[str]]:
    """The cells of the page's table rows that begin with a name in backticks."""
    for line in path.read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


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


def log_calls() -> Iterator[tuple[str, str | None]]:
    """Where something is logged, and the event if it is a plain text.

    Called at once, by partial(log.info, "...") or by (log.info if ... else log.debug)("...").
    """
    for path in modules():
        for call in calls(path):
            first = call.args[0] if call.args else None
            is_partial = name_of(call) == "partial" and LOG_METHOD.fullmatch(ast.unparse(first or call))
            text = call.args[1] if is_partial else first
            is_choice = isinstance(call.func, ast.IfExp) and LOG_METHOD.search(name_of(call))
            if is_partial or is_choice or LOG_METHOD.fullmatch(name_of(call)):
                known = isinstance(text, ast.Constant) and isinstance(text.value, str)
                yield f"{relative(path)}:{call.lineno}", text.value if known else None  # type: ignore[union-attr]


def events_in_code() -> set[str]:
    return {event for _, event in log_calls() if event}


def defaults_in_code() -> dict[str, str]:
    """As the page writes them, for env.str("NAME", default) and given.get("NAME") or "default"."""
    found = {}
    for path in modules():
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(name), default, *_]
                ):
                    found[str(name)] = shown(ast.literal_eval(default))
                case ast.BoolOp(
                    op=ast.Or(), values=[ast.Call(args=[ast.Constant(name)]), ast.Constant(default)]
                ):
                    found[str(name)] = shown(default)
    return {name: default for name, default in found.items() if name in settings_in_code()}


def shown(default: object) -> str:
    text = ",".join(default) if isinstance(default, list) else str(default)
    text = text.lower() if isinstance(default, bool) else text
    return f"`{text}`" if text else "–"


def problem_types(kind: type[Problem] = Problem) -> set[str]:
    return {TYPE_PREFIX + found.type for found in kind.__subclasses__()}.union(
        *(problem_types(found) for found in kind.__subclasses__())
    )


def test_settings_and_their_page_are_equal() -> None:
    assert documented_names(page("settings.md")) == settings_in_code()


def test_defaults_of_settings_are_those_of_the_page() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows_of(page("settings.md"))}
    expected = defaults_in_code()
    assert len(expected) > 20
    assert {name: documented[name] for name in expected} == expected


def test_metrics_and_their_page_are_equal() -> None:
    own = {name for name in documented_names(page("metrics.md")) if not name.startswith("django_")}
    assert own == metrics_in_code()


def test_events_and_their_page_are_equal() -> None:
    assert documented_names(page("events.md")) == events_in_code()


def test_events_are_named_entity_and_action() -> None:
    assert [name for name in events_in_code() if not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []


def test_events_are_plain_texts() -> None:
    """An event put together at run time cannot be counted, searched or documented."""
    assert [place for place, event in log_calls() if event is None] == []


def test_problem_types_are_all_explained() -> None:
    assert problem_types() - documented_names(page("api.md")) == set()


def test_kinds_of_monitors_and_channels_are_all_explained() -> None:
    kinds = [kind.name for kind in monitors.KINDS] + [kind.name for kind in channels.KINDS]
    assert documented_names(page("extending.md")) == set(kinds)


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    missing = [
        link
        for link in links
        if not re.match(r"[a-z]+:", link) and not (path.parent / unquote(link)).exists()
    ]
    assert missing == []
