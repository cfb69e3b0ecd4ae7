"""The slices on the page of a monitor: how each stands, the one that explains a change first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.http import urlencode
from django.utils.safestring import SafeString

from monitoring.admin.states import bar, evidence_bar
from monitoring.models import Incident, Monitor, MonitorSlice
from monitoring.reading.sentences import explanation_of
from monitoring.slices import ALL, described
from triageops import wording


@dataclass(frozen=True)
class Place:
    """One slice in the table."""

    name: str
    href: str
    is_chosen: bool
    contribution: SafeString | str
    evidence: SafeString | str
    n: int
    last_row_at: datetime | None
    incident: Incident | None


def address_of(key: str, window: str) -> str:
    return f"?{urlencode({'slice': key, 'window': window})}"


def _parts(open_ones: Sequence[Incident]) -> dict[tuple[str, str], float]:
    """Contribution by dimension and value, of the newest incident that says so."""
    for one in open_ones:
        parts = explanation_of(one).get("parts")
        if parts:
            return {(part["dimension"], part["value"]): part["contribution"] for part in parts}
    return {}


def places_of(
    monitor: Monitor, rows: Sequence[Any], open_ones: Sequence[Incident], key: str, window: str
) -> list[Place]:
    parts = _parts(open_ones)
    incidents = {one.slice_key: one for one in open_ones}

    def contribution(row: MonitorSlice) -> float | None:
        own = [(name, value) for name, value in row.labels.items() if name in monitor.split_by]
        return parts.get(own[0]) if len(own) == 1 else None

    def rank(row: MonitorSlice) -> tuple[bool, float, float]:
        share = contribution(row)
        evidence = -1e9 if row.log_evidence is None else row.log_evidence
        return row.key != ALL, -(share if share is not None else -1e9), -evidence

    return [
        Place(
            described(row.labels, row.key) or "all records",
            address_of(row.key, window),
            row.key == key,
            ""
            if (share := contribution(row)) is None
            else bar(max(0.0, min(1.0, share)), wording.share(share, 2)),
            wording.MISSING if row.log_evidence is None else evidence_bar(row.log_evidence),
            row.shown_n,
            row.last_row_at,
            incidents.get(row.key),
        )
        for row in sorted(rows, key=rank)
    ]
