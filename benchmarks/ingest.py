"""Facts per second through the running product, beside raw INSERT and COPY into the same table, in one run."""

import argparse
import io
import itertools
import json
import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg2

from benchmarks.load import load, request
from benchmarks.product import Product, running

SINGLE_CONNECTIONS = 16
BULK_CONNECTIONS = 4
INSERT_CLIENTS = 8
BULK_ITEMS = 5_000
COLUMNS = (
    "id", "api_key_id", "occurred_at", "received_at", "digest", "response_id", "author", "user_id", "source",
    "idempotency_key", "feedback_type", "rating", "comment", "metadata", "revision",
)  # fmt: skip
TARGETS = {"single / INSERT": 0.15, "single per second": 900.0, "bulk / COPY": 0.5, "resident MB": 700.0}
_numbers = itertools.count()


def items(count: int) -> Iterator[dict[str, object]]:
    run = uuid.uuid4().hex[:8]
    for _ in range(count):
        number = next(_numbers)
        yield {
            "response_id": f"resp-{run}-{number:09d}",
            "feedback_type": ("positive", "negative", "neutral")[number % 3],
            "rating": number % 5 + 1,
            "comment": "Clear and to the point, thank you." if number % 4 == 0 else "",
            "user_id": f"user-{number % 5000}",
            "source": "web",
            "metadata": {"page": "triage", "locale": "en"},
        }


def single(product: Product, seconds: float) -> float:
    requests = [
        request(product, "/api/v1/feedback", json.dumps(item).encode()) for item in items(int(4000 * seconds))
    ]
    return load(product.port, SINGLE_CONNECTIONS, requests, seconds).rate


def bulk(product: Product, seconds: float) -> float:
    bodies = max(2 * BULK_CONNECTIONS, int(12 * seconds))
    requests = [
        request(product, "/api/v1/feedback/bulk", json.dumps(list(items(BULK_ITEMS))).encode())
        for _ in range(bodies)
    ]
    return load(product.port, BULK_CONNECTIONS, requests, seconds).rate * BULK_ITEMS


def row(item: dict[str, object]) -> tuple[object, ...]:
    now = datetime.now(UTC).isoformat()
    return (
        str(uuid.uuid4()), 1, now, now, uuid.uuid4().hex, item["response_id"], f"user:{item['user_id']}",
        item["user_id"], item["source"], "", item["feedback_type"], item["rating"], item["comment"],
        json.dumps(item["metadata"]), 1,
    )  # fmt: skip


def _insert(url: str, seconds: float, result: "multiprocessing.Queue[tuple[int, float]]") -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    statement = (
        f"INSERT INTO feedback_feedback ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
    )
    rows = [row(item) for item in items(int(2500 * seconds))]
    cursor = connection.cursor()
    began, done = time.perf_counter(), 0
    for values in rows:
        cursor.execute(statement, values)
        done += 1
        if time.perf_counter() - began > seconds:
            break
    result.put((done, time.perf_counter() - began))


def in_processes(worker: Callable[..., None], count: int, *arguments: object) -> float:
    queue: multiprocessing.Queue[tuple[int, float]] = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=worker, args=(*arguments, queue)) for _ in range(count)]
    for process in workers:
        process.start()
    found = [queue.get() for _ in workers]
    for process in workers:
        process.join()
    return sum(done / took for done, took in found)


def insert(product: Product, seconds: float) -> float:
    return in_processes(_insert, INSERT_CLIENTS, product.database_url, seconds)


def copy(product: Product, seconds: float) -> float:
    """One client; the text is made before the clock starts."""
    connection = psycopg2.connect(product.database_url)
    texts = [
        "".join("\t".join(map(str, row(item))) + "\n" for item in items(BULK_ITEMS))
        for _ in range(int(20 * seconds))
    ]
    cursor, done, began = connection.cursor(), 0, time.perf_counter()
    for text in texts:
        cursor.copy_expert(f"COPY feedback_feedback ({', '.join(COLUMNS)}) FROM STDIN", io.StringIO(text))
        connection.commit()
        done += BULK_ITEMS
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    arguments = parser.parse_args()
    kinds = {"single": single, "insert": insert, "bulk": bulk, "copy": copy}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    with running() as product:
        time.sleep(10)
        proportional, plain = product.memory_megabytes()
        print(
            f"idle: {proportional:.0f} MB resident (shared pages once), {plain:.0f} MB summed over processes"
        )
        single(product, 1.0)
        for number in range(1, arguments.rounds + 1):
            for name, measure in kinds.items():
                found[name].append(measure(product, arguments.seconds))
                print(f"round {number}  {name:7} {found[name][-1]:10,.0f} rows/s", flush=True)
    middle = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        "single / INSERT": statistics.median(
            a / b for a, b in zip(found["single"], found["insert"], strict=True)
        ),
        "single per second": middle["single"],
        "bulk / COPY": statistics.median(a / b for a, b in zip(found["bulk"], found["copy"], strict=True)),
        "resident MB": proportional,
    }
    print(
        f"\nmedians: single {middle['single']:,.0f}/s over {SINGLE_CONNECTIONS} connections,"
        f" INSERT {middle['insert']:,.0f}/s with {INSERT_CLIENTS} clients,"
        f" bulk {middle['bulk']:,.0f} rows/s over {BULK_CONNECTIONS}, COPY {middle['copy']:,.0f} rows/s with one"
    )
    for name, value in ratios.items():
        is_met = value <= TARGETS[name] if name == "resident MB" else value >= TARGETS[name]
        print(f"{name:18} {value:10,.2f}   goal {TARGETS[name]:g}   {'met' if is_met else 'MISSED'}")


if __name__ == "__main__":
    main()
