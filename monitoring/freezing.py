"""Markers: which buckets of time are no evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from monitoring.models import Marker


@dataclass(frozen=True)
class Frozen:
    """The markers of a stretch of time, read once."""

    markers: Sequence[Marker]

    @classmethod
    def between(cls, start: datetime, end: datetime) -> "Frozen":
        return cls(list(Marker.objects.between(start, end)))

    def covers(self, at: datetime, labels: Mapping[str, str]) -> bool:
        """Whether a marker overlaps the bucket that begins at this time."""
        end = at + timedelta(seconds=settings.BUCKET_SECONDS)
        return any(
            marker.starts_at < end and marker.ends_at > at and marker.concerns(labels)
            for marker in self.markers
        )
