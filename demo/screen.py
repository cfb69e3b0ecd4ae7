"""What the demo says: lines with the time of day, and one bar that is drawn in place where the output is a terminal."""

import datetime
import io
import os
import shutil
import sys
import threading
import time
from typing import TextIO

_NARROWEST_BAR, _WIDEST_BAR = 8, 32
_BESIDE_BAR = 68
_REDRAW_SECONDS = 0.1
# Where nothing can be drawn in place: a line each time another quarter is done.
_STEPS = 4


class Screen:
    """One voice for several threads."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no such letters shows question marks instead of nothing.
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._lock = threading.RLock()
        self._draws = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._is_drawn = False
        self._drawn_at = 0.0
        self._step = 0

    def say(self, text: str = "") -> None:
        """One line, with the time of day before it; nothing at all for an empty one."""
        at = datetime.datetime.now().astimezone()
        self._line(f"{at:%H:%M:%S}  {text}" if text else "")

    def block(self, *lines: str) -> None:
        """Lines that belong together, set apart."""
        with self._lock:
            for line in ("", *lines, ""):
                self._line(f"    {line}".rstrip())

    def progress(self, what: str, done: int, total: int) -> None:
        """How far one piece of work is; at its end the bar stays as a line."""
        share = 1.0 if total <= 0 else min(done / total, 1.0)
        with self._lock:
            if self._draws:
                self._draw(what, share, f"{grouped(done)} of {grouped(total)}")
            else:
                self._note(what, share)

    def _draw(self, what: str, share: float, count: str) -> None:
        now = time.monotonic()
        if share < 1 and now - self._drawn_at < _REDRAW_SECONDS:
            return
        self._drawn_at = now
        columns = shutil.get_terminal_size().columns
        width = max(_NARROWEST_BAR, min(_WIDEST_BAR, columns - _BESIDE_BAR))
        filled = round(share * width)
        bar = "█" * filled + "░" * (width - filled)
        # A line that wraps could not be drawn over.
        text = f"          {what:<28}{bar} {share:4.0%}  {count}"[: columns - 1]
        self._write(f"\r\033[K{text}" + ("\n" if share >= 1 else ""))
        self._is_drawn = share < 1

    def _note(self, what: str, share: float) -> None:
        step = int(share * _STEPS)
        if step != self._step and step > 0:
            self._line(f"          {what}: {step * 100 // _STEPS} %")
        self._step = step % _STEPS

    def _line(self, text: str) -> None:
        with self._lock:
            self._write(("\r\033[K" if self._is_drawn else "") + text + "\n")
            self._is_drawn = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Nobody reads any more; the service goes on all the same.
            self._draws = False


def grouped(number: int) -> str:
    """12 345: a space between thousands, which every language reads alike."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


def lasting(seconds: float) -> str:
    """“1 min 40 s”, for a person."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
