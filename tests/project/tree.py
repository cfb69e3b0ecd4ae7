"""The project's own files, as the tests beside this one read them."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("feedback", "experiments", "monitoring", "gateway")
PACKAGES = ("triageops", *(app for app in APPS if (ROOT / app).is_dir()))


def modules() -> list[Path]:
    """Every module of the product, migrations left out."""
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if "migrations" not in path.parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name_of(call: ast.Call) -> str:
    """`log.info` for `log.info("...")`."""
    return ast.unparse(call.func)


def first_text(call: ast.Call) -> str | None:
    """The first argument, when it is a plain text."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def documented_names(page: Path) -> set[str]:
    """What the page's tables name in backticks in their first column."""
    rows = (line.split("|")[1] for line in page.read_text().splitlines() if line.startswith("| `"))
    return {name for cell in rows for name in cell.split("`")[1::2]}
