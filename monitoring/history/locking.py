"""Locks of an incident, always in one order: the monitor, where there is one, then the incident."""

from uuid import UUID

from monitoring.models import Incident, Monitor


def locked(incident_id: UUID) -> Incident:
    """In a transaction; raises Incident.DoesNotExist."""
    monitor_id = Incident.objects.values_list("monitor_id", flat=True).get(pk=incident_id)
    if monitor_id is not None:
        Monitor.objects.select_for_update(no_key=True).get(pk=monitor_id)
    return (
        Incident.objects.select_for_update(no_key=True, of=("self",))
        .select_related("monitor")
        .get(pk=incident_id)
    )


def locked_open(incident_id: UUID) -> Incident | None:
    """The incident, locked; None when it was resolved meanwhile."""
    incident = locked(incident_id)
    return incident if incident.is_open else None


def locked_unless_busy(incident_id: UUID) -> Incident | None:
    """The open incident, locked; None when it was resolved meanwhile, or while another worker is at it or its monitor."""
    monitor_id = Incident.objects.values_list("monitor_id", flat=True).filter(pk=incident_id).first()
    if monitor_id is not None:
        monitors = Monitor.objects.select_for_update(no_key=True, skip_locked=True)
        if not monitors.filter(pk=monitor_id).exists():
            return None
    rows = Incident.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    return rows.select_related("monitor").open().filter(pk=incident_id).first()
