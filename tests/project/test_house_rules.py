"""What CONTRIBUTING asks for and no linter can say."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.tree import PACKAGES, ROOT, modules, parsed, relative

# One check among many, one delivery among many: the others must go on.
MAY_CATCH_ALL = {"monitoring/checks.py", "monitoring/outgoing/delivery.py"}
EMPTY_NAMES = {
    "abstract",
    "base",
    "common",
    "helpers",
    "managers",
    "misc",
    "mixins",
    "selectors",
    "services",
    "utils",
}
COMMANDS = [*sorted(path for path in (ROOT / "bin").iterdir() if path.is_file()), ROOT / ".ci" / "run"]


def broad_handlers(path: Path) -> Iterator[int]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            if node.type is None or {"Exception", "BaseException"} & set(
                caught.strip("()").replace(" ", "").split(",")
            ):
                yield node.lineno


def test_broad_except_is_used_at_the_two_named_places_only() -> None:
    found = {relative(path) for path in modules() if any(broad_handlers(path))}
    assert found <= MAY_CATCH_ALL


def test_imports_inside_functions_are_in_ready_only() -> None:
    found = [
        f"{relative(path)}:{inner.lineno}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "ready"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def test_module_names_say_what_is_inside() -> None:
    found = [relative(path) for path in modules() if EMPTY_NAMES & {path.stem, path.parent.name}]
    assert found == []


def test_class_names_say_what_they_are() -> None:
    found = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Helper", "Util", "Utils", "Service"))
    ]
    assert found == []


def test_package_of_the_wiring_is_empty() -> None:
    assert (ROOT / "triageops" / "__init__.py").read_text() == ""


def test_signals_of_models_do_not_connect_our_apps() -> None:
    """The upper app calls the lower one; a model's signal may serve its own app."""
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module == "django.dispatch"
    ]
    assert found == []


@pytest.mark.parametrize("command", COMMANDS, ids=relative)
def test_command_is_an_executable_shell_script(command: Path) -> None:
    assert os.access(command, os.X_OK)
    shell = command.read_text().splitlines()[0].removeprefix("#!").split()[-1].rpartition("/")[2]
    subprocess.run([shell, "-n", str(command)], check=True)


def test_every_package_has_an_init() -> None:
    folders = {path.parent for path in modules() if {"migrations"}.isdisjoint(path.parts)}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_packages_are_found() -> None:
    """The rules above are worth nothing when they look at nothing."""
    assert len(modules()) > 20
    assert {relative(path).split("/")[0] for path in modules()} == set(PACKAGES)
