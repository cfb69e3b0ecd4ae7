import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from triageops import embedded, local
from triageops.local import Installation, Unusable


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    found = Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path / "data")})
    found.make_folder()
    return found


def test_data_folder_without_a_word_is_in_the_project() -> None:
    assert Installation.of({}).data == local.ROOT / ".triageops"
    assert Installation.of({}, ".triageops-demo").data == local.ROOT / ".triageops-demo"


def test_data_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match=r"cannot make .*file/data .*set TRIAGEOPS_DATA_DIR"):
        Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path / "file" / "data")}).make_folder()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Unusable, match="cannot write"):
        Installation.of({"TRIAGEOPS_DATA_DIR": str(tmp_path)}).make_folder()


def test_secret_is_made_once_and_for_the_owner_only(installation: Installation) -> None:
    first = installation.secret("secret-key")
    assert len(first) >= 50
    assert installation.secret("secret-key") == first
    assert stat.S_IMODE((installation.data / "secret-key").stat().st_mode) == 0o600
    assert sorted(path.name for path in installation.data.iterdir()) == ["secret-key"]


def test_environment_keeps_what_was_given(tmp_path: Path) -> None:
    given = {
        "TRIAGEOPS_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://elsewhere/db",
        "TRIAGEOPS_SECRET_KEY": "mine",
        "OTHER": "kept",
    }
    environment = Installation.of(given).environment()
    assert {name: environment[name] for name in given} == given
    assert environment["REDIS_URL"].startswith("unix://")
    assert not (tmp_path / "secret-key").exists()


def test_environment_with_a_secret_file_makes_no_second_secret(tmp_path: Path) -> None:
    given = {"TRIAGEOPS_DATA_DIR": str(tmp_path), "TRIAGEOPS_SECRET_KEY_FILE": "/run/secrets/key"}
    assert "TRIAGEOPS_SECRET_KEY" not in Installation.of(given).environment()


def test_servers_are_embedded_only_where_no_address_was_given(tmp_path: Path) -> None:
    given = {"TRIAGEOPS_DATA_DIR": str(tmp_path)}
    assert [server.name for server in Installation.of(given).servers] == ["postgres", "redis"]
    assert [server.name for server in Installation.of(given | {"DATABASE_URL": "x"}).servers] == ["redis"]
    assert Installation.of(given | {"DATABASE_URL": "x", "REDIS_URL": "y"}).servers == ()


def test_lock_held_by_another_names_the_holder(installation: Installation) -> None:
    with (
        installation.lock("bin/up"),
        pytest.raises(Unusable, match=rf"bin/up \(process {os.getpid()}\) is using"),
        installation.lock("bin/manage"),
    ):
        pass
    with installation.lock("bin/up"):
        pass


def test_command_runs_with_servers_of_its_own_when_none_run(installation: Installation) -> None:
    code = "import os, psycopg2; psycopg2.connect(os.environ['DATABASE_URL']).close(); print('connected')"
    done = subprocess.run(
        [sys.executable, "-m", "triageops.local", sys.executable, "-c", code],
        cwd=local.ROOT,
        env={**os.environ, **installation.given, "DATABASE_URL": "", "REDIS_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("connected\n", "", 0)


def test_command_uses_the_servers_that_run(installation: Installation) -> None:
    with installation.lock("bin/up"), embedded.run(embedded.Redis(installation.data / "redis")) as process:
        only_redis = Installation(installation.data, {"DATABASE_URL": "postgresql://elsewhere/db"})
        with local.running(only_redis):
            assert process.poll() is None


def test_command_that_fails_passes_its_exit_code_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "triageops.local", sys.executable, "-c", "raise SystemExit(7)"],
        cwd=local.ROOT,
        env={**os.environ, "TRIAGEOPS_DATA_DIR": str(tmp_path), "DATABASE_URL": "x", "REDIS_URL": "y"},
        check=False,
    )
    assert done.returncode == 7
