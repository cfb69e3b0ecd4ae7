"""Halted experiments: each halt opens one incident with its evidence, which is over when the experiment is resumed or stopped.

The audit of experiments says what happened; nothing is taken from an experiment but its key, its state and these rows.
"""

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Exists, OuterRef

from experiments.models import ENDED, Experiment, ExperimentEvent, State
from monitoring import incidents
from monitoring.evidence import Evidence
from monitoring.models import Incident, Resolution, Severity
from monitoring.slices import ALL

HALT, KILL = "halt", "kill"
"""Actions in the audit that stop an experiment at once: a guardrail's, and a person's."""

_SEVERITIES = {HALT: Severity.CRITICAL, KILL: Severity.ERROR}


def open_halts(now: datetime) -> int:
    """Open an incident for every halt that has none and say how many; one that is over already is resolved at once."""
    has_incident = Incident.objects.filter(experiment_event=OuterRef("pk"))
    halts = ExperimentEvent.objects.filter(~Exists(has_incident), action__in=_SEVERITIES)
    return sum(_open(halt, now) for halt in halts.select_related("experiment").order_by("pk"))


def close_ended(now: datetime) -> int:
    """Resolve the incidents whose experiment is not halted any more and say how many."""
    halted = Experiment.objects.filter(key=OuterRef("experiment"), state=State.HALTED)
    ended = Incident.objects.open().of_experiments().exclude(Exists(halted))
    found = 0
    for incident_id in list(ended.values_list("pk", flat=True)):
        with transaction.atomic():
            incident = incidents.locked_open(incident_id)
            if incident is not None:
                _close(incident, now)
                found += 1
    return found


def _open(halt: ExperimentEvent, now: datetime) -> bool:
    """One transaction; of two workers, the unique constraints of incidents let one."""
    with transaction.atomic():
        _close_earlier(halt, now)
        incident = _incident(halt, now)
        details = {
            "experiment_event": halt.pk,
            "action": halt.action,
            "onset_at": incident.onset_at.isoformat(),
        }
        if not incidents.open_unless_known(incident, details=details, by=halt.by, now=now):
            return False
        if halt.experiment.state != State.HALTED or _end_of(incident) is not None:
            _close(incident, now)
    return True


def _close_earlier(halt: ExperimentEvent, now: datetime) -> None:
    """It was resumed and halted again before anybody looked: the first incident is over, the second a new one."""
    earlier = Incident.objects.open().filter(experiment=halt.experiment.key, experiment_event__lt=halt.pk)
    for incident_id in list(earlier.values_list("pk", flat=True)):
        incident = incidents.locked_open(incident_id)
        if incident is not None:
            _close(incident, now)


def _incident(halt: ExperimentEvent, now: datetime) -> Incident:
    written = halt.evidence if isinstance(halt.evidence, dict) else {}
    evidence = Evidence.read(written)
    opened_at = min(halt.at, now)
    return Incident(
        experiment=halt.experiment.key,
        experiment_event=halt.pk,
        evidence=written,
        slice_key=ALL,
        labels={"variant": evidence.variant} if evidence.variant else {},
        title=_title(halt, evidence)[:300],
        severity=_SEVERITIES[halt.action],
        onset_at=min(_time(written.get("onset_at")) or opened_at, opened_at),
        opened_at=opened_at,
        effect=evidence.as_effect(),
    )


def _title(halt: ExperimentEvent, evidence: Evidence) -> str:
    """What alerts may say: where a person gave a reason, the headline may repeat it, and stays on the page."""
    key = halt.experiment.key
    headline = "" if halt.action == KILL and halt.reason.strip() else evidence.headline.rstrip(".")
    if key in headline:
        return headline
    by = "the kill switch" if halt.action == KILL else f"its guardrail {evidence.metric}".rstrip()
    return f"{key} was halted by {by}" + (f": {headline}" if headline else "")


def _time(written: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _end_of(incident: Incident) -> ExperimentEvent | None:
    """The first change after the halt with which the experiment was not halted any more."""
    later = ExperimentEvent.objects.filter(
        experiment__key=incident.experiment, pk__gt=incident.experiment_event
    ).order_by("pk")
    return next(
        (one for one in later.select_related("by") if _state(one.after) not in {None, State.HALTED}), None
    )


def _close(incident: Incident, now: datetime) -> None:
    """The incident must be locked, or new in this transaction."""
    end = _end_of(incident)
    state = _state(end.after) if end else None
    if state is None:
        state = Experiment.objects.filter(key=incident.experiment).values_list("state", flat=True).first()
    # Halted still means: the kill switch came on top, and has an incident of its own.
    resolution = Resolution.STOPPED if state in {*ENDED, State.HALTED, None} else Resolution.RESUMED
    details = {"experiment_event": end.pk, "action": end.action} if end else {}
    incidents.end(
        incident,
        resolution,
        by=end.by if end else None,
        note=end.reason if end else "",
        details=details,
        now=now,
    )


def _state(snapshot: object) -> str | None:
    state = snapshot.get("state") if isinstance(snapshot, dict) else None
    return state if isinstance(state, str) else None
