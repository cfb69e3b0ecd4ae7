"""Who may import whom inside an app: models <- job modules <- edges <- urls.

The rest is import-linter's, in bin/check: between apps, and no cycles, which keeps models from importing what needs them.
"""

import tomllib

import grimp
import pytest

from tests.project.tree import APPS, PACKAGES, ROOT

RANKS = {
    "urls": 3,
    **dict.fromkeys(("admin", "apps", "forms", "management", "reports", "serializers", "tasks", "views"), 2),
}
# Models, job modules, and the kernels that models stand on.
INNER_RANK = 1


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def rank(module: str) -> int:
    return RANKS.get(module.split(".")[1], INNER_RANK)


@pytest.mark.parametrize("app", [app for app in APPS if app in PACKAGES])
def test_modules_of_an_app_import_downwards(graph: grimp.ImportGraph, app: str) -> None:
    own = {module for module in graph.find_descendants(app) if ".migrations" not in module}
    upwards = [
        f"{importer} -> {imported}"
        for importer in sorted(own)
        for imported in sorted(graph.find_modules_directly_imported_by(importer) & own)
        if rank(importer) < rank(imported)
    ]
    assert upwards == []


def test_every_module_of_the_wiring_has_its_layer(graph: grimp.ImportGraph) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    placed = {name.strip() for layer in layers for name in layer.replace("|", ":").split(":")}
    assert graph.find_children("triageops") <= placed
