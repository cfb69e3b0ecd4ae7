"""What people and programs say of routes: made, changed, moved, taken away. One way for REST, admin and import."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from monitoring.history.committed import after_commit
from monitoring.models import Route
from monitoring.notifying.route_values import (
    channels_named,
    check_steps,
    group_by_in,
    hours_named,
    matchers_in,
    set_steps,
    step_in,
)
from monitoring.routing.clock import InvalidHours, zone_named
from monitoring.routing.tree import DEPTH_MAX
from triageops.rest import Conflict, InvalidInput

log = structlog.get_logger(__name__)

PLAIN = (
    "name",
    "tells_nobody",
    "is_continuing",
    "group_wait_seconds",
    "group_interval_seconds",
    "repeat_interval_seconds",
    "digest",
    "digest_hour",
    "digest_zone",
    "outside",
)
"""Settings that are stored as they are said."""

SETTABLE = (*PLAIN, "parent", "position", "matchers", "channels", "group_by", "hours", "steps")
ROUTES_MAX = 1_000
_LOCK = 0x7126_5118


class RouteHasRoutes(Conflict):
    """Others hang below it."""

    type = "route-has-routes"
    title = "There are routes below this one"


class RouteNameTaken(Conflict):
    """Another route has this name."""

    type = "name-taken"
    title = "Another route has this name"


class RouteChanged(Conflict):
    """Somebody changed it since it was read."""

    type = "route-changed"
    title = "The route was changed meanwhile"


@contextmanager
def changing() -> Iterator[None]:
    """Around a change of the tree: one at a time, so that no two of them together make a ring."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


def create(values: Mapping[str, Any]) -> Route:
    """values: of SETTABLE, channels and hours by name, parent by id; without one, below the first route.

    Raises InvalidInput, RouteNameTaken and Conflict.
    """
    with changing():
        rows = _rows()
        if len(rows) >= ROUTES_MAX:
            raise Conflict(f"There are {len(rows)} routes; the most is {ROUTES_MAX}.", fix="Remove some.")
        root = next((row for row in rows.values() if row.parent_id is None), None)
        route = Route(parent=root)
        if values.get("parent") is None and "parent" in values and root is not None:
            raise Conflict(f"“{root.name}” is the first route.", field="parent", fix="Name a parent.")
        _put(route, values, rows)
        after_commit(partial(log.info, "route.created", route_id=route.pk))
    return route


def edit(route_id: int, values: Mapping[str, Any], *, version: int | None = None) -> Route:
    """version: the one that was read, so that the change of somebody else meanwhile is not undone; None: whichever it is.

    Raises InvalidInput, RouteNameTaken, RouteChanged, Conflict and Route.DoesNotExist.
    """
    with changing():
        rows = _rows()
        if route_id not in rows:
            raise Route.DoesNotExist
        route = rows[route_id]
        if version is not None and version != route.version:
            raise RouteChanged(
                f"It has version {route.version} now, not {version}: somebody changed it after it was read.",
                field="version",
                fix="Read it anew, and make the change again.",
            )
        if "parent" in values and (values["parent"] is None) != (route.parent_id is None):
            raise Conflict(
                "The first route stays the first, and the others below it.",
                field="parent",
                fix="Leave it out.",
            )
        route.version += 1
        _put(route, values, rows)
        after_commit(partial(log.info, "route.changed", route_id=route.pk))
    return route


def move(route_id: int, by: int) -> Route:
    """Among its siblings, so many places down. Raises Route.DoesNotExist."""
    with changing():
        route = Route.objects.get(pk=route_id)
        siblings = [row.pk for row in _siblings(route.parent_id)]
        _place(route, max(0, siblings.index(route.pk) + by))
        after_commit(partial(log.info, "route.changed", route_id=route.pk))
    return route


def remove(route_id: int, *, with_below: bool = False) -> int:
    """How many are gone. Raises RouteHasRoutes and Route.DoesNotExist."""
    with changing():
        rows = _rows()
        if route_id not in rows:
            raise Route.DoesNotExist
        gone = [rows[route_id], *below(rows[route_id], rows)]
        if len(gone) > 1 and not with_below:
            raise RouteHasRoutes(
                f"{len(gone) - 1} routes hang below “{gone[0].name}”.", fix="Remove them too: ?below=true."
            )
        after_commit(partial(log.info, "route.removed", route_id=gone[0].pk))
        gone[0].delete()
    return len(gone)


def below(route: Route, rows: Mapping[int, Route]) -> list[Route]:
    children = [row for row in rows.values() if row.parent_id == route.pk]
    return [one for child in children for one in (child, *below(child, rows))]


def _rows() -> dict[int, Route]:
    return {row.pk: row for row in Route.objects.all()}


def _put(route: Route, values: Mapping[str, Any], rows: Mapping[int, Route]) -> None:
    is_new, parent_before = route.pk is None, route.parent_id
    for name in PLAIN:
        if name in values:
            setattr(route, name, values[name])
    if values.get("parent") is not None:
        route.parent = _parent(route, values["parent"], rows)
    if "matchers" in values:
        route.matchers = matchers_in(values["matchers"])
    if "group_by" in values:
        route.group_by = group_by_in(values["group_by"])
    if "hours" in values:
        route.hours = hours_named(values["hours"])
    channels = channels_named(values["channels"], "channels") if "channels" in values else None
    steps = [step_in(one) for one in values.get("steps", ())]
    has_channels = bool(channels) if channels is not None else bool(route.pk and route.channels.exists())
    _check(route, rows, has_channels=has_channels)
    check_steps(steps)
    route.save()
    if channels is not None:
        route.channels.set(channels)
    if "steps" in values:
        set_steps(route, steps)
    if is_new or "position" in values or parent_before != route.parent_id:
        position = values.get("position")
        _place(route, len(rows) if position is None else position)


def _check(route: Route, rows: Mapping[int, Route], *, has_channels: bool) -> None:
    if any(row.name == route.name for row in rows.values() if row.pk != route.pk):
        raise RouteNameTaken(
            f"There is a route called “{route.name}”.", field="name", fix="Use another name."
        )
    if route.parent_id is None and route.matchers:
        raise InvalidInput(
            "The first route takes everything.", field="matchers", fix="Leave its matchers empty."
        )
    if route.tells_nobody and has_channels:
        raise InvalidInput(
            "A route that tells nobody has no channels.", field="tells_nobody", fix="Choose one of the two."
        )
    try:
        zone_named(route.digest_zone)
        route.clean_fields(exclude=["parent", "hours"])
    except InvalidHours as error:
        raise InvalidInput(str(error), field="digest_zone", fix="Correct the zone.") from None
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidInput(" ".join(messages), field=name, fix="Correct this value; see /api/docs.") from None


def _parent(route: Route, parent_id: int, rows: Mapping[int, Route]) -> Route:
    parent = rows.get(parent_id)
    if parent is None:
        raise InvalidInput(f"There is no route {parent_id}.", field="parent", fix="Name one that exists.")
    depth, above = 1, parent
    while True:
        if above.pk == route.pk:
            raise InvalidInput(
                "A route cannot hang below itself.", field="parent", fix="Name one that is not below it."
            )
        if above.parent_id is None:
            break
        depth, above = depth + 1, rows[above.parent_id]
    if depth + _height(route, rows) > DEPTH_MAX:
        raise InvalidInput(
            f"The tree would be more than {DEPTH_MAX} deep.", field="parent", fix="Hang it up higher."
        )
    return parent


def _height(route: Route, rows: Mapping[int, Route]) -> int:
    children = [row for row in rows.values() if route.pk and row.parent_id == route.pk]
    return 1 + max((_height(child, rows) for child in children), default=0)


def _siblings(parent_id: int | None) -> list[Route]:
    return list(Route.objects.filter(parent_id=parent_id).order_by("position", "pk"))


def _place(route: Route, position: int) -> None:
    """At that place among its siblings, the first being 0; they are numbered anew."""
    order = [row for row in _siblings(route.parent_id) if row.pk != route.pk]
    order.insert(min(position, len(order)), route)
    for number, row in enumerate(order):
        if row.position != number:
            row.position = number
            Route.objects.filter(pk=row.pk).update(position=number)
