"""The labels of an incident: what routes, silences and inhibitions match, and what an Alertmanager knows it by."""

import hmac
from collections.abc import Mapping

from django.conf import settings

from monitoring.evidence import Evidence
from monitoring.models import Incident, Source
from monitoring.slices import ALL, SMALLEST_NAMED_GROUP
from triageops.observability.logging import SERVICE

HALTED, SELF = "ExperimentHalted", "TriageOps"
INCIDENT = "incident_id"
"""A label that only matching within the product knows: no other incident has its value. It never leaves."""


def labels_of(incident: Incident) -> dict[str, str]:
    """All labels, for matching within the product; the monitor should be loaded.

    alertname, severity, service, source, signal, monitor, metric, kind, experiment, and those of the slice or of the report;
    a name that is taken by the product is not overwritten by those.
    """
    own = {
        "alertname": alertname_of(incident),
        "severity": incident.severity,
        "service": SERVICE,
        "source": incident.source or ("experiment" if incident.monitor is None else "monitor"),
        "signal": incident.signal,
        "experiment": incident.experiment,
    }
    if incident.monitor is not None:
        own |= {
            "monitor": incident.monitor.name,
            "metric": incident.monitor.metric,
            "kind": incident.monitor.kind,
        }
    given = {name: str(value) for name, value in incident.labels.items()}
    if incident.is_reported:
        # What was reported keeps its own words; only what it did not say is ours.
        return _filled({**own, **given, "source": own["source"], "severity": own["severity"]})
    return _filled({**given, **own})


def matched_labels_of(incident: Incident, labels: Mapping[str, str] | None = None) -> dict[str, str]:
    """What silences and windows match. labels: those of the incident where they are known already."""
    return {**(labels_of(incident) if labels is None else labels), INCIDENT: str(incident.pk)}


def public_labels_of(incident: Incident) -> dict[str, str]:
    """Labels that may leave the product: a group that is too small to be named goes by a name that says nothing of it.

    The same for as long as the incident's slice is the same, and different from that of any other slice.
    """
    found = labels_of(incident)
    if is_small(incident):
        found = {name: value for name, value in found.items() if name not in incident.labels}
    # Two reports with keys of their own may have the same labels; an Alertmanager's own alerts cannot.
    is_keyed = incident.source in {Source.API, Source.SELF}
    is_slice = incident.monitor is not None and incident.slice_key != ALL
    return {**found, "slice": alias_of(incident.slice_key)} if is_keyed or is_slice else found


def is_small(incident: Incident) -> bool:
    """Whether its group is below the smallest that is named; without labels no group is named, and silence is nobody's."""
    if incident.is_reported:
        return False
    if incident.experiment:
        return Evidence.read(incident.evidence).is_small
    return bool(incident.labels) and 0 < incident.effect.get("n", 1) < SMALLEST_NAMED_GROUP


def alertname_of(incident: Incident) -> str:
    if incident.monitor is not None:
        return incident.monitor.name
    if incident.experiment:
        return HALTED
    return str(incident.labels.get("alertname") or SELF)


def alias_of(key: str) -> str:
    """Eight letters for a slice that cannot be guessed back without the deployment's secret key."""
    return hmac.new(settings.SECRET_KEY.encode(), f"slice:{key}".encode(), "sha256").hexdigest()[:8]


def severity_named(text: str) -> str:
    """Another system's word for a severity as one of ours; unknown ones are warnings."""
    known = {
        "critical": "critical",
        "page": "critical",
        "error": "error",
        "high": "error",
        "warning": "warning",
    }
    known |= {
        "warn": "warning",
        "ticket": "warning",
        "info": "info",
        "none": "info",
        "low": "info",
        "debug": "info",
    }
    return known.get(text.strip().lower(), "warning")


def _filled(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value}
