"""Some responses behind an incident, by their ids: those that are furthest off, or the latest. Nothing of their content is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from feedback.stats import DIMENSIONS
from monitoring.models import Incident, Monitor, Signal
from monitoring.slices import OTHER

MOST = 10
_LOOKED_AT = 2_000
"""Newest responses of the group among which the furthest off are sought, at most."""
_LOOKED_THROUGH = 50_000
"""Newest responses of all groups that are looked through for those of the group, at most."""

_OF_RESPONSES = ("endpoint", "model", "provider", "experiment", "variant")
_NUMBERS = ("latency_seconds", "cost", "input_tokens", "output_tokens")
_SETTLING = timedelta(minutes=5)
_COLUMNS = ("response_id", "occurred_at", "status", "cache_hit", "attributes", "metrics", *_OF_RESPONSES, *_NUMBERS)  # fmt: skip

# As feedback.rollups names who evaluated.
_EVALUATOR = (
    "q.evaluator_kind || ':' || q.evaluator_name"
    " || CASE WHEN q.evaluator_version = '' THEN '' ELSE '@' || q.evaluator_version END"
)
_IS_KNOWN = "jsonb_typeof(one.value) IN ('number', 'boolean')"


@dataclass(frozen=True)
class Samples:
    """is_worst: furthest off first; else the latest first."""

    ids: Sequence[str] = ()
    is_worst: bool = False


@dataclass(frozen=True)
class _Sought:
    """Which responses are bad ones and how they are ordered, in SQL with its values. join: what tells their value."""

    condition: str = "TRUE"
    order: str = ""
    join: str = ""
    values: Sequence[Any] = ()
    """Of the join and the condition, in this order."""


def of_incident(incident: Incident, monitor: Monitor, now: datetime) -> Samples:
    """Up to ten responses of its slice since the onset. One query, by the index on when they occurred."""
    if incident.signal == Signal.CHECK or incident.slice_key == OTHER:
        return Samples()
    wanted = {**monitor.where, **incident.labels}
    conditions, values = _conditions(wanted)
    is_low = incident.effect.get("difference", 0) < 0
    sought = _sought(monitor.metric, wanted.get("evaluator"), is_low=is_low)
    end = min(now, (incident.resolved_at or now) + _SETTLING)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.response_id FROM (
                SELECT * FROM (
                    SELECT {", ".join(_COLUMNS)} FROM feedback_response
                    WHERE occurred_at >= %s AND occurred_at < %s
                    ORDER BY occurred_at DESC LIMIT {_LOOKED_THROUGH}
                ) AS r WHERE {" AND ".join(conditions)}
                ORDER BY r.occurred_at DESC LIMIT {_LOOKED_AT}
            ) AS r {sought.join}
            WHERE {sought.condition} ORDER BY {sought.order} r.occurred_at DESC LIMIT {MOST}
            """,
            [incident.onset_at, end, *values, *sought.values],
        )
        return Samples([row[0] for row in cursor.fetchall()], is_worst=sought.condition != "TRUE")


def _conditions(wanted: dict[str, str]) -> tuple[list[str], list[Any]]:
    conditions, values = ["TRUE"], []
    for name, value in wanted.items():
        if name in _OF_RESPONSES:
            conditions.append(f"r.{name} = %s")
        elif name not in DIMENSIONS:
            conditions.append("r.attributes ->> %s = %s")
            values.append(name)
        elif value:
            # Who evaluated it: what is found by the response's id.
            conditions.append(
                f"EXISTS (SELECT 1 FROM feedback_qualityrecord q WHERE q.response_id = r.response_id AND {_EVALUATOR} = %s)"
            )
        else:
            continue
        values.append(value)
    return conditions, values


def _sought(metric: str, evaluator: str | None, *, is_low: bool) -> _Sought:
    """The condition is TRUE where a single response has no such value."""
    way = "ASC" if is_low else "DESC"
    if metric in _NUMBERS:
        return _Sought(f"r.{metric} IS NOT NULL", f"r.{metric} {way},")
    if metric == "error":
        return _Sought("r.status = 'error'")
    if metric == "cache_hit":
        return _Sought(f"r.cache_hit IS {'FALSE' if is_low else 'TRUE'}")
    if metric.startswith("feedback:"):
        kind = "positive" if metric == "feedback:positive" and not is_low else "negative"
        return _Sought(
            "EXISTS (SELECT 1 FROM feedback_feedback f WHERE f.response_id = r.response_id"
            " AND f.withdrawn_at IS NULL AND f.feedback_type = %s)",
            values=[kind],
        )
    if metric == "volume" or ":" in metric or metric == "embedding_distance":
        return _Sought()
    return _of_quality(metric, evaluator, way)


def _of_quality(metric: str, evaluator: str | None, way: str) -> _Sought:
    """By what came with the response and what judges said of it later: the value of each that is furthest off.

    evaluator: only what this one said; empty: only what came with it; None: all of it.
    """
    told: list[str] = []
    values: list[Any] = []
    if not evaluator:
        told.append("SELECT r.metrics -> %s AS value")
        values.append(metric)
    if evaluator != "":
        by = "" if evaluator is None else f" AND {_EVALUATOR} = %s"
        told.append(
            f"SELECT q.metrics -> %s AS value FROM feedback_qualityrecord q WHERE q.response_id = r.response_id{by}"
        )
        values += [metric] if evaluator is None else [metric, evaluator]
    # As PostgreSQL orders JSON, numbers are in order among themselves, and so are true and false.
    join = (
        f"CROSS JOIN LATERAL (SELECT one.value FROM ({' UNION ALL '.join(told)}) AS one WHERE {_IS_KNOWN}"
        f" ORDER BY one.value {way} LIMIT 1) AS found"
    )
    return _Sought("found.value IS NOT NULL", f"found.value {way},", join, values)
