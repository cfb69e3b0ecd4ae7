"""Whether the log of an incident is as it was written: in the database, in an exported file, and one against the other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from monitoring.exports import comparing
from monitoring.exports.export_page import UnreadablePage, data_in
from monitoring.exports.exporting import FORMAT, FORMAT_VERSION, as_plain, digest_of
from monitoring.exports.masking import WITHHELD, named_evidence
from monitoring.history import chain
from monitoring.history.chain import Sealed
from monitoring.models import Incident

UNKNOWN = "The database does not know this incident, so only the file was looked at: what is not sealed in it is not proved."
UNSEALED = "Its last event has no hash, so nobody can tell whether it is as it was written."


@dataclass(frozen=True)
class Finding:
    """subject: what was looked at. wrong: what is not as it must be, in sentences; empty when all is well."""

    subject: str
    event_count: int = 0
    head: str = ""
    wrong: tuple[str, ...] = ()
    incident_id: str = ""
    withheld_count: int = 0
    """Events whose details are not in the file: what is said of them is known by their hashes alone."""
    note: str = ""
    """What was not looked at."""

    @property
    def is_intact(self) -> bool:
        return not self.wrong

    @property
    def text(self) -> str:
        if self.wrong:
            if self.wrong == (UNSEALED,):
                return f"{self.subject} is not sealed. {UNSEALED}"
            return f"{self.subject} is not as it was written. {' '.join(self.wrong)}"
        count = self.withheld_count
        withheld = (
            f" The details of {count} of them are withheld, because of small groups: only the database can tell whether these "
            "are as they were written."
            if count
            else ""
        )
        note = f" {self.note}" if self.note else ""
        return f"{self.subject} is intact: {self.event_count} events, the last hash is {self.head}.{withheld}{note}"


def verify_incident(incident: Incident) -> Finding:
    """The log in the database."""
    events = [Sealed.of(event) for event in sorted(incident.events.all(), key=lambda one: one.seq)]
    found = chain.verify(events)
    wrong = _judged(events, found, incident.version)
    name = f"The log of incident {incident.pk}"
    return Finding(name, found.event_count, found.head, tuple(wrong), str(incident.pk))


def verify_export(data: bytes) -> Finding:
    """A file that was exported as JSON or as a page, by itself: no database is asked."""
    name = "The export"
    try:
        exported, wrong = _read(data)
        events = [_sealed(exported, one) for one in exported["events"]]
        incident_id, version = str(exported["incident"]["id"]), int(exported["incident"]["version"])
        found = _verified(events)
        wrong += _judged(events, found, version)
        if events and not events[-1].hash:
            wrong.append(UNSEALED)
        if exported["head"] != found.head:
            wrong.append("Its last hash is not the one that it names.")
        if exported["digest"] != digest_of(exported):
            wrong.append("Its contents do not fit its digest.")
        wrong += _witnesses(exported, events)
    except UnreadablePage as error:
        return Finding(name, wrong=(str(error),))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return Finding(name, wrong=("It is not an export of an incident, or parts of it are missing.",))
    name, withheld = f"The export of incident {incident_id}", sum(map(_is_withheld, events))
    return Finding(name, found.event_count, found.head, tuple(wrong), incident_id, withheld)


def compare(data: bytes, finding: Finding) -> Finding:
    """The same file against the database, as far as the incident is here; an export may be older than the log."""
    if not finding.is_intact:
        return finding
    incident = Incident.objects.select_related("monitor").filter(pk=finding.incident_id).first()
    if incident is None:
        return replace(finding, note=UNKNOWN)
    exported, _ = _read(data)
    told = [str(event["hash"]) for event in exported["events"]]
    stored = list(incident.events.order_by("seq").values_list("hash", flat=True))
    wrong = list(verify_incident(incident).wrong)
    if len(stored) < len(told):
        wrong.append(f"The database has {len(stored)} events, the export {len(told)}.")
    different = next(
        (n for n, (one, two) in enumerate(zip(told, stored, strict=False), 1) if one != two), None
    )
    if different is not None:
        wrong.append(f"Event {different} is not the one in the database.")
    if exported["evidence"] != ({} if exported["is_masked"] else as_plain(named_evidence(incident.evidence))):
        wrong.append("Its evidence is not that in the database.")
    wrong += _differing(exported, incident)
    if not wrong:
        wrong += _beside_the_log(exported, incident)
    return replace(finding, wrong=tuple(wrong), withheld_count=0)


def _beside_the_log(exported: Mapping[str, Any], incident: Incident) -> list[str]:
    try:
        return comparing.differences(exported, incident)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ["Parts of it are missing, or are not what an export has in their place."]


def _differing(exported: Mapping[str, Any], incident: Incident) -> list[str]:
    """What the hashes of events whose details are withheld cannot prove without the database."""
    stored = {event.seq: replace(Sealed.of(event), details=WITHHELD) for event in incident.events.all()}
    withheld = filter(_is_withheld, (_sealed(exported, one) for one in exported["events"]))
    return [
        f"Event {one.seq} is not the one in the database." for one in withheld if one != stored.get(one.seq)
    ]


def _read(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The export, and what is wrong with what it is packed in. Raises UnreadablePage, ValueError and TypeError."""
    text = data.decode()
    if not text.lstrip().startswith("{"):
        exported, is_whole = data_in(text)
        wrong = [] if is_whole else ["The page was changed after it was made."]
    else:
        exported, wrong = json.loads(text), []
    if (exported["format"], exported["format_version"]) != (FORMAT, FORMAT_VERSION):
        raise UnreadablePage("It is of another format, or of a release that is not known here.")
    return exported, wrong


def _verified(events: Sequence[Sealed]) -> chain.Verdict:
    """As chain.verify; the hash of an event whose details are withheld is taken as it stands."""
    previous = chain.START
    for count, event in enumerate(events, start=1):
        if event.seq != count:
            return chain.Verdict(False, count, previous, count, f"event {count} is missing")  # noqa: FBT003
        found = event.hash if _is_withheld(event) else chain.seal(previous, event)
        if not found:
            reason = f"event {count} has neither its details nor a hash"
            return chain.Verdict(False, count, previous, count, reason)  # noqa: FBT003
        if event.hash and event.hash != found:
            return chain.Verdict(False, count, previous, count, f"event {count} does not fit its hash")  # noqa: FBT003
        previous = found
    return chain.Verdict(True, len(events), previous)  # noqa: FBT003


def _is_withheld(event: Sealed) -> bool:
    return event.details is WITHHELD


def _judged(events: Sequence[Sealed], found: chain.Verdict, version: int) -> list[str]:
    if not found.is_intact:
        return [f"{found.reason[:1].upper()}{found.reason[1:]}."]
    if found.event_count < version:
        return [f"Its end is missing: there are {found.event_count} events of {version}."]
    if found.event_count > version:
        return [f"There are {found.event_count} events, more than the {version} that the incident knows of."]
    bare = next((two.seq for one, two in pairwise(events) if one.hash and not two.hash), None)
    return [] if bare is None else [f"Event {bare} has no hash, although one before it has."]


def _sealed(exported: Mapping[str, Any], event: Mapping[str, Any]) -> Sealed:
    return Sealed(
        incident=exported["incident"]["id"],
        seq=event["seq"],
        kind=event["kind"],
        at=datetime.fromisoformat(event["at"]),
        by=event["by"],
        actor=event["actor"],
        details=event["details"],
        hash=event["hash"],
    )


def _witnesses(exported: Mapping[str, Any], events: Sequence[Sealed]) -> list[str]:
    """Messages name the hash of the event that they tell: what a receiver holds cannot be changed here."""
    known = {event.seq: event.hash for event in events}
    wrong = []
    for message in exported["deliveries"]:
        told = message["payload"].get("event_hash")
        if told and known.get(message["seq"]) != told:
            wrong.append(f"A message to {message['channel']} tells another event {message['seq']}.")
    return wrong
