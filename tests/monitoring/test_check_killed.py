"""A worker is killed between any two statements of a check, and nothing is lost, doubled or left out."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from django.db import connection, transaction

from monitoring import checks, lifecycle
from monitoring.models import (
    BudgetEntry,
    DriftEvaluation,
    Incident,
    IncidentEvent,
    Monitor,
    MonitorSlice,
    OutboxMessage,
)
from tests.monitoring.factories import (
    add_bucket,
    add_values,
    bucket_at,
    close,
    make_channel,
    make_metric,
    make_monitor,
    now_after,
    roll_hours,
)
from tests.monitoring.test_races import at_once

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("killed_worker.py")
WORKER_NAME = "triageops-killed-worker"
SIGKILL = 9

LEARNT = 290
PIECE = 12
BEFORE, LAST = LEARNT + 11, LEARNT + 35
"""Up to BEFORE everything is checked and one incident is open; then two pieces are left to be checked."""

_ROWS: tuple[tuple[type[Any], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        Monitor,
        (
            "name",
            "watermark_at",
            "due_at",
            "checked_at",
            "check_error",
            "failure_count",
            "last_row_at",
        ),
        ("name",),
    ),
    (
        MonitorSlice,
        ("key", "labels", "is_tracked", "evidence", "log_evidence", "recovery", "bucket_at", "last_row_at"),
        ("monitor", "key"),
    ),
    (
        DriftEvaluation,
        (
            *(
                "slice__key",
                "bucket_at",
                "n",
                "mean",
                "m2",
                "log_evidence",
                "is_alarm",
                "is_signal",
                "is_frozen",
            ),
            *("expected", "low", "high"),
        ),
        ("slice__monitor", "slice__key", "bucket_at"),
    ),
    (
        Incident,
        (
            *(
                "slice_key",
                "labels",
                "signal",
                "title",
                "severity",
                "state",
                "onset_at",
                "opened_at",
                "resolved_at",
            ),
            *("resolution", "effect", "evidence", "alarm_count", "version"),
        ),
        ("monitor", "slice_key", "opened_at", "pk"),
    ),
    (
        IncidentEvent,
        ("incident__slice_key", "seq", "kind", "at", "details"),
        ("incident__slice_key", "incident", "seq"),
    ),
    (
        OutboxMessage,
        ("incident__slice_key", "channel__name", "seq", "kind", "status", "attempt_count", "payload"),
        ("incident__slice_key", "incident", "channel", "seq"),
    ),
    (
        BudgetEntry,
        ("monitor__name", "day", "expected", "alarm_count", "signal_count", "inhibited_count"),
        ("monitor", "day"),
    ),
)
_OF_THE_ROW = {"incident_id", "incident_url", "event_hash"}


def state() -> list[str]:
    """Everything that checks write, as text: floats to the last bit, but no random ids."""
    return [
        f"{model.__name__} {json.dumps([_plain(value) for value in row], sort_keys=True, default=str)}"
        for model, fields, order in _ROWS
        for row in model.objects.order_by(*order).values_list(*fields)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if name not in _OF_THE_ROW}
    return value


def fill(start: int, end: int, variant: str, *, mean: float = 0.8) -> None:
    random = np.random.default_rng([ord(variant), start])
    for number in range(start, end):
        add_values(number, np.clip(random.normal(mean, 0.08, 20), 0, 1).tolist(), variant=variant)


def watched_drift() -> Monitor:
    """Three variants and all together; one has an open incident that will be over, another one begins to drift, a bucket comes late."""
    for variant in "abc":
        fill(0, LEARNT, variant)
    fill(LEARNT, LEARNT + 9, "a", mean=0.55)
    fill(LEARNT + 9, LAST + 1, "a")
    fill(LEARNT, LEARNT + 29, "b")
    fill(LEARNT + 29, LAST + 1, "b", mean=0.5)
    fill(LEARNT, LAST + 1, "c")
    add_values(LEARNT + 13, [0.8] * 5, late_by=9, variant="d")
    roll_hours()
    make_metric()
    monitor = Monitor.objects.create(
        name="helpfulness drift",
        kind="distribution",
        metric="helpfulness",
        split_by=["variant"],
        max_slices=3,
        is_whole_watched=True,
        reference_days=2,
        alarms_per_30_days=1.0,
    )
    monitor.channels.set([make_channel("one"), make_channel("two")])
    close(LEARNT - 1)
    lifecycle.activate(monitor, now=bucket_at(LEARNT), without_backtest="a test")
    close(BEFORE)
    checks.run_due(now_after(BEFORE))
    close(LAST)
    return monitor


class Kept:
    """What the tables of the app held, to be put back as often as wanted."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            self.tables = [
                name
                for name in connection.introspection.table_names(cursor)
                if name.startswith("monitoring_")
            ]
            for name in self.tables:
                cursor.execute(f"CREATE UNLOGGED TABLE kept_{name} AS TABLE {name}")

    def put_back(self) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            # No triggers: events refuse to be removed, and references may point ahead.
            cursor.execute("SET LOCAL session_replication_role = replica")
            for name in self.tables:
                cursor.execute(f"DELETE FROM {name}; INSERT INTO {name} SELECT * FROM kept_{name}")

    def forget(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE " + ", ".join(f"kept_{name}" for name in self.tables))


@pytest.fixture
def kept() -> Iterator[Callable[[], Kept]]:
    """Keeps the present rows; the copies go away with the test."""
    made: list[Kept] = []

    def keep() -> Kept:
        made.append(Kept())
        return made[-1]

    yield keep
    for one in made:
        one.forget()


class Worker:
    """The program that kills itself; each run of it is a new process with a connection of its own."""

    def __init__(self) -> None:
        found = connection.settings_dict
        address = f"{quote(str(found['HOST']), safe='')}:{found['PORT'] or 5432}"
        url = f"postgresql://{found['USER']}:{quote(found['PASSWORD'])}@{address}/{found['NAME']}"
        environment = {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "PGAPPNAME": WORKER_NAME}
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def check(self, now: datetime, *, die_at: int = 0) -> tuple[bool, int]:
        """Whether it was killed, and how many points it passed; its connection is gone then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{die_at} {now.isoformat()} {PIECE}\n")
        self.process.stdin.flush()
        signal_number, code, passed = map(int, self.process.stdout.readline().split())
        assert code in {0, -SIGKILL}
        self._wait_until_gone()
        return signal_number == SIGKILL, passed

    @staticmethod
    def _wait_until_gone() -> None:
        """PostgreSQL needs a moment to notice that the other end is gone; until then the monitor stays locked."""
        for _ in range(500):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [WORKER_NAME])
                if cursor.fetchone() is None:
                    return
            threading.Event().wait(0.01)
        pytest.fail("the killed worker's connection is still there")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.mark.django_db(transaction=True)
def test_check_killed_at_any_point_is_finished_by_the_next_one_as_if_nothing_had_happened(
    worker: Worker, kept: Callable[[], Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "BUCKETS_PER_CHECK", PIECE)
    watched_drift()
    before, beginning = state(), kept()
    now = now_after(LAST)
    was_killed, points = worker.check(now)
    assert not was_killed
    undisturbed = state()
    assert_worth_walking_through(points)
    halves = set()
    for point in range(1, points + 1):
        beginning.put_back()
        assert state() == before
        assert worker.check(now, die_at=point) == (True, point)
        halves.add(tuple(state()))
        checks.run_due(now)
        assert state() == undisturbed, f"killed at point {point} of {points}"
    # Nothing, the first piece, or everything: a transaction is there as a whole or not at all.
    assert len(halves) == 3


def assert_worth_walking_through(points: int) -> None:
    """The check opens, recovers, resolves and notes; it writes to each table, in two transactions."""
    assert points > 40
    kinds = set(IncidentEvent.objects.values_list("kind", flat=True))
    assert {"opened", "recovering", "resolved"} <= kinds
    assert Incident.objects.count() >= 2
    assert Incident.objects.open().count() >= 1
    assert OutboxMessage.objects.filter(kind="trigger").count() >= 4
    assert MonitorSlice.objects.count() == 4
    entry = BudgetEntry.objects.get()
    assert entry.alarm_count + entry.signal_count + entry.inhibited_count >= 2
    assert Monitor.objects.get().watermark_at == bucket_at(LAST + 1)


def told() -> list[str]:
    """What does not depend on when the checks ran: evidence, evaluations, and the incidents without their times."""
    found = [row for row in state() if row.startswith(("MonitorSlice", "DriftEvaluation"))]
    fields = (
        "slice_key",
        "signal",
        "title",
        "severity",
        "state",
        "onset_at",
        "resolution",
        "alarm_count",
        "effect",
    )
    rows = Incident.objects.order_by("slice_key", "onset_at").values_list(*fields)
    return [*found, *(json.dumps(row, default=str) for row in rows)]


@pytest.mark.django_db(transaction=True)
def test_missed_beats_catch_up_with_the_same_evidence_to_the_last_bit(kept: Callable[[], Kept]) -> None:
    watched_drift()
    beginning = kept()
    for number in range(BEFORE + 1, LAST + 1):
        close(number)
        checks.run_due(now_after(number))
    by_the_minute, used = told(), BudgetEntry.objects.get().expected
    beginning.put_back()
    close(LAST)
    assert checks.run_due(now_after(LAST)) > 60
    assert told() == by_the_minute
    assert BudgetEntry.objects.get().expected == pytest.approx(used, rel=1e-12)


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_once_leave_what_one_alone_leaves(kept: Callable[[], Kept]) -> None:
    watched_drift()
    beginning, now = kept(), now_after(LAST)
    checks.run_due(now)
    alone = state()
    beginning.put_back()
    at_once(lambda: checks.run_due(now))
    assert state() == alone


@pytest.mark.django_db
def test_late_facts_go_to_the_next_check_and_change_nothing_before_it() -> None:
    """The bucket that they belong to was checked; they are evidence of the bucket in which they became known."""
    make_monitor()
    for number in range(4):
        add_bucket(number, 0.84)
    close(3)
    checks.run_due(now_after(3))
    before = list(DriftEvaluation.objects.order_by("bucket_at").values())
    add_bucket(1, 0.2, n=300, late_by=3, model="slow")
    add_bucket(4, 0.84)
    close(4)
    assert checks.run_due(now_after(4)) == 1
    after = list(DriftEvaluation.objects.order_by("bucket_at").values())
    assert after[:-1] == before
    assert (after[-1]["bucket_at"], after[-1]["n"]) == (bucket_at(4), 500)
    assert after[-1]["mean"] == pytest.approx((300 * 0.2 + 200 * 0.84) / 500)
    assert MonitorSlice.objects.get().evidence["at"] == bucket_at(5).timestamp()
