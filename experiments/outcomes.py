"""What one response, with all that was said of it, adds to the sums of its unit, for each metric. Pure.

A unit keeps two numbers a metric: `sum` at 2 * slot and `divisor` at 2 * slot + 1 of one array, slot being the metric's
place. Adding what a response says now and taking away what it said before is all that a change, a withdrawal or a late
record needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FEEDBACK_SOURCES = ("feedback:positive", "feedback:negative", "feedback:any", "feedback:rating")
RESPONSE_SOURCES = (
    "response:latency_seconds", "response:cost", "response:error", "response:input_tokens", "response:output_tokens",
    "response:cache_hit",
)  # fmt: skip
NET_BENEFIT = "net_benefit"
SOURCES = (*FEEDBACK_SOURCES, *RESPONSE_SOURCES, NET_BENEFIT)

_QUALITY = re.compile(r"quality:[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_source(text: str) -> bool:
    return text in SOURCES or _QUALITY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One metric as the sums need it. per_response: a ratio's divisor counts responses instead of values."""

    source: str
    per_response: bool = False
    worth: float = 0.0


@dataclass(slots=True)
class Said:
    """One response and all that was said of it. numbers: fields of the response by name; quality: values by metric."""

    numbers: Mapping[str, float | None]
    quality: dict[str, list[float]] = field(default_factory=dict)
    feedback_types: list[str] = field(default_factory=list)
    ratings: list[int] = field(default_factory=list)


def values(outcome: Outcome, said: Said) -> list[float]:
    """The values that this response has of the metric: none, one, or one for each evaluator or piece of feedback."""
    kind, _, name = outcome.source.partition(":")
    if kind == "response":
        number = said.numbers.get(name)
        return [] if number is None else [number]
    if kind == "quality":
        return said.quality.get(name, [])
    if outcome.source == NET_BENEFIT:
        return [outcome.worth * _has(said, "positive") - (said.numbers.get("cost") or 0.0)]
    if name == "rating":
        return [float(rating) for rating in said.ratings]
    if name == "any":
        return [float(bool(said.feedback_types))]
    # Of those who said anything; the coverage of feedback is a metric of its own.
    return [_has(said, name)] if said.feedback_types else []


def _has(said: Said, feedback_type: str) -> float:
    return float(feedback_type in said.feedback_types)


def contribution(outcomes: Sequence[Outcome], said: Said) -> list[float]:
    """(sum, divisor) of each outcome, one after the other."""
    found: list[float] = []
    for outcome in outcomes:
        numbers = values(outcome, said)
        divisor = 1.0 if outcome.per_response else float(len(numbers))
        found += (sum(numbers), divisor)
    return found
