"""A worker that kills itself at a chosen point of a check; run as a program by test_check_killed.py.

Reads one line for each run: the point (0: none), and the time of the check. For each it forks a process with a connection
of its own, and answers with the signal that ended it and the number of points that it passed. A point lies after each
statement, right before each COMMIT and right after it.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import django


def main() -> None:
    django.setup()
    from monitoring import checks

    for number, line in enumerate(sys.stdin):
        point, now, piece = line.split()
        checks.BUCKETS_PER_CHECK = int(piece)
        if not number:
            learn_by_heart(datetime.fromisoformat(now))
        back, forth = os.pipe()
        child = os.fork()
        if child == 0:
            check_and_die(int(point), datetime.fromisoformat(now), forth)
            os._exit(0)
        os.close(forth)
        _, status = os.waitpid(child, 0)
        passed = os.read(back, 100_000).count(b".")
        os.close(back)
        sys.stdout.write(f"{os.WTERMSIG(status)} {os.waitstatus_to_exitcode(status)} {passed}\n")
        sys.stdout.flush()


def learn_by_heart(now: datetime) -> None:
    """What is computed once in each process is inherited by the forks, so that a run is little more than the check."""
    from django.db import connection, transaction

    from monitoring import checks

    with transaction.atomic():
        checks.run_due(now)
        transaction.set_rollback(True)
    connection.close()


def check_and_die(point: int, now: datetime, forth: int) -> None:
    from django.db import connection

    from monitoring import checks

    numbers = count(1)

    def passed() -> None:
        os.write(forth, b".")
        if next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(execute: Callable[..., Any], *arguments: Any) -> Any:
        result = execute(*arguments)
        passed()
        return result

    database: Any = connection
    commit = database._commit

    def committing() -> None:
        passed()
        commit()
        passed()

    connection.ensure_connection()
    database._commit = committing
    with connection.execute_wrapper(watched):
        checks.run_due(now)


if __name__ == "__main__":
    main()
