"""What an export says beside its log, against the same export made anew: what cannot have changed since must be the same.

An export may be older than the database. A title changes with an event of its kind only; sizes change while the incident is open.
What may have changed since is not judged: settings of the monitor, sizes of an incident that was open, messages that have become
too old to be kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from monitoring.exports.exporting import export
from monitoring.models import EventKind, Incident, IncidentState, MessageStatus

Exported = Mapping[str, Any]

_BEGINS = frozenset({EventKind.OPENED})
_WORSENS = frozenset({EventKind.OPENED, EventKind.ESCALATED})
_CHANGED_BY: Mapping[str, frozenset[EventKind]] = {
    "source": frozenset(),
    "slice_key": frozenset(),
    "reported_by": frozenset(),
    "onset_at": _BEGINS,
    "opened_at": _BEGINS,
    "title": _WORSENS,
    "severity": _WORSENS,
    "signal": _WORSENS,
    "usefulness": frozenset({EventKind.JUDGED}),
    "judged_at": frozenset({EventKind.JUDGED}),
}
"""Kinds of events after which a field may be another."""
_MOVED = ("state", "resolved_at", "resolution", "acknowledged_at", "acknowledged_until", "hold_until")
"""Fields that any event may change."""
_OF_GROUPS = frozenset({"title", "slice_key"})
"""Fields that a file about a small group has in other words."""
_ALWAYS = ("channel", "channel_kind", "seq", "kind", "step", "created_at")
_DELIVERED = ("status", "delivered_at", "because", "payload")
_OF_FLAGS = ("kind", "cause", "since", "why", "who")
_CHANGING_LABELS = frozenset({"monitor", "metric", "kind"})
"""Those of the monitor's settings."""


def differences(exported: Exported, incident: Incident) -> list[str]:
    """Sentences; empty when nothing differs. The incident's monitor should be loaded; about ten queries."""
    present = export(incident, datetime.fromisoformat(exported["exported_at"]))
    count = len(exported["events"])
    later = [EventKind(one["kind"]) for one in present["events"][count:]]
    is_alike = exported["is_masked"] == present["is_masked"]
    found = [
        *_fields(exported["incident"], present["incident"], later, is_alike=is_alike),
        *_labels(exported, present, later, is_alike=is_alike),
        *_times(exported, present, later, count),
        *_deliveries(exported, present, is_alike=is_alike),
        *_flags(exported["flags"], present["flags"]),
        *_buckets(exported["evaluations"], present["evaluations"]),
    ]
    is_over = exported["incident"]["state"] == IncidentState.RESOLVED
    if is_over and is_alike and exported["effect"] != present["effect"]:
        found.append(_differs("effect"))
    if is_over and not is_alike:
        found.append("Whether its group is named is not as the database has it.")
    return found


def _differs(what: str) -> str:
    return f"Its {what.replace('_', ' ').removesuffix(' at')} is not that in the database."


def _fields(
    exported: Exported, present: Exported, later: Sequence[EventKind], *, is_alike: bool
) -> Iterator[str]:
    fixed = [name for name, kinds in _CHANGED_BY.items() if kinds.isdisjoint(later)]
    moved = () if later else _MOVED
    over = ("alarm_count", "annotations") if exported["state"] == IncidentState.RESOLVED else ()
    for name in (*fixed, *moved, *over):
        if exported[name] != present[name] and (is_alike or name not in _OF_GROUPS):
            yield _differs(name)


def _labels(
    exported: Exported, present: Exported, later: Sequence[EventKind], *, is_alike: bool
) -> Iterator[str]:
    free = set(_CHANGING_LABELS)
    if not _WORSENS.isdisjoint(later):
        free |= {"severity", "signal"}
    if exported["incident"]["state"] != IncidentState.RESOLVED and not is_alike:
        return
    told, known = exported["labels"], present["labels"]
    differing = sorted(
        name for name in {*told, *known} if told.get(name) != known.get(name) and name not in free
    )
    if differing:
        yield f"Labels are not those in the database: {', '.join(differing)}."


def _times(exported: Exported, present: Exported, later: Sequence[EventKind], count: int) -> Iterator[str]:
    names = [] if EventKind.OPENED in later else ["to_detect_seconds"]
    if EventKind.OPENED not in later and EventKind.ACKNOWLEDGED not in later:
        names.append("to_acknowledge_seconds")
    if not later:
        names.append("to_resolve_seconds")
    if any(exported["times"][name] != present["times"][name] for name in names):
        yield "Its times are not those in the database."


def _deliveries(exported: Exported, present: Exported, *, is_alike: bool) -> Iterator[str]:
    known = {one["id"]: one for one in present["deliveries"]}
    told = {one["id"] for one in exported["deliveries"]}
    # Those of an incident that ended long ago are removed, and only its log is kept.
    is_removed = not known and exported["incident"]["state"] == IncidentState.RESOLVED
    for one in () if is_removed else exported["deliveries"]:
        what = f"The {one['kind']} message to {one['channel']}"
        if one["id"] not in known:
            yield f"{what} is not in the database."
        elif _is_other(one, known[one["id"]], is_alike=is_alike):
            yield f"{what} is not as the database has it."
    for one in present["deliveries"]:
        if one["id"] not in told and one["created_at"] <= exported["exported_at"]:
            yield f"The {one['kind']} message to {one['channel']} is missing, which the database has."


def _is_other(told: Exported, known: Exported, *, is_alike: bool) -> bool:
    """What is decided stays so, and attempts are only added; a message that waits may be held back, or dropped."""
    names = _ALWAYS + (_DELIVERED if told["status"] == MessageStatus.DELIVERED else ())
    if any(told[name] != known[name] for name in names if is_alike or name != "payload"):
        return True
    return bool(told["attempts"] != known["attempts"][: len(told["attempts"])])


def _flags(exported: Sequence[Exported], present: Sequence[Exported]) -> Iterator[str]:
    known = {tuple(one[name] for name in _OF_FLAGS): one for one in present}
    for one in exported:
        stored = known.get(tuple(one[name] for name in _OF_FLAGS))
        if stored is None or (one["ended_at"] and one["ended_at"] != stored["ended_at"]):
            yield f"The flag “{one['kind']}” is not as the database has it."


def _buckets(exported: Exported, present: Exported) -> Iterator[str]:
    """The oldest ones may have been removed, and of very many the last ones are left out."""
    known = {one["bucket_at"]: one for one in present["buckets"]}
    if not known:
        return
    first, last = min(known), max(known)
    within = [one for one in exported["buckets"] if first <= one["bucket_at"] <= last]
    beyond = [one for one in exported["buckets"] if one["bucket_at"] > last and not present["is_cut"]]
    differing = next((one for one in [*within, *beyond] if one != known.get(one["bucket_at"])), None)
    if differing is not None:
        yield f"The bucket of {differing['bucket_at']} is not as the database has it."
