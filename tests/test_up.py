import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from triageops import local, up
from triageops.address import Address
from triageops.local import Installation

READY_SECONDS = 60


def command(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triageops.up", *arguments],
        cwd=local.ROOT,
        env={**os.environ, "DATABASE_URL": "", "REDIS_URL": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"TRIAGEOPS_DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port())}


@pytest.fixture
def installation_environment(tmp_path: Path) -> dict[str, str]:
    """What programs of an installation get; nothing of it runs."""
    return Installation.of({**os.environ, "TRIAGEOPS_DATA_DIR": str(tmp_path)}).environment()


@contextlib.contextmanager
def started(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """bin/up, from its start to what the test does to it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "triageops.up"],
            cwd=local.ROOT,
            env={**os.environ, "DATABASE_URL": "", "REDIS_URL": "", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "TriageOps is ready" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def get(port: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def wait_until_ready(port: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while get(port, "/ready") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_help_names_what_can_be_set() -> None:
    done = command(["--help"], {})
    assert done.returncode == 0
    assert {"--demo", "PORT", "TRIAGEOPS_DATA_DIR", "DATABASE_URL", "REDIS_URL"} <= set(
        re.findall(r"[\w-]+", done.stdout)
    )


@pytest.mark.parametrize("arguments", [["--dem"], ["now"]])
def test_unknown_argument_is_one_clear_line(arguments: list[str]) -> None:
    done = command(arguments, {})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert arguments[0] in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_port_that_is_none_is_one_clear_line(environment: dict[str, str], port: str) -> None:
    done = command([], environment | {"PORT": port})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"bin/up: PORT is {port!r}: a number from 1 to 65535 is needed\n"


def test_port_that_is_taken_is_one_clear_line(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["PORT"])))
        taken.listen()
        done = command([], environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "in use" in done.stderr
    assert "PORT=" in done.stderr


def test_data_folder_in_use_is_one_clear_line(environment: dict[str, str]) -> None:
    installation = Installation.of(environment)
    installation.make_folder()
    with installation.lock("bin/up"):
        done = command([], environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"bin/up: bin/up \(process \d+\) is using .*: stop it, or set TRIAGEOPS_DATA_DIR\n", done.stderr
    )


def test_database_that_cannot_be_set_up_is_one_clear_line(environment: dict[str, str]) -> None:
    given = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    done = command([], environment | given)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("bin/up: the database could not be set up: ")
    assert "port 1 failed: Connection refused" in done.stderr


def test_settings_that_are_wrong_are_one_clear_line_each_before_anything_starts(
    environment: dict[str, str],
) -> None:
    given = {"TRIAGEOPS_BUCKET_SECONDS": "often", "TRIAGEOPS_DEBUG": "maybe", "WEB_WORKERS": "0"}
    done = command([], environment | given)
    assert (done.returncode, done.stdout) == (1, "")
    assert sorted(done.stderr.splitlines()) == [
        "bin/up: TRIAGEOPS_BUCKET_SECONDS: Not a valid integer.",
        "bin/up: TRIAGEOPS_DEBUG: Not a valid boolean.",
        "bin/up: WEB_WORKERS is '0': a number from 1 is needed",
    ]


@pytest.mark.parametrize("name", ["WEB_WORKERS", "WEB_THREADS", "WORKER_CONCURRENCY"])
@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_count_of_processes_that_is_none_is_one_clear_line(
    installation_environment: dict[str, str], name: str, count: str
) -> None:
    with pytest.raises(up.CannotStart, match=rf"^{name} is '{count}': a number from 1 is needed$"):
        up.check(installation_environment | {name: count})


def test_command_with_a_wrong_setting_is_one_clear_line(installation_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=local.ROOT,
        env=installation_environment | {"TRIAGEOPS_MAX_SLICES": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "TRIAGEOPS_MAX_SLICES: Not a valid integer.\n")


def test_demo_has_quick_checks_and_a_key_that_stays(tmp_path: Path) -> None:
    installation = Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path), "TRIAGEOPS_CHECK_SECONDS": "20"})
    address = Address("127.0.0.1", 8000)
    first, second = (up.environment_of(installation, address, is_demo=True) for _ in range(2))
    assert first["TRIAGEOPS_API_KEY"].startswith("tri_")
    assert first == second
    assert (first["TRIAGEOPS_BUCKET_SECONDS"], first["TRIAGEOPS_CHECK_SECONDS"]) == ("60", "20")


def test_demo_with_a_given_key_points_to_no_file_with_another(tmp_path: Path) -> None:
    address = Address("127.0.0.1", 8000)
    plain = Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path)})
    up.environment_of(plain, address, is_demo=True)
    assert str(tmp_path / up.DEMO_KEY) in up.summary(plain, address, 1.0, "")
    given = Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path), "TRIAGEOPS_API_KEY": "tri_given"})
    assert up.environment_of(given, address, is_demo=True)["TRIAGEOPS_API_KEY"] == "tri_given"
    assert up.DEMO_KEY not in up.summary(given, address, 1.0, "")


def test_metrics_of_processes_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    installation = Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path)})
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").touch()
    up.environment_of(installation, Address("127.0.0.1", 8000), is_demo=False)
    assert list((tmp_path / "metrics").iterdir()) == []


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")],
)
def test_address_is_told_as_a_browser_takes_it(host: str, url: str) -> None:
    assert Address(host, 80).url == url


def still_running(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended; one that waits for init to take note of its end has ended."""
    left = psutil.wait_procs(processes, timeout=seconds)[1]
    return [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.timeout(240)
def test_product_survives_the_death_of_each_part_and_a_restart(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The whole life of an installation in one test, because each start takes seconds."""
    port, data, log = environment["PORT"], Path(environment["TRIAGEOPS_DATA_DIR"]), tmp_path / "log"
    with started(environment, log) as process:
        assert get(port, "/ready") == 200
        parts = ["web", "worker", "beat", "postgres", "redis"]
        for name in parts:
            psutil.Process(int((data / "processes" / name).read_text().split()[0])).kill()
        deadline = time.monotonic() + 30
        while not all(f"{name} was killed by SIGKILL" in log.read_text() for name in parts):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        wait_until_ready(port)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert still_running(children, seconds=1) == []
    assert "First API key" in log.read_text()

    log.unlink()
    with started(environment, log) as process:
        assert "First API key" not in log.read_text(), "the data were not found"
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert still_running(children, seconds=20) == []
