"""bin/up: PostgreSQL, Redis, web, worker and beat under one roof, until Ctrl-C."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from triageops import embedded, local, processes
from triageops.address import Address, NoAddress
from triageops.supervisor import EndedEarly, Output, Program, Supervisor

READY_SECONDS = 90.0
# In a container we are root, and Celery would warn about it at each start.
QUIET_ROOT = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"}
COUNTS = ("WEB_WORKERS", "WEB_THREADS", "WORKER_CONCURRENCY")
DEMO_KEY = "demo-api-key"
GIVEN_KEY = "TRIAGEOPS_API_KEY"
DEMO = {
    "TRIAGEOPS_DEMO": "1",
    "TRIAGEOPS_BUCKET_SECONDS": "60",
    "TRIAGEOPS_LATENESS_SECONDS": "10",
    "TRIAGEOPS_CHECK_SECONDS": "10",
    "TRIAGEOPS_LOOK_SECONDS": "20",
    # Its alerts go to a receiver on this machine.
    "TRIAGEOPS_OUTBOUND_ALLOW": "127.0.0.0/8",
    # Only the demo's own words and our own trouble are to be seen; that an incident opens is a warning.
    "LOG_LEVEL": "ERROR",
}
HELP = """\
bin/up [--demo]

Starts TriageOps on this machine; Ctrl-C stops it, the next start finds the data.

  --demo   with a simulated LLM service, on a data folder of its own
  --help   this text

From the environment (docs/settings.md lists the rest):
  PORT, HOST             where the web server listens     8000, 127.0.0.1
  TRIAGEOPS_DATA_DIR     where the data live              .triageops or .triageops-demo
  DATABASE_URL           a PostgreSQL instead of ours
  REDIS_URL              a Redis instead of ours
  WEB_WORKERS, WEB_THREADS, WORKER_CONCURRENCY            2, 8, 2
  TRIAGEOPS_ADMIN_PASSWORD, TRIAGEOPS_API_KEY             of the first admin and API key; random without
"""


class CannotStart(Exception):
    """The message is for a person: one line for each thing that is wrong."""


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bin/up: {message} (see bin/up --help)\n")

    def format_help(self) -> str:
        return HELP


def programs(environment: dict[str, str], address: Address, schedule: str) -> Iterator[Program]:
    """What runs beside the servers."""
    level = (environment.get("LOG_LEVEL") or "INFO").lower()
    granian = [sys.executable, "-m", "granian", "--interface", "wsgi", "triageops.wsgi:application"]
    granian += ["--host", address.host, "--port", str(address.port), "--no-ws", "--no-access-log"]
    granian += ["--workers", environment.get("WEB_WORKERS") or "2"]
    granian += ["--blocking-threads", environment.get("WEB_THREADS") or "8"]
    granian += ["--respawn-failed-workers", "--respawn-interval", "1"]
    # Its warnings are about more threads than cores, which is meant: they wait for the database.
    yield Program("web", [*granian, "--log-level", "error"], environment)
    # Checked already, once, by `manage.py bootstrap`.
    celery = [sys.executable, "-m", "celery", "--quiet", "--skip-checks", "--app"]
    # Requests come first: what workers do may be seconds late, what a client sends may not wait.
    worker = [*_later(), *celery, "triageops", "worker", "--loglevel", level]
    worker += [
        "--queues",
        "default,rollups,checks,delivery,experiments",
        "--without-gossip",
        "--without-mingle",
    ]
    worker += ["--concurrency", environment.get("WORKER_CONCURRENCY") or "2"]
    yield Program("worker", worker, environment | QUIET_ROOT)
    yield Program(
        "beat", [*celery, "triageops.beat", "beat", "--loglevel", level, "--schedule", schedule], environment
    )


def demo(environment: Mapping[str, str]) -> Program:
    return Program(
        "demo", [sys.executable, "-m", "demo"], environment, stage=2, is_direct=True, may_finish=True
    )


def environment_of(installation: local.Installation, address: Address, *, is_demo: bool) -> dict[str, str]:
    metrics = installation.data / "metrics"
    # Files of processes that are gone: their counts would be added to those of the new ones.
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    made = {"TRIAGEOPS_BASE_URL": address.url, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    if address.reachable_host == address.host:
        made["TRIAGEOPS_ALLOWED_HOSTS"] = ",".join(
            dict.fromkeys(["localhost", "127.0.0.1", "[::1]", address.host])
        )
    if is_demo:
        made |= DEMO
        if not installation.given.get(GIVEN_KEY):
            made[GIVEN_KEY] = installation.secret(DEMO_KEY, prefix="tri_")
    return made | installation.environment()


def check(environment: Mapping[str, str]) -> None:
    """CannotStart, before anything has started, when the environment holds what a program would refuse."""
    reasons = [
        f"{name} is {environment[name]!r}: a number from 1 is needed"
        for name in COUNTS
        if environment.get(name) and not re.fullmatch("0*[1-9][0-9]{0,3}", environment[name])
    ]
    # A process of its own, so that Django does not stay in the memory of this one.
    command = [sys.executable, "-m", "triageops.settings_errors"]
    done = subprocess.run(
        command, cwd=local.ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    reasons += done.stderr.splitlines() if done.returncode else []
    if reasons:
        raise CannotStart("\n".join(reasons))


def _later() -> list[str]:
    """Puts before a command what lets others have the processor first; nothing where that is not to be had."""
    return ["nice", "-n", "10"] if shutil.which("nice") else []


def bootstrap(environment: Mapping[str, str], log: Path) -> str:
    """Migrate, make the first admin and API key; gives what the command has to say about them."""
    with log.open("w") as errors:
        done = subprocess.run(
            [sys.executable, "manage.py", "bootstrap"],
            cwd=local.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            preexec_fn=processes.die_with_owner(signal.SIGTERM),
        )
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        reasons = [line for line in lines if re.match(r"[\w.]+: ", line)] or lines or ["no reason given"]
        raise CannotStart(f"the database could not be set up: {reasons[-1]} ({log})")
    return done.stdout


def start(
    supervisor: Supervisor, installation: local.Installation, address: Address, environment: dict[str, str]
) -> str:
    """Start everything and return when /ready is green; gives the words of bootstrap."""
    if installation.servers:
        supervisor.say(f"starting {' and '.join(server.name for server in installation.servers)}")
    for server in installation.servers:
        supervisor.start(
            Program(
                server.name,
                server.command,
                environment,
                stage=0,
                stop_signal=server.stop_signal,
                prepare=server.prepare,
                log=installation.log_of(server),
            )
        )
    for server in installation.servers:
        embedded.wait_until_ready(
            server, partial(supervisor.is_running, server.name), log=installation.log_of(server)
        )
    supervisor.say("bringing the database up to date")
    said = bootstrap(environment, installation.data / "bootstrap.log")
    supervisor.say("starting web, worker and beat")
    for program in programs(environment, address, str(installation.data / "beat-schedule")):
        supervisor.start(program)
    host_header = environment["TRIAGEOPS_ALLOWED_HOSTS"].split(",")[0].lstrip(".*") or "localhost"
    deadline = time.monotonic() + READY_SECONDS
    while (trouble := address.trouble(host_header)) is not None:
        supervisor.require_all()
        if time.monotonic() > deadline:
            raise CannotStart(
                f"{address.url}/ready did not turn green within {READY_SECONDS:.0f} s: {trouble}"
            )
        time.sleep(0.1)
    return said


def summary(installation: local.Installation, address: Address, seconds: float, said: str) -> str:
    rows = {"Admin": "/admin/", "API": "/api/docs", "Metrics": "/metrics"}
    key, is_given = installation.data / DEMO_KEY, bool(installation.given.get(GIVEN_KEY))
    lines = ["", f"  TriageOps is ready ({seconds:.1f} s)", ""]
    lines += [f"    {name:<10} {address.url}{path}" for name, path in rows.items()]
    lines += [f"    {'Data':<10} {installation.data}"]
    # A key that was given is the one that works; a file of an earlier start holds another.
    lines += [f"    {'API key':<10} in {key}"] if key.exists() and not is_given else []
    lines += [""]
    if said.strip():
        lines += [*(f"    {line}".rstrip() for line in said.strip().splitlines()), ""]
    return "\n".join([*lines, "  Ctrl-C stops everything; the next bin/up finds the data.", ""])


def up(installation: local.Installation, *, is_demo: bool) -> None:
    """Run the product until interrupted."""
    began = time.monotonic()
    address = Address.of(installation.given)
    installation.make_folder()
    output = Output(sys.stdout)
    supervisor = Supervisor(output, notes=installation.data / "processes", folder=local.ROOT)
    with installation.lock("bin/up"):
        supervisor.stop_leftovers()
        address.require_free()
        environment = environment_of(installation, address, is_demo=is_demo)
        check(environment)
        try:
            said = start(supervisor, installation, address, environment)
            output.block(summary(installation, address, time.monotonic() - began, said))
            if is_demo:
                supervisor.start(demo(environment))
            supervisor.watch()
        finally:
            supervisor.say("stopping")
            supervisor.stop()
            for server in installation.servers:
                embedded.forget_sockets(server)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    parser = Arguments(prog="bin/up", allow_abbrev=False)
    parser.add_argument("--demo", action="store_true")
    is_demo = parser.parse_args(arguments).demo
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        up(local.Installation.of(os.environ, ".triageops-demo" if is_demo else ".triageops"), is_demo=is_demo)
    except KeyboardInterrupt:
        return 0
    except (CannotStart, NoAddress, EndedEarly, local.Unusable, embedded.ServerFailed) as failure:
        for line in str(failure).splitlines():
            print(f"bin/up: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
