"""Alerts of other systems become incidents: one open incident for each set of labels of a source.

Senders repeat themselves, and what they send may overtake itself. An alert's `startsAt` says which episode it belongs to, so:
- “resolved” of an episode that ended before the open one began changes nothing;
- “firing” of an episode that is over already opens nothing. Over is what its source said so, or what a person judged to be
  expected or a false alarm. What a person called fixed, and what an alert with an end of its own (Prometheus) goes on saying, is
  believed again after GRACE; what only fell silent is believed at once.
What an Alertmanager tells back that heard it from us is no news: the page it links to is that of our own incident.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from monitoring import incidents
from monitoring.models import Incident, IncidentState, Resolution, Source
from monitoring.notifying.payloads import incidents_url
from monitoring.reports.alerts_read import Alert, InvalidAlert, read_alert

log = structlog.get_logger(__name__)

GRACE = timedelta(minutes=15)
"""Longer than messages that overtook each other are on their way."""
PROMETHEUS_FIRES_FOR = timedelta(minutes=5)
"""Alertmanager's resolve_timeout, for alerts that do not say until when they are true."""
EPISODE = "starts_at"
"""Among the annotations: when the last episode that was reported began, by the source's clock."""


@dataclass(frozen=True)
class Mistake:
    """Why one alert was not taken."""

    index: int
    field: str
    detail: str


@dataclass
class Taken:
    """What came of several alerts. late_count: of episodes that are over already; own_count: our own, told back."""

    opened_count: int = 0
    repeated_count: int = 0
    resolved_count: int = 0
    late_count: int = 0
    own_count: int = 0
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def taken_count(self) -> int:
        return (
            self.opened_count + self.repeated_count + self.resolved_count + self.late_count + self.own_count
        )


def take_alerts(alerts: Iterable[Any], *, source: Source, actor: str, now: datetime) -> Taken:
    """Each by itself, in the order given; those that are wrong are listed and keep the others from nothing."""
    taken = Taken()
    for index, given in enumerate(alerts):
        try:
            alert = read_alert(given)
        except InvalidAlert as error:
            taken.mistakes.append(Mistake(index, error.field, error.detail))
            continue
        if _is_own(alert):
            taken.own_count += 1
        elif alert.is_over(now):
            _end(alert, taken, source, actor, now)
        else:
            _fire(alert, taken, source, actor, now)
    if taken.mistakes:
        log.warning(
            "report.refused", source=str(source), refused=len(taken.mistakes), taken=taken.taken_count
        )
    return taken


def _is_own(alert: Alert) -> bool:
    return alert.annotations.get("link", "").startswith(incidents_url())


def _fire(alert: Alert, taken: Taken, source: Source, actor: str, now: datetime) -> None:
    last = _last(source, alert.key)
    if last is not None and _is_late(alert, last, source, now):
        taken.late_count += 1
        return
    incident = incidents.report(
        source,
        alert.key,
        title=alert.title,
        severity=alert.severity,
        labels=alert.labels,
        annotations={**alert.annotations, EPISODE: _episode(alert, last, now).isoformat()},
        onset_at=min(alert.starts_at or now, now),
        expected_until=_expected_until(alert, now) if source == Source.PROMETHEUS else None,
        actor=actor,
        now=now,
    )
    if last is not None and incident.pk == last.pk:
        taken.repeated_count += 1
    else:
        taken.opened_count += 1


def _end(alert: Alert, taken: Taken, source: Source, actor: str, now: datetime) -> None:
    last = _last(source, alert.key)
    if last is None or not last.is_open or _is_of_earlier(alert, episode_of(last)):
        taken.late_count += 1
        return
    incidents.report_over(source, alert.key, actor=actor, ended_at=alert.ends_at, now=now)
    taken.resolved_count += 1


def _is_late(alert: Alert, last: Incident, source: Source, now: datetime) -> bool:
    """Whether an alert that fires tells of an episode that is over."""
    if alert.starts_at is None or alert.starts_at > episode_of(last):
        return False
    is_lasting = source == Source.PROMETHEUS
    if last.state == IncidentState.RECOVERING:
        return not is_lasting
    if last.resolved_at is None:
        return False
    if last.resolution in {Resolution.EXPECTED, Resolution.FALSE_POSITIVE}:
        return True
    is_fresh = now - last.resolved_at < GRACE
    if last.resolution == Resolution.REPORTED_OVER:
        return is_fresh or not is_lasting
    return last.resolution == Resolution.FIXED and is_fresh


def _is_of_earlier(alert: Alert, episode: datetime) -> bool:
    if alert.starts_at is None or alert.ends_at is None:
        return False
    return alert.starts_at < episode and alert.ends_at <= episode


def _expected_until(alert: Alert, now: datetime) -> datetime:
    return alert.ends_at if alert.ends_at is not None and alert.ends_at > now else now + PROMETHEUS_FIRES_FOR


def _episode(alert: Alert, last: Incident | None, now: datetime) -> datetime:
    """The last beginning that was heard of: two Prometheus servers tell the same alert with two."""
    given = alert.starts_at or now
    return max(given, episode_of(last)) if last is not None and last.is_open else given


def episode_of(incident: Incident) -> datetime:
    try:
        return datetime.fromisoformat(str(incident.annotations.get(EPISODE))).astimezone(UTC)
    except ValueError:
        return incident.onset_at


def _last(source: Source, key: str) -> Incident | None:
    return Incident.objects.filter(source=source, slice_key=key).order_by("-id").first()
