"""A real server on a real database, a real browser, and a watch on everything that goes wrong in it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "artifacts"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip


@dataclass
class Watch:
    """What must not happen on any page."""

    address: str
    found: list[str] = field(default_factory=list)

    def note_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"console {message.type}: {message.text}")

    def follow(self, page: Page) -> None:
        page.on("console", self.note_console)
        page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        page.on("requestfailed", lambda request: self._failed(request.url, str(request.failure)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("response", lambda answer: self._answered(answer.url, answer.status))

    def _failed(self, url: str, why: str) -> None:
        # The browser itself drops what is under way when another page is opened.
        if "ERR_ABORTED" not in why:
            self.found.append(f"request failed: {url}: {why}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme in {"http", "https"} and not url.startswith(self.address):
            self.found.append(f"foreign host: {url}")

    def _answered(self, url: str, status: int) -> None:
        if status >= 400:
            self.found.append(f"HTTP {status}: {url}")


@pytest.fixture(scope="session")
def chromium() -> str:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("Chromium is not installed: apt-get install chromium, or set CHROMIUM to its path")
    return program


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _database_url() -> str:
    """The address of the tests' own database, which is not the one in the environment."""
    given = urlsplit(os.environ["DATABASE_URL"])
    return given._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


class Server:
    """Granian, run as bin/up runs it, on the tests' database."""

    def __init__(self, log: Path) -> None:
        self.port, self.log = _free_port(), log
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"DATABASE_URL": _database_url(), "TRIAGEOPS_BASE_URL": self.address}
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "triageops.wsgi:application"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--no-ws", "--workers", "1", "--blocking-threads", "4"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        _wait_for(self.address + "/health", self.process, self.log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture(scope="session")
def running_server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server") / "log")
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def server(running_server: Server) -> str:
    """The address of the server of all tests."""
    return running_server.address


@pytest.fixture
def knows_nothing(transactional_db: None, running_server: Server) -> None:
    """A server that has just started: emptied tables have new content types, and it remembers the former ones."""
    running_server.stop()
    running_server.start()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def browser(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright runs an event loop in this thread; the ORM is used between its calls, never inside them.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()
        # While the loop runs, Django keeps a connection of its own for it.
        connection.close()


@pytest.fixture
def watch(server: str) -> Iterator[Watch]:
    """Fails the test when anything went wrong in the browser, whatever the test itself looked at."""
    watching = Watch(server)
    yield watching
    assert watching.found == []


@pytest.fixture
def context(transactional_db: None, server: str, watch: Watch, browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(
        base_url=server,
        viewport={"width": 1280, "height": 900},
        color_scheme="light",
        timezone_id="Europe/Madrid",
        permissions=["clipboard-read", "clipboard-write"],
    )
    opened.on("page", watch.follow)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, server: str) -> Page:
    """A page of somebody who is signed in already."""
    visitor = Client()
    visitor.force_login(get_user_model().objects.create_superuser("ada"))
    cookie = visitor.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": server}])
    return context.new_page()


def keep(page: Page, name: str) -> None:
    """A picture for people to look at: artifacts/<name>.png."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


def is_too_wide(page: Page) -> bool:
    """Whether the page must be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
