"""When what a route chose may be told: within its hours, and with its digest."""

from datetime import datetime

import structlog

from monitoring.models import Digest, Hours, Route
from monitoring.routing import timing
from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.timing import next_digest

log = structlog.get_logger(__name__)

BY_ROUTE = "route "
"""Begins what a message says of why its channel is told, where a route alone chose it: hours and digests are for those."""


def hours_of(row: Hours | None) -> timing.Hours | None:
    """Raises InvalidHours."""
    return None if row is None else timing.Hours.parse(row.ranges, row.zone)


def digest_of(row: Route) -> str:
    """Raises InvalidHours for a digest that has no time."""
    if row.digest:
        zone_named(row.digest_zone)
        if row.digest not in Digest.values:
            raise InvalidHours(f"“{row.digest}” is no digest.")
    return str(row.digest)


def next_time(row: Route, at: datetime, *, is_grouped: bool) -> datetime:
    """The first time from then on at which the route tells; at once where nobody can read what it says."""
    try:
        hours, digest = hours_of(row.hours), digest_of(row)
    except InvalidHours as error:
        complain(row, error)
        return at
    opens_at = at if hours is None else hours.next_start(at)
    if digest and is_grouped:
        return next_digest(digest, row.digest_hour, row.digest_zone, opens_at)
    return opens_at


def complain(row: Route, error: Exception) -> None:
    log.error("route.unreadable", route_id=row.pk, reason=str(error)[:300])
