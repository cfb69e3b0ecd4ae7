import io
from typing import Any

import pytest

from demo.screen import Screen, lasting


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_without_a_terminal_is_a_few_plain_lines() -> None:
    output = io.StringIO()
    screen = Screen(output)
    for done in range(1001):
        screen.progress("answers", done, 1000)
    assert [line.strip() for line in output.getvalue().splitlines()] == [
        f"answers: {share} %" for share in (25, 50, 75, 100)
    ]


def test_progress_in_a_terminal_is_drawn_over_and_ends_with_a_line(monkeypatch: Any) -> None:
    monkeypatch.setenv("TERM", "xterm")
    output = Terminal()
    screen = Screen(output)
    screen.progress("answers", 1, 2)
    screen.say("something else")
    screen.progress("answers", 2, 2)
    before, after = output.getvalue().split("something else")
    assert before.count("\n") == 0
    assert "\r\033[K" in before.rpartition("answers")[2]
    assert "100%" in after
    assert after.endswith("\n")


def test_progress_of_nothing_is_complete() -> None:
    output = io.StringIO()
    Screen(output).progress("answers", 0, 0)
    assert "100 %" in output.getvalue()


def test_screen_without_a_reader_goes_on() -> None:
    Screen(Gone()).say("nobody hears this")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (100, "1 min 40 s"), (-3, "0 s")]
)
def test_lasting_is_said_in_minutes_and_seconds(seconds: float, text: str) -> None:
    assert lasting(seconds) == text
