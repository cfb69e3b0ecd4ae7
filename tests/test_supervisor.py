import io
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from triageops import processes, supervisor
from triageops.supervisor import EndedEarly, Output, Program, Supervisor

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"


class Stopped(Exception):
    pass


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def keeper(said: io.StringIO, tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(Output(said), notes=tmp_path / "processes", folder=tmp_path)
    found.stop_leftovers()
    yield found
    found.stop()


def program(name: str, code: str, **options: object) -> Program:
    return Program(name, [sys.executable, "-c", code], {}, **options)  # type: ignore[arg-type]


def number_of(keeper: Supervisor, name: str) -> int:
    return int((keeper._notes / name).read_text().split()[0])


def watch_until(keeper: Supervisor, is_done: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run watch() until the condition holds: its pause is where we look."""
    deadline = time.monotonic() + 20
    pause = time.sleep

    def look(_seconds: float) -> None:
        if is_done():
            raise Stopped
        assert time.monotonic() < deadline
        pause(0.02)

    monkeypatch.setattr(time, "sleep", look)
    with pytest.raises(Stopped):
        keeper.watch()
    monkeypatch.undo()


def wait_for(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_child_that_is_killed_is_started_again(
    keeper: Supervisor, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.start(program("worker", SLEEP))
    keeper.start(program("web", SLEEP))
    first, neighbour = number_of(keeper, "worker"), number_of(keeper, "web")
    psutil.Process(first).kill()
    watch_until(
        keeper, lambda: number_of(keeper, "worker") != first and keeper.is_running("worker"), monkeypatch
    )
    assert number_of(keeper, "web") == neighbour
    assert "worker was killed by SIGKILL; starting it again in 1 s" in said.getvalue()


def test_child_that_keeps_ending_is_started_ever_more_rarely() -> None:
    assert list(itertools.islice(supervisor._waits(), 8)) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_child_that_cannot_be_prepared_is_tried_again(
    keeper: Supervisor, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def prepare() -> None:
        tries.append("try")
        if len(tries) == 2:
            raise OSError("disk is full")

    keeper.start(program("postgres", SLEEP, prepare=prepare))
    psutil.Process(number_of(keeper, "postgres")).kill()
    watch_until(keeper, lambda: len(tries) == 3, monkeypatch)
    assert "postgres cannot be started (disk is full); starting it again in 2 s" in said.getvalue()


def test_child_that_may_finish_is_not_started_again(
    keeper: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.start(program("demo", "", may_finish=True))
    watch_until(keeper, lambda: keeper._children[0].process is None, monkeypatch)


def test_child_that_ends_while_starting_is_reported(keeper: Supervisor) -> None:
    keeper.start(program("web", "raise SystemExit(3)"))
    wait_for(lambda: not keeper.is_running("web"))
    with pytest.raises(EndedEarly, match="web ended with exit code 3 while starting"):
        keeper.require_all()


def test_output_of_children_has_their_names(keeper: Supervisor, said: io.StringIO) -> None:
    keeper.start(program("web", "print('hello'); print('world')"))
    wait_for(lambda: "world" in said.getvalue())
    assert [line.split("| ")[1] for line in said.getvalue().splitlines()] == ["hello", "world"]


def test_output_nobody_reads_any_more_does_not_stop_the_children(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    output = Output(Closed())
    output.line("web", "hello")
    output.block("world")


def test_log_of_a_child_goes_to_its_file(keeper: Supervisor, said: io.StringIO, tmp_path: Path) -> None:
    keeper.start(program("redis", "print('ready')", log=tmp_path / "redis.log"))
    wait_for(lambda: not keeper.is_running("redis"))
    assert (tmp_path / "redis.log").read_text() == "ready\n"
    assert said.getvalue() == ""


def test_stop_ends_the_upper_stage_before_the_lower(keeper: Supervisor, tmp_path: Path) -> None:
    note = (
        "import pathlib, signal, sys, time\ndef end(*_):\n    open('order', 'a').write('{0} '); sys.exit()\n"
    )
    note += "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    said = io.StringIO()
    keeper._output = Output(said)
    for stage, name in enumerate(["postgres", "web", "demo"]):
        keeper.start(program(name, note.format(name), stage=stage))
    wait_for(lambda: said.getvalue().count("up") == 3)
    keeper.stop()
    assert (tmp_path / "order").read_text().split() == ["demo", "web", "postgres"]


def test_stop_kills_a_child_that_does_not_listen(
    keeper: Supervisor, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    keeper.start(program("worker", STUBBORN))
    wait_for(lambda: "deaf" in said.getvalue())
    child = psutil.Process(number_of(keeper, "worker"))
    keeper.stop()
    assert not child.is_running()
    assert "worker did not end within 0 s and is killed" in said.getvalue()


def test_stop_leaves_no_grandchild(keeper: Supervisor, said: io.StringIO) -> None:
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{SLEEP}']).pid, flush=True); {SLEEP}"
    keeper.start(program("web", code))
    wait_for(lambda: "| " in said.getvalue())
    grandchild = psutil.Process(int(said.getvalue().split("| ")[1]))
    keeper.stop()
    wait_for(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_leftovers_of_a_killed_owner_are_stopped(keeper: Supervisor, said: io.StringIO) -> None:
    leftover = subprocess.Popen([sys.executable, "-c", SLEEP])
    birth = processes.birth_of(psutil.Process(leftover.pid))
    (keeper._notes / "web").write_text(f"{leftover.pid} {birth}")
    keeper.stop_leftovers()
    leftover.wait(0.1)
    assert processes.find(leftover.pid, birth) is None
    assert "stopping web, left behind" in said.getvalue()


def test_leftover_whose_number_was_given_to_a_stranger_is_spared(keeper: Supervisor) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        (keeper._notes / "web").write_text(f"{stranger.pid} 12345.0")
        keeper.stop_leftovers()
        assert stranger.poll() is None
        assert list(keeper._notes.iterdir()) == []
    finally:
        stranger.kill()
        stranger.wait()
