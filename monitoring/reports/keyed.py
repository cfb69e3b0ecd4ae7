"""Incidents that a program opens by a key of its own, and ends by it.

What a person judged to be expected or a false alarm stays judged while its source goes on saying it: a repetition opens nothing
new and tells nobody, until the source says that it is over, or was silent for as long as it promised to repeat itself (without a
promise: GRACE). What a person called fixed is believed again after GRACE.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from monitoring import incidents
from monitoring.models import Incident, IncidentState, Resolution, Source
from monitoring.reports.reported import GRACE

_JUDGED = (Resolution.EXPECTED, Resolution.FALSE_POSITIVE)


def report(
    key: str,
    *,
    title: str,
    severity: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    onset_at: datetime,
    lasts: timedelta | None,
    actor: str,
    now: datetime,
) -> Incident:
    """The incident of this key: opened, gone on with, or the one that a person ended. lasts: until then it will be repeated."""
    last = _last(key)
    if last is not None and _is_judged(last, now):
        Incident.objects.filter(pk=last.pk).update(expected_until=now + (lasts or GRACE))
        return last
    return incidents.report(
        Source.API,
        key,
        title=title,
        severity=severity,
        labels=labels,
        annotations=annotations,
        onset_at=onset_at,
        expected_until=None if lasts is None else now + lasts,
        actor=actor,
        now=now,
    )


def over(key: str, *, actor: str, now: datetime) -> Incident | None:
    """Its source says that it is over; None when there never was one of this key."""
    found = incidents.report_over(Source.API, key, actor=actor, now=now)
    if found is not None:
        return found
    last = _last(key)
    if last is not None:
        # What is said from now on is said anew.
        Incident.objects.filter(pk=last.pk, state=IncidentState.RESOLVED).update(expected_until=now)
    return last


def _is_judged(last: Incident, now: datetime) -> bool:
    if last.resolved_at is None or last.resolution not in {*_JUDGED, Resolution.FIXED}:
        return False
    fresh_until = last.resolved_at + GRACE
    if last.expected_until is not None and last.expected_until <= now:
        return False
    if last.resolution == Resolution.FIXED:
        return now < fresh_until
    return now < (last.expected_until or fresh_until)


def _last(key: str) -> Incident | None:
    return Incident.objects.filter(source=Source.API, slice_key=key).order_by("-id").first()
