"""What the page of an export says in words; from the export alone, so that it is the same wherever it is made."""

from collections.abc import Mapping
from typing import Any

from triageops import wording

OURSELVES = "TriageOps"
EFFECT = {
    "current": "mean since the onset",
    "level": "usual, or level",
    "difference": "difference of the two",
    "low": "difference, 95 % interval from",
    "high": "difference, 95 % interval to",
    "n": "records since the onset",
}

OF_BUCKETS = {
    "bucket_at": "bucket begins (UTC)",
    "n": "records",
    "mean": "mean",
    "expected": "usual, or level",
    "low": "usual from",
    "high": "usual to",
    "log_evidence": "evidence (natural logarithm; 0 is the alarm line)",
    "is_alarm": "alarm",
}
_UNITS = {
    "latency_seconds": "s",
    "input_tokens": "tokens",
    "output_tokens": "tokens",
    "error": "share, 0 to 1",
}


def sentence(exported: Mapping[str, Any]) -> str:
    """How it stands, how soon it was found and acknowledged, and who was told."""
    times = exported["times"]
    parts = [_standing(exported), _found(times["to_detect_seconds"]), _acknowledged(exported)]
    because = _explained(exported["evidence"])
    return " ".join([f"{'; '.join(parts)}.", *([because] if because else []), _told(exported)])


def actor_of(event: Mapping[str, Any]) -> str:
    """As it was written then; of old events, which have no name, the number of the person."""
    if event["actor"]:
        return str(event["actor"])
    return OURSELVES if event["by"] is None else f"user {event['by']}"


def measured(exported: Mapping[str, Any]) -> str:
    """“mean latency_seconds (s)”."""
    metric = str(exported["monitor"]["settings"]["metric"])
    if metric == "volume":
        return "records in a bucket"
    unit = _UNITS.get(metric, "")
    return f"mean {metric} ({unit})" if unit else f"mean {metric}"


def _standing(exported: Mapping[str, Any]) -> str:
    incident, seconds = exported["incident"], exported["times"]["to_resolve_seconds"]
    if seconds is None:
        return f"{str(incident['severity']).capitalize()}: {incident['state']} when this was exported"
    how = str(incident["resolution"]).replace("_", " ")
    return f"{str(incident['severity']).capitalize()}: over after {_seconds(seconds)} ({how})"


def _found(seconds: float | None) -> str:
    if seconds is None:
        return "when it began was not reported"
    return f"found {_seconds(seconds)} after its onset"


def _acknowledged(exported: Mapping[str, Any]) -> str:
    seconds = exported["times"]["to_acknowledge_seconds"]
    if seconds is None:
        return "nobody acknowledged it"
    who = next((actor_of(one) for one in exported["events"] if one["kind"] == "acknowledged"), OURSELVES)
    return f"{who} acknowledged it {_seconds(seconds)} after it was found"


def _explained(evidence: Mapping[str, Any]) -> str:
    explanation = evidence.get("explanation")
    return str(explanation.get("sentence") or "") if isinstance(explanation, Mapping) else ""


def _told(exported: Mapping[str, Any]) -> str:
    names = {one["channel"] for one in exported["deliveries"]}
    told = {one["channel"] for one in exported["deliveries"] if one["status"] == "delivered"}
    if not names:
        return "There are no messages about it."
    said = f"Told: {', '.join(sorted(told))}." if told else "Nobody was told."
    missing = ", ".join(sorted(names - told))
    return f"{said} Not told: {missing}." if missing and told else said


def _seconds(value: float) -> str:
    return wording.seconds(value if value < 1 else round(value))
