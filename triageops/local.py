"""The installation in a data folder of this machine: its lock, its keys, its servers, its environment variables.

python -m triageops.local COMMAND ...    runs a command inside it (bin/manage does)
"""

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from triageops import embedded

ROOT = Path(__file__).resolve().parent.parent


class Unusable(Exception):
    """The installation cannot be used now; the message is one line for a person."""


@dataclass(frozen=True)
class Installation:
    """A data folder, and what the caller's environment says about it."""

    data: Path
    given: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, str], default: str = ".triageops") -> "Installation":
        return cls(data=(ROOT / (given.get("TRIAGEOPS_DATA_DIR") or default)).resolve(), given=given)

    @property
    def servers(self) -> tuple[embedded.Server, ...]:
        """The embedded servers: those for which no address was given."""
        return tuple(server for name, server in self._servers().items() if not self.given.get(name))

    def log_of(self, server: embedded.Server) -> Path:
        return self.data / f"{server.name}.log"

    def _servers(self) -> dict[str, embedded.Server]:
        return {
            "DATABASE_URL": embedded.Postgres(self.data / "postgres"),
            "REDIS_URL": embedded.Redis(self.data / "redis"),
        }

    def environment(self) -> dict[str, str]:
        """The variables that every process of the installation gets; what was given stays as it is."""
        made = {name: server.url for name, server in self._servers().items()}
        made |= {
            "TRIAGEOPS_DATA_DIR": str(self.data),
            "DJANGO_SETTINGS_MODULE": "triageops.settings",
            "PYTHONUNBUFFERED": "1",
        }
        if not (self.given.get("TRIAGEOPS_SECRET_KEY") or self.given.get("TRIAGEOPS_SECRET_KEY_FILE")):
            made["TRIAGEOPS_SECRET_KEY"] = self.secret("secret-key")
        kept = {name: value for name, value in self.given.items() if value or name not in made}
        environment = made | kept
        if not self.given.get("DATABASE_URL"):
            # psql and pg_dump that fit the server, for `bin/manage dbshell`.
            environment["PATH"] = f"{environment.get('PATH') or os.defpath}:{embedded.postgres_programs()}"
        return environment

    def secret(self, name: str, prefix: str = "") -> str:
        """A random text kept in the file `name`, readable by its owner only; made at the first call."""
        path = self.data / name
        with contextlib.suppress(FileExistsError):
            # Written beside its place and linked, so that nobody ever reads half of it.
            draft = self.data / f".{name}.{os.getpid()}"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(prefix + secrets.token_urlsafe(48))
            try:
                path.hardlink_to(draft)
            finally:
                draft.unlink()
        return path.read_text().strip()

    def make_folder(self) -> None:
        try:
            # Searchable, so that PostgreSQL's own account reaches its part when we are root.
            self.data.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError as error:
            raise Unusable(f"cannot make {self.data} ({error.strerror}): set TRIAGEOPS_DATA_DIR") from error
        if not os.access(self.data, os.W_OK | os.X_OK):
            raise Unusable(f"cannot write to {self.data}: set TRIAGEOPS_DATA_DIR")

    @contextlib.contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """Hold the data folder alone; Unusable when another command does."""
        with (self.data / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another command"
                raise Unusable(f"{holder} is using {self.data}: stop it, or set TRIAGEOPS_DATA_DIR") from None
            file.truncate(0)
            file.write(f"{holder} (process {os.getpid()})")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)


@contextlib.contextmanager
def running(installation: Installation) -> Iterator[None]:
    """The servers run during the block: those of a running bin/up, or else our own."""
    if not installation.servers:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(installation.lock("bin/manage"))
        except Unusable:
            for server in installation.servers:
                embedded.wait_until_ready(server, lambda: True)
        else:
            for server in installation.servers:
                stack.enter_context(embedded.run(server, log=installation.log_of(server)))
        yield


def main(command: list[str]) -> int:
    installation = Installation.of(os.environ)
    try:
        installation.make_folder()
        with running(installation):
            return subprocess.run(command, env=installation.environment(), check=False).returncode
    except (Unusable, embedded.ServerFailed) as failure:
        print(f"triageops: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
