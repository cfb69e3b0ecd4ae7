"""What a monitor would have said of the past: its replay, slice by slice, and changes that are put into it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring import references
from monitoring.budget import share_if_active
from monitoring.freezing import Frozen
from monitoring.models import Monitor
from monitoring.monitors.changes import planned
from monitoring.monitors.replay import Alarm, follow
from monitoring.monitors.sample import Sample
from monitoring.monitors.thinning import points_of
from monitoring.monitors.trials import Trials
from monitoring.monitors.watch import Watch
from monitoring.past import Part, Past
from monitoring.slices import ALL

_ALARMS_SHOWN = 100
_POINTS, _POINTS_OF_ALL, _FEWEST_POINTS = 400, 20_000, 20
_READ, _REPLAYED = 0.2, 0.6
"""Progress when everything is read, and when every slice is replayed."""

Tell = Callable[[float], None]
"""How far it is, from 0 to 1; what it raises ends the work."""


def report_of(monitor: Monitor, *, now: datetime, tell: Tell) -> dict[str, Any]:
    """As JSON. monitor: with the settings that are tried; its part of the budget is set to what it would get.

    Raises references.NothingToLearn, and what a kind raises for settings or values that it cannot work with.
    """
    share_if_active(monitor)
    past = Past(monitor, now)
    parts = past.parts(lambda done: tell(_READ * done))
    frozen = Frozen.between(past.start, past.end)
    slices: list[dict[str, Any]] = []
    for part in parts:
        slices.append(_replayed(part, past, frozen, _point_count(len(parts))))
        tell(_READ + (_REPLAYED - _READ) * len(slices) / len(parts))
    whole = max(parts, key=lambda part: (part.key == ALL, part.n))
    trials = Trials.of(whole.watch, whole.samples, whole.budget_per_second, _frozen_for(frozen, whole))
    injections = _injected(whole, past, trials, tell)
    promised = sum(one.pop("promised") for one in slices)
    return {
        "window": {**_window(past.start, past.end), "days": (past.end - past.start) / timedelta(days=1)},
        "reference": past.reference,
        "budget": {"alarms_per_30_days": monitor.promised_alarms, "promised": promised},
        "slices": slices,
        **_judged(slices, promised, past.notes),
        "injections": injections,
        "sight": _sight(monitor, whole),
        "notes": past.notes,
    }


def _replayed(part: Part, past: Past, frozen: Frozen, point_count: int) -> dict[str, Any]:
    found = follow(
        part.watch,
        part.samples,
        budget_per_second=part.budget_per_second,
        frozen=_frozen_for(frozen, part),
    )
    points = points_of(
        part.watch,
        part.samples,
        found.log_evidence,
        start=past.start.timestamp(),
        end=past.end.timestamp(),
        count=point_count,
    )
    return {
        "key": part.key,
        "name": part.name,
        "n": part.n,
        "mean": _mean(part),
        "promised": part.budget_per_second * found.seconds,
        "alarm_count": sum(not one.is_single for one in found.alarms),
        "signal_count": sum(one.is_single for one in found.alarms),
        "alarms": [_alarm(part.watch, one) for one in found.alarms[:_ALARMS_SHOWN]],
        "points": [[_time(at), *numbers] for at, *numbers in points],
    }


def _injected(part: Part, past: Past, trials: Trials, tell: Tell) -> list[dict[str, Any]]:
    plan = planned(past.kind, past.source.metric, part.learnt, part.samples)
    past.notes += plan.notes
    done, count = 0, len(plan.injections) * len(trials.positions)

    def tried() -> None:
        nonlocal done
        done += 1
        tell(_REPLAYED + (1 - _REPLAYED) * done / count)

    return [trials.of_injection(one, tried).as_json() for one in plan.injections]


def _judged(slices: Sequence[Mapping[str, Any]], promised: float, notes: list[str]) -> dict[str, Any]:
    """Where so many alarms are promised on average, chance alone may give two standard deviations more."""
    alarms, signals = (sum(one[name] for one in slices) for name in ("alarm_count", "signal_count"))
    expected = max(1.0, promised)
    allowed = expected + 2 * expected**0.5
    if alarms + signals:
        notes.append(
            "The past has alarms of its own, so some of what was put into it may have been found because of them."
        )
    return {
        "alarm_count": alarms,
        "signal_count": signals,
        "allowed": allowed,
        "is_calm": alarms + signals <= allowed,
    }


def _sight(monitor: Monitor, part: Part) -> dict[str, Any]:
    if part.learnt is None:
        return {}
    return references.sight_of(monitor, part.key, part.learnt, part.samples)


def _mean(part: Part) -> float | None:
    """Of records, or of whole buckets."""
    if part.watch.is_of_records:
        return part.watch.value(Sample.merge(part.samples))
    return sum(part.watch.value(one) or 0.0 for one in part.samples) / len(part.samples)


def _frozen_for(frozen: Frozen, part: Part) -> Callable[[Sample], bool]:
    if not frozen.markers:
        return lambda _: False
    return lambda sample: frozen.covers(datetime.fromtimestamp(sample.at, UTC), part.labels)


def _alarm(watch: Watch, alarm: Alarm) -> dict[str, Any]:
    return {
        "at": _time(alarm.at),
        "onset_at": _time(alarm.onset_at),
        "label": alarm.label,
        "complaint": watch.complaint(alarm.label),
        "is_single": alarm.is_single,
        "value": alarm.value,
        "usual": alarm.usual,
        "n": alarm.n,
    }


def _point_count(slice_count: int) -> int:
    """Of each slice, so that a report of a thousand slices can still be kept."""
    return min(_POINTS, max(_FEWEST_POINTS, _POINTS_OF_ALL // slice_count))


def _window(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": start.astimezone(UTC).isoformat(), "end": end.astimezone(UTC).isoformat()}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
