"""Processes on this machine: stopped for certain, never outliving their owner, and not run as root where that is refused."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

STOP_SECONDS = 10.0
ACCOUNT = "triageops"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class NoAccount(Exception):
    """We are root and cannot become somebody else; the message is one line for a person."""


def die_with_owner(how: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program so that `how` reaches it when its owner dies; None where unsupported."""
    libc = _LIBC
    if libc is None:
        return None
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)


def open_log(path: Path) -> IO[bytes]:
    """A log to append to, made for its owner alone: a server's words may quote data."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float = STOP_SECONDS) -> None:
    """Ask the process to end, wait, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def birth_of(process: psutil.Process) -> str:
    """When it began, as text: with its number it names a process for good, the number alone is used again."""
    return repr(process.create_time())


def find(number: int, birth: str) -> psutil.Process | None:
    """That very process, while it runs."""
    try:
        process = psutil.Process(number)
        is_running = birth_of(process) == birth and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if is_running else None


def stop_leftover(process: psutil.Process, how: signal.Signals, seconds: float = STOP_SECONDS) -> None:
    """The same for a process that is not our child."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def kill_group(leader: int) -> None:
    """Kill what is left of a process group, whose leader may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def unprivileged_account() -> pwd.struct_passwd | None:
    """The account for programs that refuse root, made when missing; None when we are not root anyway."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    useradd = shutil.which("useradd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if useradd:
        # Two starts at once may race; whoever loses finds the account all the same.
        words = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
        subprocess.run(words, capture_output=True, check=False)
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise NoAccount(f"the account {ACCOUNT!r} cannot be made (useradd)") from None


def words_to_become(account: pwd.struct_passwd, needs: tuple[Path, ...]) -> list[str]:
    """Words before a command that run it as `account`, able to pass through private folders to what it `needs`."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NoAccount("`setpriv` (util-linux) is missing")
    words = [
        setpriv,
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--pdeathsig=INT",
    ]
    if not all(_is_open_to_all(place) for place in needs):
        # A clone below a folder such as /root: the one process may pass, instead of opening it for everyone.
        words += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*words, "--"]


def _is_open_to_all(folder: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder.resolve(), *folder.resolve().parents))
