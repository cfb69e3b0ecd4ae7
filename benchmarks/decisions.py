"""Decisions in this process, beside GrowthBook's SDK deciding the same from the payload; Django must be set up before."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from growthbook import GrowthBook

from experiments import allocation, catalogue, sdk_payload
from experiments.allocation import Asked
from experiments.models import AllocationEpoch
from experiments.placement import Definition, place

Decide = Callable[[dict[str, Any]], object]

_BATCH = 100
_seen = count()


def units(number: int) -> list[dict[str, Any]]:
    """Attributes of users whom no measurement had before."""
    run = next(_seen)
    return [
        {"id": f"user-{run}-{index:06d}", "language": ("en", "es", "fr")[index % 3]}
        for index in range(number)
    ]


def rate(decide: Decide, found: list[dict[str, Any]], seconds: float) -> float:
    """Units decided per second."""
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for unit in found[:1_000]:
            decide(unit)
        done += min(1_000, len(found))
    return done / took


def placing(definition: Definition) -> Decide:
    return lambda unit: place(definition, unit["id"], unit)


def sdk(definition: Definition) -> GrowthBook:
    """The SDK as it comes, fed with our payload."""
    epochs = {
        definition.id: list(AllocationEpoch.objects.filter(experiment=definition.id).order_by("number"))
    }
    return GrowthBook(features=sdk_payload.payload([definition], epochs)["features"])


def evaluating(definition: Definition) -> Decide:
    client, key = sdk(definition), definition.key

    def decide(unit: dict[str, Any]) -> object:
        client.set_attributes(unit)
        return client.eval_feature(key)

    return decide


def check_same(definition: Definition) -> None:
    """The two that are compared do the same work."""
    evaluate = evaluating(definition)
    for unit in units(1_000):
        placed, found = place(definition, unit["id"], unit), evaluate(unit)
        config = {} if placed.arm is None else definition.arms[placed.arm].config
        if found.value != config:  # type: ignore[attr-defined]
            raise SystemExit(f"{definition.key} differs for {unit}")


def named(key: str) -> Definition:
    return catalogue.definitions()[key]


def stored(definition: Definition, seconds: float, *, batch: int, is_new: bool) -> float:
    """Decisions per second through the whole of allocation, `batch` units a call; known ones come from Redis."""
    known = [Asked(definition, unit["id"], unit) for unit in units(1_000)]
    now = datetime.now(UTC)
    allocation.decide(known, now=now)
    fresh = [Asked(definition, unit["id"], unit) for unit in units(int(4_000 * seconds))] if is_new else []
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        asked = fresh[done : done + batch] if is_new else known[done % 1_000 : done % 1_000 + batch]
        if not asked:
            break
        allocation.decide(asked, now=now)
        done += len(asked)
    return done / took
