"""bin/check: everything a tool can say about the code without running a test."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from triageops import embedded

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
OPENAPI = ROOT / "docs" / "openapi.yaml"
DJANGO = (sys.executable, "-W", "error", "manage.py")


@dataclass(frozen=True)
class Step:
    """One question to one tool, and what to do when the answer is no."""

    name: str
    command: tuple[str, ...]
    remedy: str = ""


@dataclass(frozen=True)
class Result:
    step: Step
    seconds: float
    # What the tool said; None when all is well.
    complaint: str | None


def steps(openapi: Path) -> list[Step]:
    """The longest first, so that two cores end at about the same time."""
    spectacular = ("spectacular", "--validate", "--fail-on-warn", "--file", str(openapi))
    return [
        Step("types", (str(TOOLS / "mypy"), ".")),
        Step("import contracts", (str(TOOLS / "lint-imports"),)),
        Step("OpenAPI valid", (*DJANGO, *spectacular)),
        Step("deployment checks", (*DJANGO, "check", "--deploy", "--fail-level", "WARNING")),
        Step(
            "migrations complete",
            (*DJANGO, "makemigrations", "--check", "--dry-run"),
            "bin/manage makemigrations",
        ),
        Step("lint", (str(TOOLS / "ruff"), "check", "--quiet", "."), ".venv/bin/ruff check --fix"),
        Step("format", (str(TOOLS / "ruff"), "format", "--quiet", "--check", "."), ".venv/bin/ruff format"),
    ]


def run(step: Step, environment: dict[str, str]) -> Result:
    began = time.monotonic()
    done = subprocess.run(
        step.command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    complaint = (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"
    return Result(step, time.monotonic() - began, complaint if done.returncode else None)


def compare_openapi(fresh: Path) -> Result:
    step = Step("OpenAPI file current", (), "bin/manage spectacular --file docs/openapi.yaml")
    if not fresh.exists():
        return Result(step, 0, "it could not be made")
    is_current = OPENAPI.exists() and OPENAPI.read_bytes() == fresh.read_bytes()
    return Result(step, 0, None if is_current else "docs/openapi.yaml differs from what the code says")


def environment(urls: dict[str, str]) -> dict[str, str]:
    """As a careful deployment would set it, whatever the caller's shell says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGEOPS_")}
    return kept | {
        **urls,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DJANGO_SETTINGS_MODULE": "triageops.settings",
        "TRIAGEOPS_SECRET_KEY": "only-for-checks-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
        "TRIAGEOPS_BASE_URL": "https://triageops.example",
        "TRIAGEOPS_ALLOWED_HOSTS": "triageops.example",
    }


def report(result: Result) -> bool:
    mark = "ok  " if result.complaint is None else "FAIL"
    print(f"{mark}  {result.step.name:<22} {result.seconds:5.1f} s", flush=True)
    if result.complaint is not None:
        print("\n".join(f"      {line}" for line in result.complaint.splitlines()))
        if result.step.remedy:
            print(f"      -> {result.step.remedy}")
    return result.complaint is None


def main() -> int:
    argparse.ArgumentParser(prog="bin/check", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="triageops-check-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        fresh = folder / "openapi.yaml"
        postgres = embedded.Postgres(folder / "postgres", is_durable=False)
        # A database, because makemigrations compares with it; empty is enough.
        with (
            embedded.run(postgres, log=folder / "postgres.log"),
            concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool,
        ):
            variables = environment({"DATABASE_URL": postgres.url})
            runs = [pool.submit(run, step, variables) for step in steps(fresh)]
            are_good = [report(done.result()) for done in concurrent.futures.as_completed(runs)]
            are_good.append(report(compare_openapi(fresh)))
    failed = are_good.count(False)
    print(f"{failed} of {len(are_good)} checks failed" if failed else f"all {len(are_good)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
