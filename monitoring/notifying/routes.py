"""The tree of routes as it is stored."""

from collections.abc import Iterable
from datetime import timedelta

from monitoring.models import Route
from monitoring.route_times import complain, digest_of, hours_of
from monitoring.routing.clock import InvalidHours
from monitoring.routing.matchers import InvalidMatcher, parse
from monitoring.routing.timing import Hours
from monitoring.routing.tree import Leaf, Node, Step, resolved

__all__ = ["hours_of", "stored", "timing_of", "tree", "tree_of"]


def stored() -> list[Route]:
    """Every route with its hours, channels and steps. One query and one for each sort of link."""
    return list(
        Route.objects.select_related("hours").prefetch_related("channels", "steps", "steps__channels")
    )


def tree() -> Node | None:
    """The root with everything below it; None before there is one."""
    return tree_of(stored())


def tree_of(rows: Iterable[Route]) -> Node | None:
    """Of all that is stored; no query."""
    below: dict[int | None, list[Route]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    roots = below.get(None, [])
    return _root(roots[0], below) if roots else None


def _root(row: Route, below: dict[int | None, list[Route]]) -> Node:
    """Takes everything, so that hours or a digest that nobody can read do not count: everybody is told, at once."""
    hours, digest = None, ""
    try:
        hours, digest = hours_of(row.hours), digest_of(row)
    except InvalidHours as error:
        complain(row, error)
    return _node(row, below, hours, digest)


def _node(row: Route, below: dict[int | None, list[Route]], hours: Hours | None, digest: str) -> Node:
    return Node(
        id=row.pk,
        name=row.name,
        matchers=tuple(matcher for text in row.matchers for matcher in parse(text)),
        channels=tuple(channel.pk for channel in row.channels.all()),
        tells_nobody=row.tells_nobody,
        is_continuing=row.is_continuing,
        group_by=None if row.group_by is None else tuple(row.group_by),
        group_wait=_span(row.group_wait_seconds),
        group_interval=_span(row.group_interval_seconds),
        repeat_interval=_span(row.repeat_interval_seconds),
        digest=digest,
        digest_hour=row.digest_hour,
        digest_zone=row.digest_zone,
        hours=hours,
        outside=row.outside,
        steps=tuple(
            Step(timedelta(seconds=step.after_seconds), tuple(one.pk for one in step.channels.all()))
            for step in row.steps.all()
        ),
        children=tuple(node for child in below.get(row.pk, []) if (node := _readable(child, below))),
    )


def _readable(row: Route, below: dict[int | None, list[Route]]) -> Node | None:
    """None for what nobody can read, however it came to be stored: the route above it takes what it would have taken."""
    try:
        return _node(row, below, hours_of(row.hours), digest_of(row))
    except (InvalidMatcher, InvalidHours) as error:
        complain(row, error)
        return None


def _span(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def timing_of(root: Node, route_id: int) -> Leaf:
    """What a route says, with what it inherits; the root's where the route is gone."""
    return _found(root, route_id, None) or resolved(root)


def _found(node: Node, route_id: int, above: Leaf | None) -> Leaf | None:
    own = resolved(node, above)
    if node.id == route_id:
        return own
    return next((found for child in node.children if (found := _found(child, route_id, own))), None)
