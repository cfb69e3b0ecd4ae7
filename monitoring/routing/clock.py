"""What the clock of a place shows, and when it leaps."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class InvalidHours(ValueError):
    """What is wrong with hours, and how to mend it."""


def zone_named(name: str) -> ZoneInfo:
    """Raises InvalidHours."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidHours(
            f"There is no time zone “{name}”; write one such as UTC or Europe/Berlin."
        ) from None


def moment(day: date, minute: int, zone: ZoneInfo, fold: int) -> datetime:
    """The time in UTC at which the zone's clock shows that minute of the day."""
    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)
    return local.replace(fold=fold).astimezone(UTC)


def clock_changes(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    at = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while at < end:
        following = at + timedelta(hours=1)
        if at.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            minutes = (at + timedelta(minutes=one) for one in range(1, 61))
            yield next(
                one
                for one in minutes
                if one.astimezone(zone).utcoffset() == following.astimezone(zone).utcoffset()
            )
        at = following
