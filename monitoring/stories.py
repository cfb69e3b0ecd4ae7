"""One change, one story: what a slice has found, and whether an open incident tells of it already."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from monitoring.models import Incident, MonitorSlice, Signal
from monitoring.monitors.watch import Finding, Watch

SAME_STORY = timedelta(hours=6)
"""What a part and the whole show tells one story if it began this close together."""


@dataclass(frozen=True)
class Change:
    """What a slice found and nobody was told of it yet. is_signal: one bucket alone; best: dimension and value that explain it."""

    key: str
    finding: Finding
    onset_at: datetime
    watch: Watch
    is_signal: bool = False
    best: tuple[str, str] | None = None

    def is_like(self, label: str) -> bool:
        """label: empty where an earlier release did not keep it."""
        return not label or self.watch.is_same_change(self.finding.label, label)

    def is_explained_by(self, part: Incident) -> bool:
        return self.best is not None and part.labels.get(self.best[0]) == self.best[1]

    def is_told_by(self, incident: Incident) -> bool:
        """Near in time and of one kind; and a single bucket, which is less urgent, does not tell of what lasts."""
        if incident.signal == Signal.ANOMALY and not self.is_signal:
            return False
        is_near = abs(self.onset_at - incident.onset_at) <= SAME_STORY
        return is_near and self.is_like(incident.evidence.get("label", ""))


def forget(row: MonitorSlice) -> None:
    """Its evidence and its way back; saves nothing."""
    row.evidence, row.recovery, row.log_evidence = {}, {}, None


class Story(Protocol):
    """What the slices of one monitor know of each other."""

    def noted_on(self, change: Change) -> Incident | None:
        """The open incident on which the same was noted of this slice before."""

    def told_by(self, change: Change) -> Incident | None:
        """The open incident that tells of this already."""

    def opened(self, row: MonitorSlice, incident: Incident) -> None: ...

    def ended(self, row: MonitorSlice, incident: Incident) -> None: ...
