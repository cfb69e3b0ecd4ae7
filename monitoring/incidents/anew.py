"""What an ended incident leaves behind in its monitor's slices."""

from monitoring.models import EventKind, Incident, MonitorSlice


def noted_slices(incident: Incident) -> set[str]:
    """Keys of the slices whose alarms were noted on it instead of being told."""
    return set(incident.events.filter(kind=EventKind.NOTED).values_list("details__slice", flat=True))


def start_anew(incident: Incident) -> None:
    """What led to this incident must not open the next one; starting anew never breaks the budget.

    What was only noted on it is told by nobody now, so those slices start anew too: a burn rate fires once until it is below.
    """
    told = Incident.objects.open().filter(monitor=incident.monitor).values_list("slice_key", flat=True)
    keys = {incident.slice_key} | (noted_slices(incident) - set(told))
    MonitorSlice.objects.filter(monitor=incident.monitor, key__in=keys).update(
        evidence={}, recovery={}, log_evidence=None
    )
