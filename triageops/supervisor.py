"""Keeps child processes running: one that ends is started again, and all of them end with their owner."""

import contextlib
import datetime
import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from triageops import processes

LONGEST_WAIT_SECONDS = 30.0
# A child that ran this long did start well: the next wait begins at one second again.
STEADY_SECONDS = 60.0
STOP_SECONDS = 15.0


def _waits() -> Iterator[float]:
    """1, 2, 4 ... seconds, at most LONGEST_WAIT_SECONDS."""
    return itertools.accumulate(itertools.repeat(1.0), lambda wait, _: min(2 * wait, LONGEST_WAIT_SECONDS))


class EndedEarly(Exception):
    """A child ended while the product was starting; the message is one line for a person."""


@dataclass(frozen=True)
class Program:
    """What is to be kept running. `stage` orders the stop: the highest ends first."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stage: int = 1
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[[], None] | None = None
    # Where its output goes instead of ours.
    log: Path | None = None
    # Writes straight to our output, for a program that draws there.
    is_direct: bool = False
    # Ending by itself with exit code 0 is not an accident.
    may_finish: bool = False


@dataclass
class Child:
    """A program with its present process."""

    program: Program
    colour: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    waits: Iterator[float] = field(default_factory=_waits)
    # When to start it again; None while it runs.
    due_at: float | None = None


class Output:
    """One line at a time from many threads, each line with the name of its program."""

    def __init__(self, stream: IO[str]) -> None:
        self._printer = Printer(stream, width=len("postgres"))
        self._colours = get_colours()
        self._lock = threading.Lock()
        self._is_open = True

    def add(self, name: str) -> str:
        self._printer.width = max(self._printer.width, len(name))
        return str(next(self._colours))

    def line(self, name: str, text: str | bytes, colour: str | None = None) -> None:
        now = datetime.datetime.now().astimezone()  # noqa: TID251 - the time before each line
        self._write(lambda: self._printer.write(Message("line", text, now, name, colour)))

    def block(self, text: str) -> None:
        self._write(lambda: print(text, file=self._printer.output, flush=True))

    def _write(self, write: Callable[[], None]) -> None:
        with self._lock:
            if self._is_open:
                try:
                    write()
                except OSError:
                    # Nobody reads any more (`bin/up | head`); the children's output must go on being taken.
                    self._is_open = False


class Supervisor:
    """Owns children from start() to stop(). Each has its process group and a file in `notes` for finding it later."""

    def __init__(self, output: Output, notes: Path, folder: Path) -> None:
        self._output = output
        self._notes = notes
        self._folder = folder
        self._children: list[Child] = []

    def say(self, text: str) -> None:
        self._output.line("up", text)

    def stop_leftovers(self) -> None:
        """Stop what a killed owner left behind, where the system did not do it."""
        self._notes.mkdir(exist_ok=True)
        for note in self._notes.iterdir():
            leader, started_at = note.read_text().split()
            process = processes.find(int(leader), started_at)
            if process is not None:
                self.say(f"stopping {note.name}, left behind by a bin/up that was killed")
                processes.stop_leftover(process, signal.SIGTERM)
            note.unlink()

    def start(self, program: Program) -> None:
        child = Child(program, self._output.add(program.name))
        self._children.append(child)
        self._start(child)

    def is_running(self, name: str) -> bool:
        return any(
            child.program.name == name and child.process is not None and child.process.poll() is None
            for child in self._children
        )

    def require_all(self) -> None:
        """EndedEarly when one of the children is not running."""
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                raise EndedEarly(f"{child.program.name} {_ending(child.process)} while starting")

    def watch(self) -> None:
        """Start again what ends, for ever; leave by an exception, as a signal handler raises it."""
        while True:
            for child in self._children:
                self._look_after(child)
            time.sleep(0.2)

    def stop(self) -> None:
        """End all children, stage by stage; a second interruption kills what is left at once."""
        stages = sorted({child.program.stage for child in self._children}, reverse=True)
        try:
            for stage in stages:
                self._stop_stage([child for child in self._children if child.program.stage == stage])
        finally:
            for child in self._children:
                if child.process is not None:
                    processes.kill_group(child.process.pid)
                    child.process.wait()
                    (self._notes / child.program.name).unlink(missing_ok=True)

    def _start(self, child: Child) -> None:
        program = child.program
        if program.prepare is not None:
            program.prepare()
        with processes.open_log(program.log) if program.log else contextlib.nullcontext() as log:
            output = log or (None if program.is_direct else subprocess.PIPE)
            # Its own session: Ctrl-C in the terminal reaches us alone, and we end the children in order.
            child.process = subprocess.Popen(
                program.command,
                cwd=self._folder,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output and subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=processes.die_with_owner(program.stop_signal),
            )
        child.started_at = time.monotonic()
        child.due_at = None
        self._note(program.name, child.process.pid)
        if child.process.stdout is not None:
            threading.Thread(target=self._pass_on, args=(child, child.process.stdout), daemon=True).start()

    def _note(self, name: str, leader: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            (self._notes / name).write_text(f"{leader} {processes.birth_of(psutil.Process(leader))}")

    def _pass_on(self, child: Child, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._output.line(child.program.name, line, child.colour)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.due_at is not None:
            if now >= child.due_at:
                self._start_again(child)
        elif child.process is not None and child.process.poll() is not None:
            processes.kill_group(child.process.pid)
            if child.program.may_finish and child.process.returncode == 0:
                child.process = None
                return
            if now - child.started_at > STEADY_SECONDS:
                child.waits = _waits()
            self._wait(child, _ending(child.process))

    def _start_again(self, child: Child) -> None:
        try:
            self._start(child)
        except (OSError, RuntimeError, psutil.Error) as failure:
            self._wait(child, f"cannot be started ({failure})")

    def _wait(self, child: Child, reason: str) -> None:
        wait = next(child.waits)
        child.due_at = time.monotonic() + wait
        log = f" (its log: {child.program.log})" if child.program.log else ""
        self.say(f"{child.program.name} {reason}; starting it again in {wait:.0f} s{log}")

    def _stop_stage(self, children: list[Child]) -> None:
        running = {
            child.program.name: child.process
            for child in children
            if child.process is not None and child.process.poll() is None
        }
        for child in children:
            if child.program.name in running:
                running[child.program.name].send_signal(child.program.stop_signal)
        deadline = time.monotonic() + STOP_SECONDS
        while any(process.poll() is None for process in running.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for name, process in running.items():
            if process.poll() is None:
                self.say(f"{name} did not end within {STOP_SECONDS:.0f} s and is killed")
                processes.kill_group(process.pid)


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.poll()
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
