"""An Alertmanager configuration becomes channels, hours, routes and rules: by name, so that doing it again changes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F

from monitoring import channel_settings
from monitoring.channels.webhook import new_secret
from monitoring.models import Channel, Hours, InhibitRule, Route
from monitoring.notifying.route_settings import changing
from monitoring.routing.importing import read
from monitoring.routing.plan import Plan, PlannedChannel, PlannedHours, PlannedInhibition, PlannedRoute
from monitoring.routing.yaml_text import InvalidConfiguration
from triageops.rest import Conflict, InvalidInput

log = structlog.get_logger(__name__)

_LIMITS = {"group_wait": (0, 3_600), "group_interval": (1, 86_400), "repeat_interval": (0, 30 * 86_400)}


class Act(StrEnum):
    MADE = "made"
    CHANGED = "changed"
    KEPT = "kept"


@dataclass(frozen=True)
class Outcome:
    """What became of one planned thing. what: channel, hours, route or rule."""

    what: str
    name: str
    act: Act
    note: str = ""


@dataclass(frozen=True)
class Imported:
    plan: Plan
    outcomes: tuple[Outcome, ...]
    is_dry_run: bool

    @property
    def is_changing(self) -> bool:
        return any(one.act != Act.KEPT for one in self.outcomes)


def plan_import(text: str) -> Plan:
    """Raises InvalidInput."""
    try:
        return read(text)
    except InvalidConfiguration as error:
        raise InvalidInput(str(error), field="yaml", fix="Correct it there.") from None


def apply_import(plan: Plan, *, is_dry_run: bool = False) -> Imported:
    """All of it or nothing. Nothing that exists is removed, and of channels that exist nothing is changed.

    A dry run does all of it and takes it back, so it says exactly what would happen. Raises Conflict.
    """
    with changing():
        run = _Run()
        for channel in plan.channels:
            run.make_channel(channel)
        for hours in plan.hours:
            run.make_hours(hours)
        run.make_tree(plan.root)
        for rule in plan.inhibitions:
            run.make_rule(rule)
        if is_dry_run:
            transaction.set_rollback(True)
    if not is_dry_run:
        counts = {act.value: sum(one.act == act for one in run.outcomes) for act in Act}
        log.info("routes.imported", unmapped_count=len(plan.unmapped), **counts)
    return Imported(plan, tuple(run.outcomes), is_dry_run)


@dataclass
class _Run:
    outcomes: list[Outcome] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    hours: dict[str, Hours] = field(default_factory=dict)
    rows: dict[str, Route] = field(default_factory=dict)

    def make_channel(self, planned: PlannedChannel) -> None:
        known = Channel.objects.filter(name=planned.name).first()
        if known is not None:
            if known.kind != planned.kind:
                raise Conflict(
                    f"There is a channel “{known.name}”, and its kind is {known.kind}, not {planned.kind}.",
                    fix="Rename it, or the receiver.",
                )
            self.channels[planned.name] = known
            self._note("channel", planned.name, Act.KEPT)
            return
        channel = Channel(
            name=planned.name,
            kind=planned.kind,
            url=planned.url,
            recipients=planned.recipients,
            secret=planned.secret or (new_secret() if channel_settings.is_signed(planned.kind) else ""),
            takes_experiments=False,
        )
        reason = planned.missing or _refusal(channel)
        channel.is_enabled, channel.disabled_reason = not reason, reason[:300]
        channel.save()
        self.channels[planned.name] = channel
        self._note("channel", planned.name, Act.MADE, f"disabled: {reason}" if reason else "")

    def make_hours(self, planned: PlannedHours) -> None:
        values = {"zone": planned.hours.zone, "ranges": planned.hours.as_text()}
        if len(values["ranges"]) > 500:
            raise Conflict(
                f"The hours “{planned.name}” have too many ranges.", fix="Use fewer in the configuration."
            )
        row = Hours.objects.filter(name=planned.name).first() or Hours(name=planned.name)
        self.hours[planned.name] = row
        self._note("hours", planned.name, _save(row, values))

    def make_rule(self, planned: PlannedInhibition) -> None:
        values = {
            "source_matchers": [one.as_api() for one in planned.source],
            "target_matchers": [one.as_api() for one in planned.target],
            "equal": list(planned.equal),
        }
        row = InhibitRule.objects.filter(name=planned.name).first() or InhibitRule(name=planned.name)
        self._note("rule", planned.name, _save(row, values))

    def make_tree(self, planned: PlannedRoute) -> None:
        """Its first route becomes ours; below another first route that exists, it is the last that is asked."""
        self.rows = {row.name: row for row in Route.objects.prefetch_related("channels")}
        root = next((row for row in self.rows.values() if row.parent_id is None), None)
        known = self.rows.get(planned.name)
        if known is not None:
            self._refuse_ring(known, planned)
            parent, position = known.parent_id, known.position
        elif root is not None:
            parent = root.pk
            position = 1 + max((r.position for r in self.rows.values() if r.parent_id == root.pk), default=-1)
        else:
            parent, position = None, 0
        note = f"below “{root.name}”, asked after all others" if root and known is None else ""
        self._make_route(planned, parent, position, note)

    def _make_route(self, planned: PlannedRoute, parent: int | None, position: int, note: str = "") -> None:
        row = self.rows.get(planned.name) or Route(name=planned.name)
        notes = [note] if note else []
        values: dict[str, Any] = {
            "parent_id": parent,
            "position": position,
            "matchers": [str(one) for one in planned.matchers],
            "tells_nobody": planned.tells_nobody,
            "is_continuing": planned.is_continuing,
            "group_by": None if planned.group_by is None else list(planned.group_by),
            "hours_id": self.hours[planned.hours.name].pk if planned.hours else None,
            "outside": planned.outside.value,
        }
        for name in _LIMITS:
            values[f"{name}_seconds"] = _seconds(name, getattr(planned, name), notes)
        wanted = {self.channels[name].pk for name in planned.channels}
        present = {one.pk for one in row.channels.all()} if row.pk else set()
        act = _save(row, values)
        if wanted != present:
            row.channels.set(wanted)
            act = Act.CHANGED if act == Act.KEPT else act
        if act == Act.CHANGED:
            Route.objects.filter(pk=row.pk).update(version=F("version") + 1)
        self._note("route", planned.name, act, "; ".join(notes))
        names = {child.name for child in planned.children}
        for number, child in enumerate(planned.children):
            self._make_route(child, row.pk, number)
        others = [one for one in self.rows.values() if one.parent_id == row.pk and one.name not in names]
        for number, one in enumerate(sorted(others, key=lambda one: (one.position, one.pk)), len(names)):
            Route.objects.filter(pk=one.pk).update(position=number)

    def _refuse_ring(self, row: Route, planned: PlannedRoute) -> None:
        names = {one.name for one in planned.walk()} - {planned.name}
        by_id = {one.pk: one for one in self.rows.values()}
        above = row.parent_id
        while above is not None:
            if by_id[above].name in names:
                raise Conflict(
                    f"“{by_id[above].name}” is above “{row.name}” here, and below it in the configuration.",
                    fix="Rename or remove one of them.",
                )
            above = by_id[above].parent_id

    def _note(self, what: str, name: str, act: Act, note: str = "") -> None:
        self.outcomes.append(Outcome(what, name, act, note))


def _save(row: Any, values: dict[str, Any]) -> Act:
    is_new = row.pk is None
    if not is_new and all(getattr(row, name) == value for name, value in values.items()):
        return Act.KEPT
    for name, value in values.items():
        setattr(row, name, value)
    row.save()
    return Act.MADE if is_new else Act.CHANGED


def _seconds(name: str, span: timedelta | None, notes: list[str]) -> int | None:
    if span is None:
        return None
    low, high = _LIMITS[name]
    seconds = round(span.total_seconds())
    if not low <= seconds <= high:
        notes.append(
            f"{name} is {min(max(seconds, low), high)} s, the nearest that can be had to {seconds} s"
        )
    return min(max(seconds, low), high)


def _refusal(channel: Channel) -> str:
    try:
        channel_settings.check(channel)
    except InvalidInput as error:
        return error.detail
    return ""


def counted(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, int]]:
    """(“2 routes made”, …) as (what and act, count), in the order of what is made."""
    seen = dict.fromkeys((one.what, one.act) for one in outcomes)
    for what, act in seen:
        count = sum((one.what, one.act) == (what, act) for one in outcomes)
        yield f"{what} {act}", count
