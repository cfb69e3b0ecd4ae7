"""Assignments per second in a process, beside GrowthBook's SDK, and through OFREP over HTTP, in one run."""

import argparse
import importlib
import itertools
import json
import os
import statistics
import time
import urllib.request
from typing import Any

import django
import psycopg2

from benchmarks.load import Loaded, load, request
from benchmarks.product import Product, running
from triageops import embedded

CONNECTIONS = 8
EXPERIMENTS = 20
FLAGS = "/ofrep/v1/evaluate/flags"
GOALS = {"place() / SDK": 5.0, "OFREP single, known units, per second": 1_000.0}
_runs = itertools.count()

VARIANTS: dict[str, dict[str, int]] = {
    "even": {"gpt-4": 5_000, "claude-2": 5_000},
    "covered": {"gpt-4": 6_000, "claude-2": 3_000, "llama2-70b": 1_000},
    "targeted": {"gpt-4": 5_000, "claude-2": 3_000, "llama2-70b": 2_000},
}
CHANGES: dict[str, dict[str, Any]] = {
    "covered": {"coverage_bp": 3_500},
    "targeted": {"targeting": {"language": {"$in": ["en", "es"]}}},
}


def call(product: Product, path: str, body: object) -> None:
    data = json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {product.key}", "Content-Type": "application/json"}
    address = f"http://127.0.0.1:{product.port}/api/v1/experiments{path}"
    urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=10).close()


def define(product: Product) -> None:
    """The three that are compared with the SDK, and more like the first, all running."""
    keys = [*VARIANTS, *(f"more-{number:02d}" for number in range(EXPERIMENTS - len(VARIANTS)))]
    for key in keys:
        variants = [
            {"key": name, "is_control": name == "gpt-4", "weight_bp": weight, "config": {"model": name}}
            for name, weight in VARIANTS.get(key, VARIANTS["even"]).items()
        ]
        call(product, "", {"key": key, "name": key, "variants": variants} | CHANGES.get(key, {}))
        call(product, f"/{key}/transitions", {"action": "start"})


def without_limit(product: Product) -> None:
    with psycopg2.connect(product.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE feedback_apikey SET requests_per_minute = NULL")
    connection.close()
    time.sleep(6)  # until the key is read again


def flags(product: Product, path: str, seconds: float, *, known: int) -> Loaded:
    """known: so many units that were asked for before; 0: each is new."""
    run = next(_runs)
    bodies = [
        json.dumps({"context": {"targetingKey": f"unit-{run}-{number:07d}", "language": "es"}}).encode()
        for number in range(known or int(3_000 * seconds))
    ]
    requests = [request(product, path, body) for body in bodies]
    if known:
        load(product.port, CONNECTIONS, requests, 60)
        requests *= int(5_000 * seconds) // known + 1
    return load(product.port, CONNECTIONS, requests, seconds)


def measure_here(product: Product, seconds: float, rounds: int) -> dict[str, float]:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "triageops.settings",
        "DATABASE_URL": product.database_url,
        "REDIS_URL": embedded.Redis(product.folder / "redis").url,
        "LOG_LEVEL": "ERROR",
    }
    django.setup()
    # Its imports are models, which need the above.
    decisions = importlib.import_module("benchmarks.decisions")
    ratios = []
    for key in VARIANTS:
        definition = decisions.named(key)
        decisions.check_same(definition)
        units = decisions.units(1_000)
        pairs = [
            (
                decisions.rate(decisions.placing(definition), units, seconds / 5),
                decisions.rate(decisions.evaluating(definition), units, seconds / 5),
            )
            for _ in range(rounds)
        ]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratios.append(ratio)
        print(f"{key:9} place() {ours:10,.0f}/s   SDK {theirs:10,.0f}/s   ratio {ratio:6.2f}", flush=True)
    definition = decisions.named("even")
    for batch, is_new in itertools.product((1, 100), (False, True)):
        found = decisions.stored(definition, seconds, batch=batch, is_new=is_new)
        who = "new" if is_new else "known"
        print(f"allocation, {batch:3} {who:5} units a call {found:10,.0f} units/s", flush=True)
    return {"place() / SDK": min(ratios)}


def show(name: str, found: Loaded) -> None:
    print(
        f"{name:34} {found.rate:8,.0f}/s   p50 {found.quantile(0.5):6.1f} ms   p99 {found.quantile(0.99):6.1f} ms",
        flush=True,
    )


def measure_http(product: Product, seconds: float, rounds: int) -> dict[str, float]:
    rates = []
    for number in range(1, rounds + 1):
        known = flags(product, f"{FLAGS}/even", seconds, known=1_000)
        rates.append(known.rate)
        show(f"round {number}  single, known units", known)
        show(f"round {number}  single, new units", flags(product, f"{FLAGS}/even", seconds, known=0))
        bulk = flags(product, FLAGS, seconds, known=200)
        show(f"round {number}  bulk of {EXPERIMENTS}, known units", bulk)
    return {"OFREP single, known units, per second": statistics.median(rates)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    arguments = parser.parse_args()
    with running() as product:
        define(product)
        without_limit(product)
        values = measure_here(product, arguments.seconds, arguments.rounds)
        print(f"\nover HTTP, {CONNECTIONS} connections, the client on the same cores:")
        values |= measure_http(product, arguments.seconds, arguments.rounds)
    print()
    for name, value in values.items():
        print(
            f"{name:40} {value:10,.2f}   goal {GOALS[name]:g}   {'met' if value >= GOALS[name] else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
