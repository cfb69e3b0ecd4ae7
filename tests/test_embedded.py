import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from triageops import embedded, processes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def execute(url: str, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def processes_mentioning(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def test_servers_after_a_restart_have_their_data(folder: Path) -> None:
    with embedded.run_both(folder) as urls:
        execute(urls["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS number")
        redis.Redis.from_url(urls["REDIS_URL"]).set("kept", "yes")
    with embedded.run_both(folder) as urls:
        assert execute(urls["DATABASE_URL"], "SELECT number FROM kept") == [(42,)]
        assert redis.Redis.from_url(urls["REDIS_URL"]).get("kept") == b"yes"


def test_servers_after_the_block_leave_no_process(folder: Path) -> None:
    with embedded.run_both(folder):
        assert len(processes_mentioning(folder)) >= 2
    assert processes_mentioning(folder) == []


def test_postgres_after_a_kill_finds_what_was_committed(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres) as process:
        execute(postgres.url, "CREATE TABLE kept AS SELECT 42 AS number")
        process.kill()
        process.wait()
    with embedded.run(postgres):
        assert execute(postgres.url, "SELECT number FROM kept") == [(42,)]


def test_redis_after_a_kill_finds_what_was_written(folder: Path) -> None:
    server = embedded.Redis(folder)
    with embedded.run(server) as process:
        client = redis.Redis.from_url(server.url)
        client.set("kept", "yes")
        client.close()
        process.kill()
        process.wait()
    with embedded.run(server):
        assert redis.Redis.from_url(server.url).get("kept") == b"yes"


def test_postgres_with_a_stranger_in_its_pid_file_starts(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres) as process:
        said = (folder / "postmaster.pid").read_text()
        process.kill()
        process.wait()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (folder / "postmaster.pid").write_text(said.replace(said.split()[0], str(stranger.pid), 1))
        with embedded.run(postgres):
            assert stranger.poll() is None
    finally:
        stranger.communicate()


def test_postgres_left_behind_by_a_killed_owner_is_stopped_first(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    postgres.prepare()
    left_behind = subprocess.Popen(postgres.command, stderr=subprocess.DEVNULL)
    embedded.wait_until_ready(postgres, lambda: left_behind.poll() is None)
    with embedded.run(postgres):
        assert left_behind.wait(1) == 0
        assert execute(postgres.url, "SELECT 1") == [(1,)]


def test_servers_whose_owner_is_killed_end(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from triageops import embedded\n"
        "with embedded.run_both(Path(sys.argv[1])): print('up', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    servers = [process for process in processes_mentioning(folder) if process.pid != owner.pid]
    owner.kill()
    owner.communicate()
    assert psutil.wait_procs(servers, timeout=10)[1] == []


def test_postgres_after_an_interrupted_first_start_is_made_again(folder: Path) -> None:
    draft = folder.with_name(folder.name + ".new")
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres):
        assert execute(postgres.url, "SELECT current_database()") == [("triageops",)]


@pytest.mark.parametrize("name", ["with space, comma and é", "x" * 150])
def test_servers_in_an_awkward_folder_work(tmp_path: Path, name: str) -> None:
    with embedded.run_both(tmp_path / name) as urls:
        assert execute(urls["DATABASE_URL"], "SELECT 1") == [(1,)]
        assert redis.Redis.from_url(urls["REDIS_URL"]).ping()


def test_postgres_below_a_private_folder_leaves_its_permissions_alone(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    postgres = embedded.Postgres(private / "postgres")
    with embedded.run(postgres):
        assert execute(postgres.url, "SELECT 1") == [(1,)]
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_sockets_are_reachable_for_their_owner_only(folder: Path) -> None:
    with embedded.run_both(folder):
        for name in ("postgres", "redis"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700


def test_postgres_speaks_utf8_and_utc(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres):
        assert execute(postgres.url, "SHOW server_encoding") == [("UTF8",)]
        assert execute(postgres.url, "SHOW timezone") == [("UTC",)]
        assert execute(postgres.url, "SELECT upper('é')") == [("É",)]


def test_postgres_log_quotes_no_rows_and_is_for_its_owner_only(folder: Path) -> None:
    postgres, log = embedded.Postgres(folder), folder.with_name("log")
    with embedded.run(postgres, log=log):
        execute(postgres.url, "CREATE TABLE people (name text PRIMARY KEY)")
        execute(postgres.url, "INSERT INTO people VALUES ('Ada Lovelace')")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            execute(postgres.url, "INSERT INTO people VALUES ('Ada Lovelace')")
    said = log.read_text()
    assert "duplicate key value" in said
    assert "Ada" not in said
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_postgres_ends_a_transaction_that_was_left_open(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres):
        assert execute(postgres.url, "SHOW idle_in_transaction_session_timeout") == [("1min",)]


def test_durable_postgres_writes_through_to_the_disk(folder: Path) -> None:
    postgres = embedded.Postgres(folder)
    with embedded.run(postgres):
        shown = [execute(postgres.url, f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    assert shown == [[("on",)], [("on",)]]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account's folder")
def test_a_socket_folder_prepared_by_a_stranger_is_refused(tmp_path: Path) -> None:
    server = embedded.Redis(tmp_path / ("x" * 150))
    server.socket_folder.mkdir()
    os.chown(server.socket_folder, 12345, 12345)
    try:
        with pytest.raises(embedded.ServerFailed, match="belongs to another account"):
            server.prepare()
    finally:
        server.socket_folder.rmdir()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = embedded.Redis(folder)
    with embedded.run(server):
        pass
    (folder / "appendonly.aof").write_bytes(b"*no redis protocol\r\n")
    with (
        pytest.raises(embedded.ServerFailed, match=r"redis ended.*Bad file format"),
        embedded.run(server, log=folder / "log"),
    ):
        pass


def test_stop_of_a_process_that_ignores_the_signal_kills_it() -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    processes.stop(process, signal.SIGTERM, seconds=0.1)
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
