"""The commands in bin/ on a machine that has nothing yet. A project without requirements stands for ours: no downloads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.tree import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Our bin/ in a project whose bin/up only says where it runs."""
    folder = tmp_path / "a project with spaces"
    shutil.copytree(ROOT / "bin", folder / "bin", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "triageops").mkdir()
    (folder / "triageops" / "__init__.py").touch()
    (folder / "triageops" / "up.py").write_text(
        "import os, sys\nprint(sys.prefix, os.getcwd(), os.environ.get('TRIAGEOPS_DATA_DIR'), *sys.argv[1:], sep='|')\n"
    )
    for name in ("requirements.txt", "requirements-dev.txt"):
        (folder / name).write_text("# none\n")
    return folder


def start(project: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(project / "bin" / "up"), *arguments],
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(project.parent),
            "PYTHON": sys.executable,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(project: Path, *arguments: str, **environment: str) -> tuple[str, str, int]:
    process = start(project, *arguments, **environment)
    said, complained = process.communicate(timeout=60)
    return said, complained, process.returncode


def test_environment_is_made_once_and_remade_when_broken(project: Path) -> None:
    """One story, because making an environment takes seconds."""
    both = [start(project, "--demo", TRIAGEOPS_DATA_DIR="here") for _ in range(2)]
    ends = [process.communicate(timeout=60) for process in both]
    expected = f"{project}/.venv|{project}|/here|--demo\n"
    assert [said for said, _ in ends] == [expected] * 2
    assert sum("making .venv with Python 3." in complained for _, complained in ends) == 1

    expected = f"{project}/.venv|{project}|None\n"
    assert run(project) == (expected, "", 0)

    (project / "requirements.txt").write_text("# other pins\n")
    said, complained, _ = run(project)
    assert said == expected
    assert "making" not in complained
    assert "installing requirements.txt" in complained

    (project / "requirements.txt").write_text("./no-such-folder\n")
    said, complained, code = run(project)
    assert (said, code) == ("", 1)
    assert "packages could not be installed: ERROR: " in complained.splitlines()[-1]

    (project / "requirements.txt").write_text("# other pins\n")
    assert (project / ".venv" / ".unfinished").exists()
    (project / ".venv" / "bin" / "python").unlink()
    said, complained, _ = run(project)
    assert said == expected
    assert "making .venv" in complained


def test_machine_without_a_recent_python_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    """Names that are there but too old, or shims with nothing behind them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or "")
    for name in ("python3", "python3.12"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    said, complained, code = run(project, PATH=str(tools), PYTHON="")
    assert (said, code) == ("", 1)
    assert complained.startswith("Python 3.11 or newer is needed")
    assert complained.count("\n") == 1


def test_python_without_venv_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    """As Debian ships it: the interpreter without ensurepip."""
    bare = tmp_path / "bare-python"
    bare.write_text(
        f"#!/bin/sh\ncase \"$*\" in *' -m venv '*) echo 'ensurepip is not available' >&2; exit 1;; esac\nexec {sys.executable} \"$@\"\n"
    )
    bare.chmod(0o755)
    environment = project / "bin" / "lib" / "environment.py"
    environment.write_text(environment.read_text().replace("sys.executable", "os.environ['PYTHON']"))
    said, complained, code = run(project, PYTHON=str(bare), PATH="/usr/bin:/bin")
    assert (said, code) == ("", 1)
    assert "apt-get install python3-venv" in complained.splitlines()[-1]
