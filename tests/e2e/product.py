"""The real product in processes of its own, started as bin/up does, and a client that never gives up."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from triageops import embedded

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
OK = 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _decoded(body: bytes) -> Any:
    return json.loads(body) if body[:1] in {b"{", b"["} else body.decode(errors="replace")


@dataclass(frozen=True)
class Product:
    """A running product and the right to call it."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, *, seconds: float = 20) -> tuple[int, Any]:
        """Status and decoded body of one call; connection errors are raised as OSError."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def insist(self, method: str, path: str, body: Any = None, *, seconds: float = 120) -> Any:
        """The answer of a call that is repeated until the product takes it; a refusal (4xx) is a failure."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, answer = self.call(method, path, body)
                if status < 300:
                    return answer
                assert status >= 500, (status, answer)
                last = f"{status} {answer}"
            except OSError as error:
                last = repr(error)
            late = f"{method} {path} was not taken within {seconds} s; the last answer: {last}\n{self.log()}"
            assert time.monotonic() < deadline, late
            time.sleep(0.2)

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/ready", seconds=5)[0] == OK
        except OSError:
            return False

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")[-4000:]

    def manage(self, *words: str) -> str:
        """What `bin/manage` says, run beside the product."""
        done = subprocess.run(
            [str(ROOT / "bin" / "manage"), *words],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Read from the product's database; raises psycopg2.OperationalError while it is down."""
        url = embedded.Postgres(self.folder / "postgres").url
        with contextlib.closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def kill(self, *words: str) -> int:
        """kill -9 the topmost process of bin/up whose command line has all these words; its id."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                line = " ".join(child.cmdline())
                if all(word in line for word in words):
                    child.kill()
                    return child.pid
        raise AssertionError(f"no process with {words}")


@contextlib.contextmanager
def running(folder: Path, **environment: str) -> Iterator[Product]:
    """The product on `folder`, ready; stopped afterwards."""
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRIAGEOPS_", "PROMETHEUS_", "DJANGO_"))
        and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    port, key = free_port(), "tri_end_to_end_0123456789abcdef0123456789"
    own = {"TRIAGEOPS_DATA_DIR": str(folder), "PORT": str(port), "TRIAGEOPS_API_KEY": key}
    environment = given | own | environment
    with (folder / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [str(ROOT / "bin" / "up")],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    product = Product(process, port, key, folder, environment)
    try:
        product.wait_until_ready()
        yield product
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
