"""How much checking fits into a minute on one worker, and what one check costs when the history is a thousand times longer."""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import numpy as np
import psutil

from triageops import embedded
from triageops.stats.histogram import UniformBins
from triageops.stats.moments import Moments

VARIANTS = 9
"""Named slices of a monitor; with all together they are ten."""

GOAL_RATIO = 1.3
GOAL_GROWTH_MEGABYTES = 30.0
SECONDS = 300
DAYS = {"none": 1, "day": 15, "week": 29}
BINS = UniformBins(0.0, 1.0)


def start(stack: ExitStack) -> None:
    """A database of its own, with all tables; durable, as a real one."""
    folder = Path(tempfile.mkdtemp(prefix="triageops-bench-"))
    folder.chmod(0o711)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= stack.enter_context(embedded.run_both(folder)) | {
        "DJANGO_SETTINGS_MODULE": "triageops.settings",
        "TRIAGEOPS_SECRET_KEY": "only-for-benchmarks-" + "0123456789" * 4,
        "LOG_LEVEL": "ERROR",
    }
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def values_of(random: np.random.Generator, n: int) -> tuple[Moments, dict[int, int]]:
    values = np.clip(random.normal(0.8, 0.08, n), 0, 1)
    used, counts = np.unique(BINS.index(values), return_counts=True)
    m2 = float(((values - values.mean()) ** 2).sum())
    return Moments(n, float(values.mean()), m2), dict(zip(used.tolist(), counts.tolist(), strict=True))


class World:
    """Metrics, slices and monitors; `bucket` adds what came in one bucket of time, for all of them."""

    def __init__(self, monitors: int, n: int, now: datetime) -> None:
        from feedback.models import QualityMetric, RollupCursor, Slice

        self.random = np.random.default_rng(1)
        self.templates = [values_of(self.random, n) for _ in range(200)]
        self.now, self.cursor = now, RollupCursor
        self.metrics = [f"metric_{i}" for i in range(max(1, monitors // 20))]
        self.endpoints = [f"/{i}" for i in range(-(-monitors // len(self.metrics)))]
        QualityMetric.objects.bulk_create(
            QualityMetric(key=key, kind="bounded", direction="higher", low=0, high=1) for key in self.metrics
        )
        self.slices = Slice.objects.bulk_create(
            Slice(key=f"{endpoint} {variant}", endpoint=endpoint, variant=f"v{variant}")
            for endpoint in self.endpoints
            for variant in range(VARIANTS)
        )
        self.closed(now)

    def closed(self, until: datetime) -> None:
        values = {"closed_until": until, "updated_at": until, "tx": "1"}
        self.cursor.objects.update_or_create(name="facts", defaults=values)

    def bucket(self, at: datetime) -> int:
        from feedback.models import Rollup

        chosen = self.random.integers(0, len(self.templates), len(self.metrics) * len(self.slices))
        rows: list[Rollup] = []
        for metric in self.metrics:
            for place in self.slices:
                moments, counts = self.templates[chosen[len(rows)]]
                rows.append(
                    Rollup(
                        slice=place, grain_seconds=SECONDS, metric=metric, bucket_at=at, visible_at=at, bins=BINS.name,
                        n=moments.n, null_count=0, mean=moments.mean, m2=moments.m2, minimum=0.4, maximum=1.0,
                        histogram=counts,
                    )
                )  # fmt: skip
        Rollup.objects.bulk_create(rows, batch_size=2_000)
        self.closed(at + timedelta(seconds=SECONDS))
        return len(rows)

    def watch(self, count: int, season: str, n: int) -> None:
        """Monitors that watch already, all with what was learnt from the same made-up weeks."""
        from monitoring import budget
        from monitoring.models import Monitor, Reference, ReferenceSlice
        from monitoring.questions import question_of

        learnt = {key: self._learnt(season, n * (VARIANTS if key == "all" else 1)) for key in ("all", "one")}
        keys: dict[str, dict[str, str]] = {"all": {}} | {
            f"variant=v{i}": {"variant": f"v{i}"} for i in range(VARIANTS)
        }
        places = [(metric, endpoint) for endpoint in self.endpoints for metric in self.metrics][:count]
        for number, (metric, endpoint) in enumerate(places):
            monitor = Monitor(
                name=f"monitor {number}", kind="distribution", metric=metric, where={"endpoint": endpoint},
                split_by=["variant"], max_slices=VARIANTS, state="active", started_at=self.now,
                watermark_at=self.now, due_at=self.now,
            )  # fmt: skip
            monitor.save()
            reference = Reference.objects.create(
                monitor=monitor, version=1, mode="pinned", start_at=self.now - timedelta(days=28),
                end_at=self.now, made_at=self.now, question=question_of(monitor), n=1, bucket_count=1,
            )  # fmt: skip
            ReferenceSlice.objects.bulk_create(
                ReferenceSlice(
                    reference=reference, key=key, labels={"endpoint": endpoint, **labels}, n=1, bucket_n=n,
                    learnt=learnt["all" if key == "all" else "one"],
                )
                for key, labels in keys.items()
            )  # fmt: skip
            monitor.reference = reference
            monitor.save(update_fields=["reference"])
        budget.redistribute()

    def _learnt(self, season: str, n: int) -> dict[str, Any]:
        from monitoring.monitors.learnt import as_json
        from monitoring.monitors.reference import ScoreReference, Tolerance
        from monitoring.monitors.sample import Sample

        step = SECONDS if season == "none" else 3600
        count = DAYS[season] * 86_400 // step
        begin = self.now.timestamp() - count * step
        templates = [values_of(self.random, n) for _ in range(100)]
        samples = [
            Sample.of_row(begin + i * step, step, moments, {BINS.name: counts})
            for i, (moments, counts) in enumerate(templates[i % 100] for i in range(count))
        ]
        return as_json(ScoreReference.learnt(samples, Tolerance()))


def clear() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE feedback_rollup, feedback_slice, feedback_qualitymetric, monitoring_monitor CASCADE"
        )


def round_of_checks(world: World, at: datetime) -> tuple[float, float, int]:
    """(seconds, seconds of CPU of this process, buckets seen) for one new bucket of every monitor."""
    from monitoring import checks
    from monitoring.models import Monitor

    world.bucket(at)
    now = at + timedelta(seconds=SECONDS + 60)
    Monitor.objects.update(due_at=now)
    began, cpu = time.perf_counter(), time.process_time()
    seen = checks.run_due(now)
    taken = time.perf_counter() - began, time.process_time() - cpu
    if Monitor.objects.exclude(check_error="").exists():
        raise SystemExit(Monitor.objects.exclude(check_error="").values_list("check_error", flat=True)[0])
    return *taken, seen


def fleet(options: argparse.Namespace, now: datetime) -> bool:
    world = World(options.monitors, 20, now)
    world.watch(options.monitors, options.season, 20)
    print(f"{options.monitors} monitors x {VARIANTS + 1} slices, season learnt: {options.season}", flush=True)
    process, found, memory = psutil.Process(), [], []
    for number in range(options.rounds):
        seconds, cpu, seen = round_of_checks(world, now + timedelta(seconds=SECONDS * number))
        found.append(seconds)
        memory.append(process.memory_info().rss / 1e6)
        print(
            f"  round {number + 1}: {seconds:.1f} s ({cpu:.1f} s of Python), {seen} buckets, {memory[-1]:.0f} MB"
        )
    typical = statistics.median(found[1:] or found)
    growth = memory[-1] - memory[1] if len(memory) > 2 else 0.0
    is_met = typical <= 60 and growth <= GOAL_GROWTH_MEGABYTES
    print(
        f"a minute is {60 / typical:.2f} times what one worker needs (goal 1); memory grew by {growth:.0f} MB in"
        f" {len(memory) - 2} rounds (goal {GOAL_GROWTH_MEGABYTES:.0f}): {'met' if is_met else 'MISSED'}"
    )
    return is_met


def history(world: World, until: datetime, responses: int) -> None:
    """Rows of the buckets before, so that so many responses are recorded."""
    from django.db import connection

    per_bucket = world.templates[0][0].n * len(world.slices)
    buckets = responses // per_bucket
    rows: list[list[float | str]] = [[m.n, m.mean, m.m2, json.dumps(counts)] for m, counts in world.templates]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE template (i int, n bigint, mean float8, m2 float8, histogram jsonb)"
        )
        cursor.executemany(
            "INSERT INTO template VALUES (%s, %s, %s, %s, %s)", [[i, *row] for i, row in enumerate(rows)]
        )
        cursor.execute(
            """
            INSERT INTO feedback_rollup (slice_id, grain_seconds, bucket_at, visible_at, metric, bins, n, null_count,
                                         mean, m2, minimum, maximum, histogram)
            SELECT s.id, 300, at, at, %s, %s, t.n, 0, t.mean, t.m2, 0.4, 1.0, t.histogram
            FROM generate_series(1, %s) AS b
            CROSS JOIN LATERAL (SELECT %s - b * interval '300 seconds' AS at) AS moment
            CROSS JOIN feedback_slice s
            JOIN template t ON t.i = (b * 31 + s.id * 7) %% 200
            ON CONFLICT DO NOTHING
            """,
            [world.metrics[0], BINS.name, buckets, until],
        )
        cursor.execute("DROP TABLE template")
        cursor.execute("ANALYZE feedback_rollup")


def one_check(options: argparse.Namespace, now: datetime) -> bool:
    from feedback.models import Rollup

    world = World(1, 190, now)
    world.watch(1, options.season, 190)
    found: dict[int, float] = {}
    at = now
    for responses in (options.few, options.many):
        history(world, now, responses)
        times = []
        for _ in range(options.repeats + 3):
            times.append(round_of_checks(world, at)[0])
            at += timedelta(seconds=SECONDS)
        # Whatever else the machine does only adds: the fast tenth is what a check costs.
        found[responses] = statistics.quantiles(times[3:], n=10)[0]
        print(
            f"  {responses:.0e} responses, {Rollup.objects.count()} rows: a check {1000 * found[responses]:.1f} ms"
        )
    ratio = found[options.many] / found[options.few]
    is_met = ratio <= GOAL_RATIO
    print(
        f"with {options.many // options.few} times the history {ratio:.2f} times as long (goal {GOAL_RATIO})"
    )
    return is_met


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/checks", description=__doc__)
    parser.add_argument("--monitors", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--season", choices=DAYS, default="day", help="Hours that the references know (day).")
    parser.add_argument("--few", type=int, default=10**5)
    parser.add_argument("--many", type=int, default=10**8)
    parser.add_argument("--repeats", type=int, default=60, help="Checks of which the fastest tenth counts.")
    parser.add_argument("--only", choices=("fleet", "history"))
    options = parser.parse_args()
    now = datetime.fromtimestamp(time.time() // SECONDS * SECONDS, tz=UTC)
    is_met = True
    with ExitStack() as stack:
        start(stack)
        for part, run in (("history", one_check), ("fleet", fleet)):
            if options.only in (None, part):
                is_met = run(options, now) and is_met
                clear()
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
