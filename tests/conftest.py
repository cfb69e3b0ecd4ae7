"""A PostgreSQL and a Redis of its own for each test process, in a folder that goes away with it."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import django
import pytest
from django.conf import settings

from triageops import embedded

_servers = contextlib.ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Before pytest-django reads the settings, which is why they are named here and not in pyproject.toml.
    if config.getoption("help") or config.getoption("version"):
        return
    if config.getoption("numprocesses") and not hasattr(config, "workerinput"):
        # The processes that it starts run the tests. Each has servers of its own: an open transaction of one test would hold
        # back the rollups of another.
        return
    # A plain SIGTERM would skip the clean-up below.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What the caller's shell says about a real installation must neither be used nor change what is tested.
    for name in [name for name in os.environ if name.startswith("TRIAGEOPS_")]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="triageops-test-"))
    folder.chmod(0o711)  # PostgreSQL's own account passes through it when the tests run as root
    _servers.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "triageops.settings",
        "TRIAGEOPS_SECRET_KEY": "only-for-tests-" + "0123456789" * 5,
        "TRIAGEOPS_DATA_DIR": str(folder),
    }
    for name in ("PROMETHEUS_MULTIPROC_DIR", "ENVIRONMENT", "LOG_LEVEL"):
        os.environ.pop(name, None)
    _start_servers(config, folder)
    # A hundred tests log in; the real hash takes half a second each time, by design.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Test modules import models, and some plug-in may look at them before pytest-django has its turn.
    django.setup()


@pytest.fixture(autouse=True)
def _fresh_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test defined is nothing to the next, and a change counts at once."""
    from experiments import catalogue

    monkeypatch.setattr(catalogue, "POLL_SECONDS", 0.0)
    catalogue.forget()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After the shuffle: tests that empty the tables go last, because rows made by migrations are gone after them."""
    items.sort(key=_empties_the_tables)


def _empties_the_tables(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    fixtures = {"live_server", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    return bool(fixtures or (marker and marker.kwargs.get("transaction")))


def pytest_unconfigure() -> None:
    _servers.close()


def _start_servers(config: pytest.Config, folder: Path) -> None:
    given = {name: os.environ.get(f"TEST_{name}") for name in ("DATABASE_URL", "REDIS_URL")}
    if not all(given.values()):
        # A database in a folder that goes away need not be dropped, which one open session would prevent.
        config.option.reuse_db = True
        try:
            # Not durable: the machine's death ends the test run anyway.
            os.environ |= _servers.enter_context(embedded.run_both(folder, is_durable=False))
        except embedded.ServerFailed as failure:
            _servers.close()
            pytest.exit(str(failure), returncode=1)
    os.environ |= {name: url for name, url in given.items() if url}
