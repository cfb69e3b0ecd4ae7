"""The state machine of an incident: (suspect ->) firing -> acknowledged -> recovering -> resolved.

Every transition is one sealed event, one new version and, where somebody is told, one message per channel, in one transaction.
"""

from monitoring.history.chain import IncidentChanged
from monitoring.history.flags import flag, unflag
from monitoring.history.locking import locked, locked_open
from monitoring.incidents.judging import acknowledge, comment, judge, resolve, unacknowledge
from monitoring.incidents.moving import PERSONS_RESOLUTIONS, InvalidTransition
from monitoring.incidents.opening import (
    note_slice,
    noted_slices,
    notes_of,
    open_incident,
    open_or_note,
    open_unless_known,
    suspect,
)
from monitoring.incidents.recovering import end, fade, recover, relapse, worsen
from monitoring.incidents.reporting import report, report_over
from monitoring.incidents.tending import tend

__all__ = [
    "PERSONS_RESOLUTIONS",
    "IncidentChanged",
    "InvalidTransition",
    "acknowledge",
    "comment",
    "end",
    "fade",
    "flag",
    "judge",
    "locked",
    "locked_open",
    "note_slice",
    "noted_slices",
    "notes_of",
    "open_incident",
    "open_or_note",
    "open_unless_known",
    "recover",
    "relapse",
    "report",
    "report_over",
    "resolve",
    "suspect",
    "tend",
    "unacknowledge",
    "unflag",
    "worsen",
]
