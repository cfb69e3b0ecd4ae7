"""Starts the product as bin/up does, on a data folder and a port of its own, and looks at it from outside."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from triageops import embedded

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 90.0


@dataclass(frozen=True)
class Product:
    """A running product."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    folder: Path

    @property
    def database_url(self) -> str:
        return embedded.Postgres(self.folder / "postgres").url

    def processes(self) -> list[psutil.Process]:
        """bin/up and everything below it, PostgreSQL and Redis included."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def memory_megabytes(self) -> tuple[float, float]:
        """Resident memory of the whole stack: (proportional, plain sum). The sum counts shared pages many times."""
        infos = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                infos.append(process.memory_full_info())
        return sum(info.pss for info in infos) / 1e6, sum(info.rss for info in infos) / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def running(**environment: str) -> Iterator[Product]:
    """The product, stopped and forgotten afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="triageops-bench-"))
    folder.chmod(0o711)
    port, key = free_port(), f"tri_{secrets.token_urlsafe(32)}"
    given = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGEOPS_")}
    own = {"TRIAGEOPS_DATA_DIR": str(folder), "PORT": str(port), "TRIAGEOPS_API_KEY": key}
    log = (folder / "up.log").open("wb")
    process = subprocess.Popen(
        [str(ROOT / "bin" / "up")],
        env=given | own | environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the product did not start:\n{(folder / 'up.log').read_text()[-4000:]}")
            time.sleep(0.1)
        yield Product(process, port, key, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        if process.poll() is None:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
