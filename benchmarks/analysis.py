"""One look over a million exposed units and five metrics; then again with ten times the answers and looks behind it."""

import argparse
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

from triageops import embedded

GOAL_RATIO = 1.3
METRICS: list[dict[str, Any]] = [
    {"key": "score", "name": "score", "role": "primary", "kind": "ratio", "source": "quality:score"},
    {"key": "cost", "name": "cost", "kind": "ratio", "source": "response:cost", "better": "lower"},
    {"key": "liked", "name": "units that liked", "kind": "proportion", "source": "feedback:positive"},
    {"key": "tokens", "name": "tokens of a unit", "kind": "mean", "source": "response:output_tokens", "cap": 50_000.0},
    {
        "key": "p95", "name": "latency p95", "kind": "quantile", "quantile": 0.95, "source": "response:latency_seconds",
        "better": "lower",
    },
]  # fmt: skip


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


def experiment(now: datetime) -> Any:
    from experiments import drafts, lifecycle

    variants = [
        {"key": key, "is_control": key == "a", "weight_bp": weight, "config": {}}
        for key, weight in (("a", 5_000), ("b", 5_000))
    ]
    draft = drafts.create(
        "bench", {"name": "bench", "variants": variants, "metrics": METRICS}, by=None, now=now
    )
    return lifecycle.start(draft, by=None, now=now)


def expose(made: Any, units: int) -> None:
    """Units as the collection would have left them: sums of three answers each, half of them known from before."""
    from django.db import connection

    ids = [variant.pk for variant in made.variants.order_by("position")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.5)")
        cursor.execute(
            """
            INSERT INTO experiments_exposedunit
                (experiment_id, phase, unit, variant_id, epoch, exposed_at, last_at, response_count, feedback_count,
                 fallback_count, drift_count, exclusion, values, earlier, segments)
            SELECT %s, 1, 'unit-' || i, CASE WHEN i %% 2 = 0 THEN %s ELSE %s END, 1, %s, %s, 3, (i %% 10 = 0)::int,
                   0, 0, '',
                   ARRAY[random() * 3, 3, random(), 3, (i %% 12 = 0)::int, 3, floor(random() * 3000), 3, 6.0, 3],
                   CASE WHEN i %% 2 = 0 THEN ARRAY[random() * 6, 6, random(), 6, 0, 6, 900, 6, 6.0, 6] END,
                   jsonb_build_object('language', (ARRAY['en', 'es', 'de'])[1 + i %% 3])
            FROM generate_series(1, %s) AS i
            """,
            [made.pk, ids[0], ids[1], made.started_at, made.started_at, units],
        )
        cursor.execute(
            """
            INSERT INTO experiments_exposedvalue (exposed_id, slot, bin, n)
            SELECT x.id, 4, 35500 + (random() * 150)::int + j * 200, 1
            FROM experiments_exposedunit x, generate_series(0, 2) AS j
            """
        )
        cursor.execute("ANALYZE experiments_exposedunit, experiments_exposedvalue")


def history(made: Any, first: int, count: int) -> None:
    """Answers of these units that were collected before: a look must not read them."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO feedback_response
                (id, api_key_id, occurred_at, received_at, digest, response_id, request_id, endpoint, model, provider,
                 experiment, variant, unit, status, error_type, finish_reason, attributes, metrics)
            SELECT gen_random_uuid(), 1, %s, %s, gen_random_uuid(), 'r-' || i, '', '/triage', 'm', '', %s,
                   (ARRAY['a', 'b'])[1 + i %% 2], 'unit-' || i %% 1000000, 'success', '', '', '{}', '{"score": 0.5}'
            FROM generate_series(%s, %s) AS i
            """,
            [made.started_at, made.started_at, made.key, first, first + count - 1],
        )
        cursor.execute("ANALYZE feedback_response")


def timed(made: Any, rounds: int, now: datetime) -> list[float]:
    from experiments.analysis.look import look

    found = []
    for number in range(rounds):
        began = time.perf_counter()
        assert look(made, now=now + timedelta(minutes=number)) is not None
        found.append(time.perf_counter() - began)
        print(f"  look {number + 1}: {found[-1]:.2f} s", flush=True)
    return found


def collected(made: Any, first: int, count: int) -> float:
    """Responses a second from facts to exposed units; what is older counts as collected."""
    from django.db import connection
    from django.utils import timezone

    from experiments.exposures import collect

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO experiments_exposurecursor (name, tx, updated_at)"
            " VALUES ('facts', pg_snapshot_xmax(pg_current_snapshot()), now())"
        )
    history(made, first, count)
    began = time.perf_counter()
    looked_at = collect.collect(timezone.now())
    took = time.perf_counter() - began
    if looked_at < count:
        raise SystemExit(f"only {looked_at} of {count} responses were collected")
    return looked_at / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument(
        "--answers", type=int, default=200_000, help="of the small history; the large has ten times"
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    now = datetime.now(UTC)
    with ExitStack() as stack:
        start(stack)
        other = experiment(now - timedelta(days=10))
        print(f"{arguments.units:,} units, {len(METRICS)} metrics", flush=True)
        expose(other, arguments.units)
        history(other, 1, arguments.answers)
        small = timed(other, arguments.rounds, now)
        history(other, 1 + arguments.answers, 9 * arguments.answers)
        for number in range(10 * arguments.rounds):
            # The looks before this one: a look reads the last of them only.
            copy_look(other, number)
        large = timed(other, arguments.rounds, now + timedelta(days=1))
        rate = collected(other, 1 + 10 * arguments.answers, arguments.answers // 10)
    ratio = statistics.median(large) / statistics.median(small)
    print(
        f"\none look: {statistics.median(small):.2f} s with {arguments.answers:,} answers behind it,"
        f" {statistics.median(large):.2f} s with ten times as many (medians of {arguments.rounds})"
    )
    print(f"collecting: {rate:,.0f} answers a second into exposed units, one worker")
    print(
        f"large / small history {ratio:.2f}   goal <= {GOAL_RATIO}   {'met' if ratio <= GOAL_RATIO else 'MISSED'}"
    )


def copy_look(made: Any, number: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO experiments_look (experiment_id, phase, at, seconds, unit_count, decision, variant, sentence,"
            " health, segments) SELECT experiment_id, phase, at + %s * interval '1 second', seconds, unit_count, decision,"
            " variant, sentence, health, segments FROM experiments_look WHERE experiment_id = %s ORDER BY id LIMIT 1"
            " RETURNING id",
            [number, made.pk],
        )
        new = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO experiments_lookestimate (look_id, metric, variant, n, value, value_low, value_high, effect, se,"
            " information, log_e, p_any, p_corrected, low, high, boundary, z, verdict, details)"
            " SELECT %s, metric, variant, n, value, value_low, value_high, effect, se, information, log_e, p_any,"
            " p_corrected, low, high, boundary, z, verdict, details FROM experiments_lookestimate"
            " WHERE look_id = (SELECT min(id) FROM experiments_look WHERE experiment_id = %s)",
            [new, made.pk],
        )


if __name__ == "__main__":
    main()
