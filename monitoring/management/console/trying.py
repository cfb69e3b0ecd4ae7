"""A backtest in the foreground: it says how far it is, and what came of it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection

from monitoring import backtests, transitions
from monitoring.management.console import parsing, words
from monitoring.management.console.acts import Said
from monitoring.models import Backtest, BacktestState
from monitoring.serializers import AskSerializer, BacktestDetailSerializer
from triageops.rest import Conflict

_LOOK_SECONDS = 0.5

Tell = Callable[[float], None]


class NoReport(Conflict):
    """It came to no end."""


def backtest(options: Mapping[str, Any], *, clock: Callable[[], datetime], tell: Tell) -> Said:
    """Ask, run here, and show the report; tell: hears how far it is, from 0 to 1."""
    monitor, by = parsing.monitor_named(options["monitor"]), parsing.person(options["by"])
    given = parsing.settings_of(options["pairs"], monitor)
    question = parsing.checked(AskSerializer, {"question": given})["question"] if given else None
    row = transitions.try_out(monitor, question, by=by, now=clock())
    try:
        with _followed(row, tell):
            backtests.run(row.pk, clock=clock)
    except KeyboardInterrupt:
        backtests.cancel(row, now=clock())
        raise
    row.refresh_from_db()
    if row.state != BacktestState.DONE:
        raise NoReport(row.error or f"The backtest is {row.state}.")
    lines = words.report(row.report)
    if options["apply"] is not None:
        count = transitions.apply(row, by=by, reason=options["apply"], now=clock())
        lines += ["", f"These settings are in force. Incidents that are over by that: {count}."]
    return Said(BacktestDetailSerializer(row).data, lines)


@contextmanager
def _followed(row: Backtest, tell: Tell) -> Iterator[None]:
    """While the block runs, tell what it writes of its progress."""
    is_over = threading.Event()

    def follow() -> None:
        try:
            while not is_over.wait(_LOOK_SECONDS):
                known = Backtest.objects.filter(pk=row.pk).values_list("progress", flat=True).first()
                if known is not None:
                    tell(known)
        finally:
            connection.close()

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        is_over.set()
        follower.join()
