"""The first line of a page: the answer, as one would say it aloud."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.models import Incident, Monitor, MonitorState, Reference, ReferenceMode
from monitoring.monitors import registry
from monitoring.notifying.payloads import budget_text, effect_text, incident_effect_text
from monitoring.problems import problem_of
from monitoring.sources import AGREEMENT, title_of
from triageops import wording

"""Kinds that show a share of records."""
_SHARES_OF_RECORDS = frozenset(
    {"error", "cache_hit", "feedback:negative", "feedback:positive", "feedback:coverage"}
)


def monitor_sentence(
    monitor: Monitor,
    open_incidents: Sequence[Incident],
    highest: float | None,
    *,
    sight: str = "",
    lately: str = "",
    now: datetime,
) -> str:
    """highest: the largest log-evidence of its slices. sight: what it can see, as a sentence. lately: “lower than usual”."""
    if open_incidents:
        return _of_incident(open_incidents)
    state = MonitorState(monitor.state)
    if state == MonitorState.PAUSED:
        return "Paused: nothing is being watched. What happens now will not be evidence."
    if state == MonitorState.LEARNING:
        return _learning(monitor, sight)
    if state == MonitorState.BACKTESTED:
        return " ".join(
            filter(
                None,
                [
                    "Tried out on the past, and not watching yet: look at the backtest, then activate it.",
                    sight,
                ],
            )
        )
    return _watching(monitor, highest, sight, lately, now)


def _of_incident(open_incidents: Sequence[Incident]) -> str:
    latest = open_incidents[0]
    more = f" (and {len(open_incidents) - 1} more)" if len(open_incidents) > 1 else ""
    why = explanation_of(latest).get("sentence", "")
    size = size_text(latest)
    told = f"{capital(latest.title)}{more}, since {_clock(latest.onset_at)}" + (f": {size}." if size else ".")
    return " ".join(filter(None, [told, why]))


def _learning(monitor: Monitor, sight: str) -> str:
    if monitor.learning_note:
        note = monitor.learning_note
        return f"Not watching yet, because too little is known: {note[:1].lower()}{note[1:]}"
    if monitor.reference_id is not None:
        return " ".join(filter(None, ["What is usual was learnt; it is not watching yet.", sight]))
    return "Not watching yet. A backtest shows on the past what it would have said; after that it can be activated."


def _watching(monitor: Monitor, highest: float | None, sight: str, lately: str, now: datetime) -> str:
    if monitor.check_error:
        return f"The last check failed, so nothing is being watched: {monitor.check_error}"
    problem = problem_of(monitor, now, monitor.started_at or now)
    if problem is not None:
        return f"{capital(problem.title)}, since {_clock(problem.since)}. {problem.summary}"
    if highest is None and (monitor.kind != "never" or monitor.last_row_at is None):
        waiting = "Watching, with no data yet. The first numbers appear when a bucket of time with records is closed."
        return " ".join(filter(None, [waiting, sight]))
    well = _well(monitor, -math.inf if highest is None else highest)
    if lately:
        well += f" Lately it was {lately}."
    if monitor.state == MonitorState.STALE and monitor.reference is not None:
        well += f" But what it calls usual is old: it was learnt up to {_clock(monitor.reference.end_at)}. Accept a new baseline."
    return well


def _well(monitor: Monitor, highest: float) -> str:
    share = evidence_share(highest)
    if monitor.kind == "never":
        return "No alarm: it has not happened."
    if monitor.kind == "burn_rate":
        return f"No alarm: the error budget is used up at {share} of the rate that raises one."
    return (
        f"No alarm: the evidence that “{title_of(monitor.metric)}” has changed is {share} of what raises one."
    )


def lag_of(monitor: Monitor, now: datetime) -> timedelta | None:
    """How far behind now the last check looked."""
    return None if monitor.watermark_at is None or not monitor.is_watching else now - monitor.watermark_at


def promise_sentence(monitor: Monitor, alarms: float) -> str:
    """What the budget promises, and what for; alarms: false ones in 30 days, over all its slices."""
    if monitor.kind == "never":
        return "There is no false alarm to promise anything about: it speaks when there is such a record, and only then."
    if monitor.kind == "burn_rate":
        return (
            "This is a rule and not a test: it speaks when the error budget is used up too fast in a long and in a short "
            "window at once, and nothing is promised about how often that happens by chance."
        )
    when = "It promises" if monitor.is_watching else "Once it is active, it promises"
    return (
        f"{when} at most {budget_text(alarms)} on average, over all its slices and however often one looks, "
        f"{_assumption(monitor)}"
    )


def _assumption(monitor: Monitor) -> str:
    if monitor.kind == "slo_guard":
        return "as long as the true mean is not worse than the level by more than the margin. Nothing else is assumed about the numbers."
    if monitor.reference_mode == ReferenceMode.VARIANT:
        return "as long as both get the same sort of records, and the ordinary differences between them stay as they were."
    usual = _window(monitor.reference) if monitor.reference is not None else "in the time that it learns from"
    return (
        f"as long as ordinary variation stays as it was {usual}: the ups and downs of hours and days, how alike neighbouring "
        "records are, and what you said is too small to mind. Days that are different for a known reason belong under a marker."
    )


def _window(reference: Reference) -> str:
    return f"from {reference.start_at:%Y-%m-%d} to {reference.end_at:%Y-%m-%d}"


def sight_sentence(sight: Mapping[str, Any], kind: str, bucket_n: float) -> str:
    """“It can see shifts of 0.4 standard deviations and more within a day.”; empty where nothing is known."""
    seen = sight_text(sight, kind)
    if not seen:
        return ""
    within = wording.seconds(sight.get("within_seconds"))
    within = "a day" if sight.get("within_seconds") == 86_400 else within
    size = "" if kind == "volume" else f", at {wording.plural(round(bucket_n), 'record')} in a bucket of time"
    return f"It can see {seen} within {within} on average{size}."


def sight_text(sight: Mapping[str, Any], kind: str) -> str:
    """“shifts of 0.4 standard deviations and more”."""
    up, down = sight.get("up"), sight.get("down")
    if up is None and down is None:
        return ""
    if kind == "distribution":
        sizes = {"higher": up, "lower": down}
        told = [f"{wording.number(size, 2)} ({word})" for word, size in sizes.items() if size is not None]
        if up is not None and down is not None and wording.number(up, 2) == wording.number(down, 2):
            told = [wording.number(up, 2)]
        return f"shifts of {' or '.join(told)} standard deviations and more"
    write = wording.number if kind == "volume" else wording.share
    what = {"volume": "in a bucket", "triage_error": "of under-triage"}.get(kind, "")
    ends = [
        *([] if up is None else [f"a rise to {write(up)}"]),
        *([] if down is None else [f"a fall to {write(down)}"]),
    ]
    return f"{' or '.join(ends)} {what}".strip()


def evidence_share(log_evidence: float) -> str:
    """Evidence as a share of the alarm line."""
    share = math.exp(min(log_evidence, 0.0))
    return "less than 1 %" if share < 0.01 else wording.share(share, 2)


def explanation_of(incident: Incident) -> Mapping[str, Any]:
    """What it comes from, as monitoring.attribution wrote it; empty where that is not known."""
    found = incident.evidence.get("explanation") if incident.monitor_id is not None else None
    return found if isinstance(found, dict) else {}


def size_text(incident: Incident) -> str:
    """How far off it is, for people: an interval ends where no value can be; of what must never happen, how often it did."""
    monitor, effect = incident.monitor, incident.effect
    if monitor is None or effect.get("current") is None:
        return incident_effect_text(incident)
    if monitor.kind == "never":
        n = effect["n"]
        return f"{wording.plural(round(effect['current'] * n), 'event')} among {wording.plural(n, 'record')}"
    bounds = _bounds(monitor)
    if bounds is not None and effect.get("low") is not None:
        low, high = (end - effect["level"] for end in bounds)
        effect = {**effect, "low": max(low, effect["low"]), "high": min(high, effect["high"])}
    return effect_text(effect)


def _bounds(monitor: Monitor) -> tuple[float, float] | None:
    """Of the value that it shows, where that is known without asking the database."""
    if (
        registry.is_of_shares(monitor.kind)
        or monitor.metric in _SHARES_OF_RECORDS
        or monitor.metric.startswith(AGREEMENT)
    ):
        return 0.0, 1.0
    return (1.0, 5.0) if monitor.metric == "feedback:rating" else None


def _clock(at: datetime | None) -> str:
    return wording.MISSING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
