"""The real ones of Debian's packages, each a process of its own on a free port of loopback."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest

from tests.e2e.product import Product, free_port

Found = TypeVar("Found")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed: apt-get install prometheus prometheus-alertmanager")
    return found


def run(name: str, *words: str) -> str:
    """What the program says; it must end well."""
    done = subprocess.run([program(name), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def eventually(look: Callable[[], Found], what: str, *, seconds: float = 45) -> Found:
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return found


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


@contextlib.contextmanager
def _process(command: list[str], ready_url: str, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _answers(ready_url, process, log), command[0])
        yield
    finally:
        process.terminate()
        process.wait(15)


def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _written(path: Path, content: Any) -> Path:
    """JSON is YAML too."""
    path.write_text(json.dumps(content))
    return path


def authorization_of(product: Product) -> dict[str, Any]:
    return {"authorization": {"type": "Bearer", "credentials": product.key}}


@contextlib.contextmanager
def alertmanager(folder: Path, product: Product) -> Iterator[str]:
    """Its URL. It tells the product's webhook at once, but not what came from there."""
    hook = {
        "url": f"http://127.0.0.1:{product.port}/api/v1/hooks/alertmanager",
        "send_resolved": True,
        "http_config": authorization_of(product),
    }
    route = {
        "receiver": "triageops",
        "group_wait": "0s",
        "group_interval": "1s",
        "routes": [{"matchers": ['service="llm-triage"', 'source!=""'], "receiver": "nobody"}],
    }
    receivers = [{"name": "nobody"}, {"name": "triageops", "webhook_configs": [hook]}]
    config = _written(folder / "alertmanager.json", {"route": route, "receivers": receivers})
    run("amtool", "check-config", str(config))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with _process(command, f"{url}/-/ready", folder / "alertmanager.log"):
        yield url


@contextlib.contextmanager
def prometheus(folder: Path, product: Product, alertmanager_url: str, rules: list[Path]) -> Iterator[str]:
    """Its URL. It scrapes the product each second, and tells both the Alertmanager and the product of what fires."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {
                "job_name": "triageops",
                "static_configs": [{"targets": [f"127.0.0.1:{product.port}"]}],
            }
        ],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [alertmanager_url.removeprefix("http://")]}]},
                {
                    "path_prefix": "/alertmanager",
                    **authorization_of(product),
                    "static_configs": [{"targets": [f"127.0.0.1:{product.port}"]}],
                },
            ]
        },
    }
    path = _written(folder / "prometheus.json", config)
    run("promtool", "check", "config", str(path))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]
    with _process(command, f"{url}/-/ready", folder / "prometheus.log"):
        yield url


def fires(url: str, alertname: str, *, state: str = "active") -> list[Any]:
    """What an Alertmanager says of alerts of this name that are active, or suppressed."""
    wanted = quote(f'alertname="{alertname}"')
    found = read(f"{url}/api/v2/alerts?filter={wanted}")
    return [alert for alert in found if alert["status"]["state"] == state]
