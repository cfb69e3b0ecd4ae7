"""Many processes at once, Redis emptied, a process killed: one unit never has two variants."""

import json
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from django_redis import get_redis_connection

from experiments import allocation, catalogue, epochs, lifecycle
from experiments.allocation import Asked, copies
from experiments.models import AllocationEpoch, Assignment, EpochKind, Experiment
from experiments.placement import Stored, standing
from tests.experiments.factories import NOW, draft, running, units
from tests.experiments.processes import ended, started

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "llm_model_ab_test"
UNITS = 500
PROCESSES = 6

# Says "ready", waits for a line, then asks for all units in an order of its own, alone and in batches, again and again,
# until the file says stop, and then once more; every answer is one line.
SCRIPT = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from experiments import allocation
seed, count, rounds, stop = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
random, key = Random(seed), "llm_model_ab_test"
allocation.known(key)
print("ready")
sys.stdin.readline()
done, is_last = 0, False
while not is_last:
    is_last = done >= rounds and stop.exists()
    wanted = [f"user-{n}" for n in range(count)]
    random.shuffle(wanted)
    while wanted:
        size = random.choice([1, 1, 1, 20])
        batch, wanted = wanted[:size], wanted[size:]
        asked = [allocation.Asked(allocation.known(key), unit, {}) for unit in batch]
        answers = allocation.decide(asked, now=datetime.now(UTC))
        print(json.dumps([[u, a.variant, a.assigned_at.isoformat()] for u, a in zip(batch, answers)]))
    done += 1
print("end")
"""


class Crowd:
    """Processes that race, each read by a thread, so that no pipe is ever full."""

    def __init__(self, stop: Path) -> None:
        self.stop = stop
        self.answers: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.readers: list[Thread] = []
        self.has_ended: set[int] = set()

    def add(self, seed: int, rounds: int) -> None:
        process = started(
            SCRIPT, str(seed), str(UNITS), str(rounds), str(self.stop), PYTHONHASHSEED=str(seed)
        )
        self.processes[seed] = process

    def go(self, *seeds: int) -> None:
        for seed in seeds:
            stdout = self.processes[seed].stdout
            assert stdout is not None
            assert stdout.readline() == "ready\n"
        for seed in seeds:
            reader = Thread(target=self._read, args=[seed])
            reader.start()
            self.readers.append(reader)
            stdin = self.processes[seed].stdin
            assert stdin is not None
            stdin.write("go\n")
            stdin.flush()

    def _read(self, seed: int) -> None:
        stdout = self.processes[seed].stdout
        assert stdout is not None
        for line in stdout:
            if line == "end\n":
                self.has_ended.add(seed)
            elif line.endswith("\n"):
                self.answers[seed] += [(one[0], one[1], one[2]) for one in json.loads(line)]

    def wait(self, seconds: float = 80) -> None:
        deadline = time.monotonic() + seconds
        for reader in self.readers:
            reader.join(max(0.1, deadline - time.monotonic()))
        assert not any(reader.is_alive() for reader in self.readers)

    def waits_for(self, seed: int, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.answers[seed]) < count:
            assert time.monotonic() < deadline, "the process says nothing"
            time.sleep(0.005)

    def variants(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for answers in list(self.answers.values()):
            for unit, variant, _ in answers:
                found[unit][variant] += 1
        return found


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    made = Crowd(tmp_path / "stop")
    yield made
    for process in made.processes.values():
        ended(process)


@pytest.fixture
def emptied() -> Iterator[None]:
    """Redis is emptied again and again."""
    is_over = Event()

    def empty() -> None:
        while not is_over.wait(0.02):
            get_redis_connection("default").flushdb()

    thread = Thread(target=empty)
    thread.start()
    yield
    is_over.set()
    thread.join()


def test_race_of_many_processes_with_redis_emptied_and_one_killed_gives_each_unit_one_variant(
    crowd: Crowd, emptied: None
) -> None:
    running()
    for seed in range(PROCESSES):
        crowd.add(seed, rounds=1)
    crowd.go(*range(PROCESSES))
    crowd.waits_for(0, 150)
    crowd.processes[0].kill()
    crowd.add(PROCESSES, rounds=0)
    crowd.go(PROCESSES)
    crowd.stop.touch()
    crowd.wait()

    assert crowd.processes[0].wait(10) == -9
    assert crowd.has_ended == set(range(1, PROCESSES + 1))
    found = crowd.variants()
    assert len(found) == UNITS
    assert {unit: len(variants) for unit, variants in found.items()} == dict.fromkeys(found, 1)
    assert min(variants.total() for variants in found.values()) >= 2 * (PROCESSES - 1) + 1
    rows = dict(Assignment.objects.values_list("unit", "variant__key"))
    assert Assignment.objects.count() == UNITS
    assert rows == {unit: next(iter(variants)) for unit, variants in found.items()}
    # Also the time of it is one.
    times = {(unit, at) for answers in crowd.answers.values() for unit, _, at in answers}
    assert len(times) == UNITS


def test_race_with_a_minimal_move_in_the_middle_changes_the_moved_units_once_and_no_other(
    crowd: Crowd, emptied: None
) -> None:
    experiment = lifecycle.start(draft({"a": 5_000, "b": 5_000}, "a"), by=None, now=NOW)
    for seed in range(PROCESSES):
        crowd.add(seed, rounds=1)
    crowd.go(*range(PROCESSES))
    crowd.waits_for(0, 200)
    epochs.change_weights(experiment, EpochKind.MINIMAL_MOVE, {"a": 2_000, "b": 8_000}, by=None, now=NOW)
    time.sleep(1.0)
    crowd.stop.touch()
    crowd.wait()

    assert crowd.has_ended == set(range(PROCESSES))
    definition = allocation.known(KEY)
    positions = {arm.id: position for position, arm in enumerate(definition.arms)}
    keys = [arm.key for arm in definition.arms]
    rows = defaultdict(list)
    for row in Assignment.objects.order_by("unit", "generation"):
        stored = Stored(positions[row.variant_id], round(row.bucket * 10_000), row.epoch, row.generation)
        rows[row.unit].append(stored)
    assert len(rows) == UNITS
    assert {tuple(one.generation for one in found) for found in rows.values()} <= {(1,), (1, 2)}
    # In each process the answers change at most once, from what was stored to what stands.
    changed = set()
    for answers in crowd.answers.values():
        said: dict[str, list[str]] = defaultdict(list)
        for unit, variant, _ in answers:
            if said[unit][-1:] != [variant]:
                said[unit].append(variant)
        for unit, sequence in said.items():
            stands = standing(definition, rows[unit][0])
            assert stands is not None
            wanted = [keys[rows[unit][0].arm], keys[stands.arm]]
            assert sequence in (wanted, wanted[1:])
            if len(sequence) == 2:
                changed.add(unit)
    first, second = AllocationEpoch.objects.order_by("number")
    assert second.moved == [["a", "b", 2_000, 5_000]]
    assert first.ended_at is not None
    assert changed <= {unit for unit, found in rows.items() if 2_000 <= found[0].bucket < 5_000}
    assert len([unit for unit, found in rows.items() if len(found) == 2]) > 20
    # Whoever asks now, without Redis too, gets what the last answers said.
    last = {unit: variant for answers in crowd.answers.values() for unit, variant, _ in answers}
    asked = [Asked(definition, unit, {}) for unit in units(UNITS)]
    assert {
        one.unit: d.variant for one, d in zip(asked, allocation.decide(asked, now=NOW), strict=True)
    } == last


def test_process_that_knows_an_old_definition_stores_by_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = lifecycle.start(draft({"a": 5_000, "b": 5_000}, "a"), by=None, now=NOW)
    allocation.known(KEY)
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 3_600.0)
    epochs.change_weights(experiment, EpochKind.STICKY, {"a": 0, "b": 10_000}, by=None, now=NOW)
    assert allocation.known(KEY).epoch == 1
    decisions = [allocation.assign(KEY, unit, now=NOW) for unit in units(20)]
    assert {(one.variant, one.epoch) for one in decisions} == {("b", 2)}
    assert {(row.epoch, row.generation) for row in Assignment.objects.all()} == {(2, 1)}


def test_process_that_knows_an_old_definition_finds_what_others_dealt_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = lifecycle.start(draft({"a": 5_000, "b": 5_000}, "a"), by=None, now=NOW)
    old = [Asked(allocation.known(KEY), unit, {}) for unit in units(50)]
    epochs.change_weights(experiment, EpochKind.RERANDOMISE, {"a": 5_000, "b": 5_000}, by=None, now=NOW)
    new = [Asked(allocation.known(KEY), unit, {}) for unit in units(50)]
    monkeypatch.setattr(catalogue, "POLL_SECONDS", 3_600.0)
    found = allocation.decide(new, now=NOW)
    assert [one.variant for one in allocation.decide(old, now=NOW)] == [one.variant for one in found]
    assert {(row.epoch, row.generation) for row in Assignment.objects.all()} == {(2, 2)}


def test_redis_that_is_down_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    running()
    before = [allocation.assign(KEY, unit, now=NOW) for unit in units(30)]

    def unreachable(_: str) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(copies, "get_redis_connection", unreachable)
    monkeypatch.setitem(copies._state, "down_until", 0.0)
    assert [allocation.assign(KEY, unit, now=NOW) for unit in units(30)] == before
    asked = [Asked(allocation.known(KEY), unit, {}) for unit in units(60)]
    assert allocation.decide(asked, now=NOW)[:30] == before
    assert Assignment.objects.count() == 60


def test_bulk_calls_of_the_same_units_in_opposite_orders_never_block_each_other() -> None:
    """Two thousand units, four calls at once: a deadlock would end one of them with an error."""
    experiment = running()
    script = """
import json, sys
from datetime import UTC, datetime
from experiments import allocation
from django.db import transaction
step = int(sys.argv[1])
definition = allocation.known("llm_model_ab_test")
print("ready")
sys.stdin.readline()
for start in range(0, 8000, 2000):
    wanted = [f"é{n % 7}-user-{n}" for n in range(start, start + 2000)][::step]
    asked = [allocation.Asked(definition, unit, {}) for unit in wanted]
    with transaction.atomic():
        answers = allocation.decide(asked, now=datetime.now(UTC))
    print(json.dumps(sorted((u, a.variant) for u, a in zip(wanted, answers))))
"""
    processes = [started(script, str(step)) for step in (1, -1, 1, -1)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    finally:
        for process in processes:
            ended(process)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert all(lines == said[0] for lines in said)
    assert Assignment.objects.filter(experiment=experiment).count() == 8_000


KILL_SCRIPT = """
import sys, time
from datetime import UTC, datetime
from experiments import allocation, catalogue
assert catalogue.POLL_SECONDS == 0.4
while True:
    decision = allocation.assign("llm_model_ab_test", "user-1", now=datetime.now(UTC))
    print(decision.variant, decision.reason, time.time())
    time.sleep(0.01)
"""


@pytest.mark.parametrize("has_redis", [True, False])
def test_kill_switch_serves_the_control_in_another_process_within_a_second(has_redis: bool) -> None:
    experiment = running({"gpt-4": 0, "claude-2": 10_000})
    environment = {} if has_redis else {"REDIS_URL": "redis://127.0.0.1:1/0"}
    process = started(KILL_SCRIPT, **environment)
    try:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline().startswith("claude-2 split ")
        lifecycle.kill(Experiment.objects.get(pk=experiment.pk), by=None, now=NOW)
        killed_at = time.time()
        lines = [line.split() for line, _ in zip(process.stdout, range(250), strict=False)]
    finally:
        ended(process)
    halted = [float(at) for variant, reason, at in lines if (variant, reason) == ("gpt-4", "halted")]
    late = [at for variant, _, at in lines if variant != "gpt-4" and float(at) > min(halted)]
    assert halted[0] - killed_at < 1.0
    assert late == []
    assert len(halted) > 50
