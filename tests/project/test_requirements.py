"""The pinned files name everything that is needed, and the environment has exactly that."""

import importlib.metadata
import re
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.tree import PACKAGES, ROOT, imports_of, modules

FILES = {
    "requirements.txt": ("requirements.txt",),
    "requirements-dev.txt": ("requirements.txt", "requirements-dev.txt"),
}


def pinned(*names: str) -> Iterator[Requirement]:
    for name in names:
        for line in (ROOT / name).read_text().splitlines():
            text = line.partition("#")[0].strip()
            if text and not text.startswith("-r"):
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate():
                    yield requirement


def needs_of(requirement: Requirement) -> set[str]:
    extras = requirement.extras or {""}
    wanted = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    return {
        canonicalize_name(other.name)
        for other in wanted
        if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras)
    }


@pytest.mark.parametrize("name", FILES)
def test_requirements_are_pinned_and_complete(name: str) -> None:
    found = list(pinned(*FILES[name]))
    assert [str(entry) for entry in found if not re.fullmatch(r"==[^*,]+", str(entry.specifier))] == []
    names = {canonicalize_name(entry.name) for entry in found}
    assert len(names) == len(found), "named twice"
    assert {need for entry in found for need in needs_of(entry)} <= names


def test_product_imports_only_what_it_requires() -> None:
    """Not what the tests happen to bring along."""
    required = {canonicalize_name(entry.name) for entry in pinned("requirements.txt")}
    owners = importlib.metadata.packages_distributions()
    imported = {name.split(".")[0] for path in modules() for name in imports_of(path)}
    found = {name: owners[name] for name in imported if name in owners and name not in PACKAGES}
    missing = {name for name, owned in found.items() if required.isdisjoint(map(canonicalize_name, owned))}
    assert missing == set()
    assert "django" in found


def test_environment_has_the_pinned_versions() -> None:
    found = {
        entry.name: importlib.metadata.version(entry.name) for entry in pinned(*FILES["requirements-dev.txt"])
    }
    assert [
        entry for entry in pinned(*FILES["requirements-dev.txt"]) if found[entry.name] not in entry.specifier
    ] == []
