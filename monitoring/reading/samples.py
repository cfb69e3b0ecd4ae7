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
"""Newest responses that are looked at, at most: what is sought may be rare."""

_OF_RESPONSES = ("endpoint", "model", "provider", "experiment", "variant")
_NUMBERS = ("latency_seconds", "cost", "input_tokens", "output_tokens")
_SETTLING = timedelta(minutes=5)


@dataclass(frozen=True)
class Samples:
    """is_worst: furthest off first; else the latest first."""

    ids: Sequence[str] = ()
    is_worst: bool = False


def of_incident(incident: Incident, monitor: Monitor, now: datetime) -> Samples:
    """Up to ten responses of its slice since the onset. One query, by the index on when they occurred."""
    if incident.signal == Signal.CHECK or incident.slice_key == OTHER:
        return Samples()
    wanted = {**monitor.where, **incident.labels}
    conditions, values = _conditions(wanted)
    worst, order, extra = _worst(monitor.metric, is_low=incident.effect.get("difference", 0) < 0)
    end = min(now, (incident.resolved_at or now) + _SETTLING)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.response_id FROM (
                SELECT * FROM feedback_response
                WHERE occurred_at >= %s AND occurred_at < %s ORDER BY occurred_at DESC LIMIT {_LOOKED_AT}
            ) AS r WHERE {" AND ".join([*conditions, worst])} ORDER BY {order} r.occurred_at DESC LIMIT {MOST}
            """,
            [incident.onset_at, end, *values, *extra],
        )
        return Samples([row[0] for row in cursor.fetchall()], is_worst=worst != "TRUE")


def _conditions(wanted: dict[str, str]) -> tuple[list[str], list[Any]]:
    conditions, values = ["TRUE"], []
    for name, value in wanted.items():
        if name in _OF_RESPONSES:
            conditions.append(f"r.{name} = %s")
        elif name in DIMENSIONS:
            # Who evaluated it: what is found by the response's id.
            conditions.append(
                "EXISTS (SELECT 1 FROM feedback_qualityrecord q"
                " WHERE q.response_id = r.response_id AND q.evaluator_name = %s)"
            )
        else:
            conditions.append("r.attributes ->> %s = %s")
            values.append(name)
        values.append(value)
    return conditions, values


def _worst(metric: str, *, is_low: bool) -> tuple[str, str, list[Any]]:
    """Which responses are bad ones and how they are ordered, in SQL; TRUE where a single response has no such value."""
    way = "ASC" if is_low else "DESC"
    if metric in _NUMBERS:
        return f"r.{metric} IS NOT NULL", f"r.{metric} {way},", []
    if metric == "error":
        return "r.status = 'error'", "", []
    if metric == "cache_hit":
        return f"r.cache_hit IS {'FALSE' if is_low else 'TRUE'}", "", []
    if metric.startswith("feedback:"):
        kind = "positive" if metric == "feedback:positive" and not is_low else "negative"
        return (
            "EXISTS (SELECT 1 FROM feedback_feedback f WHERE f.response_id = r.response_id"
            " AND f.withdrawn_at IS NULL AND f.feedback_type = %s)",
            "",
            [kind],
        )
    if metric == "volume" or ":" in metric or metric == "embedding_distance":
        return "TRUE", "", []
    # As PostgreSQL orders JSON, numbers are in order among themselves, and so are true and false.
    is_known = "jsonb_typeof(r.metrics -> %s) IN ('number', 'boolean')"
    return is_known, f"r.metrics -> %s {way},", [metric, metric]
