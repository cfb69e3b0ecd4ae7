"""Makes the virtual environment when it is missing or out of date, then becomes the command that was asked for."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Present while packages are being written: what is found then cannot be trusted, whatever it looks like.
UNFINISHED = VENV / ".unfinished"
REQUIREMENTS = {"run": ["requirements.txt"], "dev": ["requirements.txt", "requirements-dev.txt"]}
COMMANDS = {
    "up": ("run", ["-m", "triageops.up"]),
    "manage": ("run", ["-m", "triageops.local", str(PYTHON), str(ROOT / "manage.py")]),
    "test": ("dev", ["-m", "pytest"]),
    "check": ("dev", [str(ROOT / "bin" / "lib" / "check.py")]),
}


def main() -> NoReturn:
    name, arguments = sys.argv[1], sys.argv[2:]
    kind, command = COMMANDS[name]
    try:
        if not is_current(kind):
            with only_one_at_a_time():
                if not is_current(kind):
                    make(kind)
    except OSError as error:
        stop(f"cannot make {VENV}: {error}")
    if os.environ.get("TRIAGEOPS_DATA_DIR"):
        # As seen from where the command was given, before we leave there.
        os.environ["TRIAGEOPS_DATA_DIR"] = str(Path(os.environ["TRIAGEOPS_DATA_DIR"]).absolute())
    if name != "manage":
        os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.execv(PYTHON, [str(PYTHON), *command, *arguments])  # noqa: S606 - becoming the command is the purpose


def is_current(kind: str) -> bool:
    stamp = stamp_of(kind)
    return (
        not UNFINISHED.exists()
        and stamp.exists()
        and stamp.read_text() == fingerprint(kind)
        and os.access(PYTHON, os.X_OK)
    )


def stamp_of(kind: str) -> Path:
    return VENV / f".requirements-{kind}"


def fingerprint(kind: str) -> str:
    """Changes when a pinned version, the environment's Python or its place changes."""
    digest = hashlib.sha256(os.fsencode(VENV))
    for path in [*(ROOT / name for name in REQUIREMENTS[kind]), VENV / "pyvenv.cfg"]:
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def make(kind: str) -> None:
    uv = shutil.which("uv")
    if not is_usable():
        say(f"making .venv with Python {sys.version.split()[0]}")
        make_empty(uv)
    UNFINISHED.touch()
    say(f"installing {' and '.join(REQUIREMENTS[kind])}")
    install(kind, uv)
    UNFINISHED.unlink()
    for done in ("run", kind):
        stamp_of(done).write_text(fingerprint(done))


def is_usable() -> bool:
    if UNFINISHED.exists():
        return False
    # An environment whose folder was moved or copied still points to the old place.
    works = "import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.argv[1])"
    return PYTHON.exists() and quietly([str(PYTHON), "-I", "-c", works, str(VENV)]) is None


def make_empty(uv: str | None) -> None:
    if VENV.is_symlink():
        # What it leads to may serve another checkout.
        stop(f"{VENV} is a link, and would be emptied where it leads to: remove the link")
    if uv and quietly([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)]) is None:
        return
    failure = quietly([sys.executable, "-I", "-m", "venv", "--clear", str(VENV)])
    if failure is not None:
        stop(f"{sys.executable} cannot make environments (Debian: apt-get install python3-venv): {failure}")


def install(kind: str, uv: str | None) -> None:
    files = [word for name in REQUIREMENTS[kind] for word in ("-r", str(ROOT / name))]
    if uv and quietly([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *files]) is None:
        return
    # Without uv, or where only pip knows the way to the packages (a private index in pip's settings).
    if quietly([str(PYTHON), "-I", "-m", "pip", "--version"]) is not None:
        failure = quietly([str(PYTHON), "-I", "-m", "ensurepip"])
        if failure is not None:
            stop(f"pip cannot be added to .venv (Debian: apt-get install python3-venv): {failure}")
    pip = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    failure = quietly([*pip, *files])
    if failure is not None:
        stop(f"packages could not be installed: {failure}")


def quietly(command: list[str]) -> str | None:
    """Run the command; None when it succeeds, else the last line it said."""
    environment = {**os.environ, "PIP_USER": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or [f"exit code {done.returncode}"])[-1]


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that is making .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"triageops: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
