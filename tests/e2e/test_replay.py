"""Real answers through the real processes, twice, from four clients at once, while processes are killed."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import answers
from tests.e2e.product import Product, running

CLIENTS = 4
BULK = 200
KINDS = {"responses": "response", "quality": "quality", "feedback": "feedback"}
pytestmark = pytest.mark.timeout(420)


def _jobs(facts: answers.Facts, seed: int) -> list[tuple[str, Any]]:
    """Every fact once: most in bulk calls, some one by one, in an order that puts some quality before its response."""
    jobs: list[tuple[str, Any]] = []
    for kind in KINDS:
        items: Sequence[Any] = getattr(facts, kind)
        single, rest = items[:100], items[100:]
        jobs += [(f"/api/v1/{kind}", item) for item in single]
        jobs += [(f"/api/v1/{kind}/bulk", rest[i : i + BULK]) for i in range(0, len(rest), BULK)]
    random.Random(seed).shuffle(jobs)
    return jobs


def _send(
    product: Product, jobs: Iterable[tuple[str, Any]], after: Callable[[int], None] = lambda _done: None
) -> Counter[str]:
    """What the answers say became of the items."""
    told: Counter[str] = Counter()
    lock, done = threading.Lock(), itertools.count(1)

    def one(job: tuple[str, Any]) -> None:
        path, body = job
        answer = product.insist("POST", path, body)
        with lock:
            if path.endswith("/bulk"):
                told.update({name: answer[name] for name in ("received", "stored", "repeated", "rejected")})
                assert all(line["status"] == "accepted" for line in answer["results"]), answer
            after(next(done))

    with ThreadPoolExecutor(CLIENTS) as pool:
        for finished in [pool.submit(one, job) for job in jobs]:
            finished.result()
    return told


def _wait_for_rollups(product: Product, facts: answers.Facts) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        quality = product.insist("GET", "/api/v1/quality/stats?window=30d&metric=win")["results"]
        feedback = product.insist("GET", "/api/v1/feedback/stats?window=30d")
        seen = sum(line["n"] + line["null_count"] for line in quality)
        matched = sum(by["count"] for line in feedback["results"] for by in line["by_type"].values())
        if (seen, matched) == (len(facts.quality), len(facts.feedback)):
            return
        time.sleep(0.5)
    raise AssertionError(
        f"rollups show {seen} of {len(facts.quality)} and {matched} of {len(facts.feedback)}"
    )


def _check_quality(product: Product, facts: answers.Facts) -> None:
    wins = {item["response_id"]: item["metrics"]["win"] for item in facts.quality}
    lines = product.insist("GET", "/api/v1/quality/stats?window=30d&group_by=variant")["results"]
    found = {(line["metric"], line["group"]["variant"]): line for line in lines}
    for variant in answers.VARIANTS.values():
        of_variant = [item for item in facts.responses if item["variant"] == variant]
        values = [wins[item["response_id"]] for item in of_variant]
        _check(found["win", variant], [value for value in values if value is not None], values.count(None))
        for name in ("latency_seconds", "output_tokens"):
            _check(found[name, variant], [item[name] for item in of_variant], 0)
    for language in answers.LANGUAGES:
        lines = product.insist(
            "GET", f"/api/v1/quality/stats?window=30d&metric=latency_seconds&language={language}"
        )
        chosen = [item for item in facts.responses if item["attributes"]["language"] == language]
        _check(lines["results"][0], [item["latency_seconds"] for item in chosen], 0)


def _check(line: dict[str, Any], values: list[float], null_count: int) -> None:
    expected = np.array(values, dtype=np.float64)
    assert (line["n"], line["null_count"]) == (expected.size, null_count)
    assert line["mean"] == pytest.approx(expected.mean(), rel=1e-12)
    assert line["sd"] == pytest.approx(expected.std(ddof=1), rel=1e-12)
    assert (line["min"], line["max"]) == (expected.min(), expected.max())
    for name, q in (("p50", 0.5), ("p95", 0.95)):
        exact = np.quantile(expected, q, method="inverted_cdf")
        assert abs(line[name] - exact) <= line[f"{name}_error"]
        assert line[f"{name}_error"] <= 0.0101 * max(exact, 0.5)


def _check_feedback(product: Product, facts: answers.Facts) -> None:
    answer = product.insist("GET", "/api/v1/feedback/stats?window=30d&group_by=variant")
    assert answer["unmatched"] == 0
    variant_of = {item["response_id"]: item["variant"] for item in facts.responses}
    assert {line["group"]["variant"] for line in answer["results"]} == set(answers.VARIANTS.values())
    for line in answer["results"]:
        variant = line["group"]["variant"]
        given = [item for item in facts.feedback if variant_of[item["response_id"]] == variant]
        responses = sum(item["variant"] == variant for item in facts.responses)
        assert (line["responses"], line["responses_with_feedback"]) == (responses, len(given))
        assert line["coverage"] == len(given) / responses
        for name, by_type in line["by_type"].items():
            ratings = [item["rating"] for item in given if item["feedback_type"] == name]
            comments = sum(bool(item["comment"]) for item in given if item["feedback_type"] == name)
            assert (by_type["count"], by_type["comments"]) == (len(ratings), comments)
            assert by_type["average_rating"] == (
                pytest.approx(np.mean(ratings), rel=1e-12) if ratings else None
            )


def _ledger(product: Product) -> dict[str, Counter[str]]:
    totals: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS.values()}
    for line in product.insist("GET", "/api/v1/ledger")["results"]:
        assert line["received"] == line["stored"] + line["repeated"] + line["rejected"]
        totals[line["kind"]].update(
            {name: line[name] for name in ("received", "stored", "repeated", "rejected")}
        )
    return totals


def _check_metrics(product: Product, facts: answers.Facts) -> None:
    """Counters are added up over all web processes, whichever of them answers the scrape."""
    page = product.call("GET", "/metrics")[1]
    for kind, name in KINDS.items():
        for outcome in ("stored", "repeated"):
            line = f'triageops_facts_total{{kind="{name}",outcome="{outcome}"}} {float(len(getattr(facts, kind)))}'
            assert line in page


def test_real_answers_sent_twice_by_four_clients_are_counted_exactly_once(folder: Path) -> None:
    facts = answers.facts(answers.now())
    with running(folder) as product:
        told = _send(product, [*_jobs(facts, 1), *_jobs(facts, 2)])
        total = sum(len(getattr(facts, kind)) for kind in KINDS)
        assert told["received"] == 2 * (total - 100 * len(KINDS))
        assert told["rejected"] == 0
        _wait_for_rollups(product, facts)
        _check_quality(product, facts)
        _check_feedback(product, facts)
        for kind, name in KINDS.items():
            count = len(getattr(facts, kind))
            expected = {"received": 2 * count, "stored": count, "repeated": count, "rejected": 0}
            assert _ledger(product)[name] == Counter(expected)
        _check_metrics(product, facts)
        exported = product.call("GET", "/api/v1/responses?page_size=1")[1]["results"][0]
        assert exported["prompt"] is None
        assert exported["answer"] is None


def test_killing_worker_redis_and_postgres_during_the_replay_loses_nothing(folder: Path) -> None:
    facts = answers.facts(answers.now())
    with running(folder) as product:
        jobs = [*_jobs(facts, 3), *_jobs(facts, 4)]
        victims = {
            len(jobs) // 5: ("celery", "worker"),
            2 * len(jobs) // 5: ("redis-server",),
            3 * len(jobs) // 5: ("postgres", "-D"),
            4 * len(jobs) // 5: ("celery", "worker"),
        }
        killed: list[int] = []

        def after(done: int) -> None:
            if done in victims:
                killed.append(product.kill(*victims[done]))

        _send(product, jobs, after)
        assert len(killed) == len(victims)
        product.wait_until_ready()
        _wait_for_rollups(product, facts)
        _check_quality(product, facts)
        _check_feedback(product, facts)
        for kind, name in KINDS.items():
            ledger = _ledger(product)[name]
            assert ledger["stored"] == len(getattr(facts, kind))
            assert ledger["rejected"] == 0
