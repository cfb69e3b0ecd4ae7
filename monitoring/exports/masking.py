"""What an export says of small groups: it leaves the product as a file, so no more than messages do.

The log stays whole: of an event that names such a group, or gives its numbers, the details are withheld, its hash is not.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.labels import alias_of, is_small
from monitoring.models import EventKind, Incident, IncidentEvent, MessageKind
from monitoring.notifying.payloads import incident_payload
from monitoring.slices import ALL, SMALLEST_NAMED_GROUP

SENTENCE = f"It is about a group with fewer than {SMALLEST_NAMED_GROUP} records: neither its name nor its numbers are in this file."
WITHHELD = None
"""In place of the details of an event."""
_OF_THE_GROUP = frozenset({"slice", "title", "effect", "explanation", "variant", "label"})
"""Details that may say which group it is, or how it fares."""


def title_of(incident: Incident, now: datetime) -> str:
    """As messages have it."""
    if not is_small(incident):
        return incident.title
    return str(incident_payload(incident, MessageKind.TRIGGER, at=now)["title"])


def slice_key_of(incident: Incident) -> str:
    return alias_of(incident.slice_key) if is_small(incident) else incident.slice_key


def effect_of(incident: Incident) -> dict[str, Any]:
    if is_small(incident):
        return {}
    return {name: value for name, value in incident.effect.items() if name not in {"m2", "sums"}}


def evidence_of(incident: Incident) -> dict[str, Any]:
    return {} if is_small(incident) else named_evidence(incident.evidence)


def named_evidence(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Of a large group, without the small ones that it consists of."""
    explanation = evidence.get("explanation")
    if not isinstance(explanation, Mapping) or not isinstance(explanation.get("parts"), list):
        return dict(evidence)
    parts = [one for one in explanation["parts"] if not _is_small_part(one)]
    return {**evidence, "explanation": {**explanation, "parts": parts}}


def details_of(event: IncidentEvent, *, is_masked: bool) -> Any:
    """is_masked: the incident is about a small group. How large a slice is that was noted on it, the log does not say."""
    details = event.details
    is_noted = event.kind == EventKind.NOTED and details.get("slice", ALL) != ALL
    names_parts = named_evidence(details) != details
    if is_noted or names_parts or (is_masked and _OF_THE_GROUP & details.keys()):
        return WITHHELD
    return details


def _is_small_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("n", 0) < SMALLEST_NAMED_GROUP
