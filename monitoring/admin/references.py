"""What is usual for a monitor: its versions, and what a new baseline would do before a person says yes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery

from monitoring import references
from monitoring.models import Incident, Monitor, Reference, ReferenceSlice, Signal
from monitoring.plots import style_of
from monitoring.reading.sentences import sight_sentence, sight_text
from triageops import wording

SHOWN = 10


@dataclass(frozen=True)
class Version:
    """One version of the reference, as it is for one slice."""

    reference: Reference
    is_used: bool
    usual: str
    sight: str
    who: str


def versions_of(monitor: Monitor, key: str) -> list[Version]:
    """The newest first. One query."""
    own = ReferenceSlice.objects.filter(reference=OuterRef("pk"), key=key)
    rows = monitor.references.select_related("made_by").annotate(
        **{f"own_{name}": Subquery(own.values(name)[:1]) for name in ("mean", "sd", "sight", "bucket_n")}
    )
    # What is annotated is no part of the model.
    found: list[Any] = list(rows.order_by("-version")[:SHOWN])
    return [
        Version(
            row,
            row.pk == monitor.reference_id,
            _usual(monitor, row),
            sight_text(row.own_sight or {}, monitor.kind),
            str(row.made_by or "TriageOps"),
        )
        for row in found
    ]


def sight_of(monitor: Monitor, versions: list[Version]) -> str:
    """What it can see with what it knows, as a sentence."""
    used: Any = next((one.reference for one in versions if one.is_used), None)
    return (
        "" if used is None else sight_sentence(used.own_sight or {}, monitor.kind, used.own_bucket_n or 0.0)
    )


def _usual(monitor: Monitor, row: Any) -> str:
    if monitor.kind == "volume":
        return f"{wording.number(row.own_bucket_n)} in a bucket"
    if row.own_mean is None:
        return wording.MISSING
    if style_of(monitor) == "share" and monitor.kind == "rate":
        return wording.share(row.own_mean)
    return f"mean {wording.number(row.own_mean)}, standard deviation {wording.number(row.own_sd)}"


def open_of(monitor: Monitor) -> list[Incident]:
    """Incidents that a new baseline ends, the earliest onset first."""
    return list(Incident.objects.open().filter(monitor=monitor).order_by("onset_at"))


def baseline_window(
    monitor: Monitor, incidents: list[Incident], now: datetime
) -> tuple[datetime, datetime] | None:
    """From the onset of what is open, else the last 24 hours: what is seen now. None when there is nothing to learn from."""
    end = references.ripe_until(monitor, now)
    drifted = [one.onset_at for one in incidents if one.signal != Signal.CHECK]
    start = drifted[0] if drifted else end - references.A_DAY
    return (start, end) if start < end else None


def baseline_effects(
    monitor: Monitor, window: tuple[datetime, datetime] | None, incidents: list[Incident]
) -> list[str]:
    """What accepting it does, in sentences. Reads rollups."""
    if window is None:
        return ["There are no closed buckets of time to learn from yet."]
    start, end = window
    buckets = monitor.source.past(where=monitor.where, split_by=(), start=start, end=end)
    n = sum(bucket.sample.n for bucket in buckets)
    version = monitor.reference.version + 1 if monitor.reference else 1
    length = wording.seconds((end - start).total_seconds())
    ended = [f"This incident is over: {one.title}." for one in incidents]
    return [
        f"Version {version} of the reference is learnt from {length}: {wording.plural(n, 'record')} in "
        f"{wording.plural(len(buckets), 'bucket')} of time.",
        *(ended or ["No incident is open, so none ends."]),
        "What looks like this is usual from then on, and the evidence begins anew. The old version is kept, and can be read.",
    ]
