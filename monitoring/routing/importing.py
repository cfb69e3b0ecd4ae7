"""An Alertmanager configuration as a plan: its routes, receivers, intervals and inhibitions, and what could not be mapped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.routing.intervals import Interval, hours_of, intervals_of
from monitoring.routing.matchers import Matcher, as_text
from monitoring.routing.plan import Plan, PlannedInhibition, PlannedRoute
from monitoring.routing.receivers import channels_of
from monitoring.routing.shapes import Notes, matchers_of
from monitoring.routing.tree import ALL_LABELS, DEPTH_MAX, Outside
from monitoring.routing.yaml_text import InvalidConfiguration, read_yaml

NAME_MAX = 100
ROUTES_MAX = 1_000

_KNOWN_SECTIONS = frozenset(
    ["global", "route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals", "templates"]
)
_KNOWN_IN_ROUTE = frozenset(
    [
        "receiver",
        "group_by",
        "continue",
        "match",
        "match_re",
        "matchers",
        "group_wait",
        "group_interval",
        "repeat_interval",
        "mute_time_intervals",
        "active_time_intervals",
        "routes",
    ]
)
_GLOBAL_WHY = {
    "resolve_timeout": "An incident is resolved when its monitor, or the system that reported it, says so.",
    "http_config": "Requests go out with the product's own rules: no proxy, no redirect, no other credentials.",
    "slack_api_url_file": "The file cannot be read from here; fill the URL in at the channels.",
    "pagerduty_url": "Events go to PagerDuty's own address, events.pagerduty.com.",
}


def read(yaml_text: str) -> Plan:
    """Raises InvalidConfiguration for what is no configuration at all; all else that is wrong is in the plan's `unmapped`."""
    content = read_yaml(yaml_text)
    if not isinstance(content, dict) or not isinstance(content.get("route"), dict):
        raise InvalidConfiguration(
            "This is no Alertmanager configuration: it has no “route:” with a receiver under it."
        )
    notes = Notes()
    configuration = {str(name): value for name, value in content.items()}
    _note_sections(configuration, notes)
    by_receiver, channels, lost = channels_of(configuration, notes)
    reader = _Routes(notes, by_receiver, lost, intervals_of(configuration, notes))
    root = reader.read(configuration["route"], "route", depth=1)
    if root is None:
        raise InvalidConfiguration("The first route cannot be read: " + str(notes.found[-1]))
    hours = {route.hours.name: route.hours for route in root.walk() if route.hours}
    return Plan(
        channels=tuple(channels),
        hours=tuple(hours.values()),
        root=root,
        inhibitions=tuple(_inhibitions(configuration, notes)),
        unmapped=tuple(notes.found),
    )


@dataclass(slots=True)
class _Routes:
    notes: Notes
    by_receiver: Mapping[str, tuple[str, ...]]
    lost: set[str]
    intervals: Mapping[str, Interval | None]
    names: set[str] = field(default_factory=set)

    def read(self, value: object, place: str, *, depth: int, receiver: str = "") -> PlannedRoute | None:
        """None for a route that is left out with all below it: without its matchers it would take what it should not."""
        part = self.notes.mapping(value, place)
        for name in part:
            if name not in _KNOWN_IN_ROUTE:
                self.notes.add(f"{place}.{name}", f"“{name}” is left out", "It is not known here.")
        matchers = self._matchers(part, place, is_root=depth == 1)
        if matchers is None:
            return None
        own = self.notes.text(part.get("receiver"), f"{place}.receiver")
        channels, tells_nobody = self._channels(own, place)
        hours = hours_of(part, place, self.intervals, self.notes)
        name = self._name(own or receiver, matchers)
        return PlannedRoute(
            name=name,
            matchers=matchers,
            channels=channels,
            tells_nobody=tells_nobody,
            is_continuing=self.notes.is_true(part.get("continue"), f"{place}.continue"),
            group_by=self._group_by(part, place),
            group_wait=self.notes.duration(part.get("group_wait"), f"{place}.group_wait"),
            group_interval=self.notes.duration(part.get("group_interval"), f"{place}.group_interval"),
            repeat_interval=self.notes.duration(part.get("repeat_interval"), f"{place}.repeat_interval"),
            hours=hours,
            outside=Outside.WAIT if hours else Outside.SKIP,
            children=self._children(part, place, depth=depth, receiver=own or receiver),
        )

    def _children(
        self, part: Mapping[str, object], place: str, *, depth: int, receiver: str
    ) -> tuple[PlannedRoute, ...]:
        items = self.notes.items(part.get("routes"), f"{place}.routes")
        if items and depth == DEPTH_MAX:
            self.notes.add(
                f"{place}.routes", "These routes are left out", f"They are more than {DEPTH_MAX} deep."
            )
            return ()
        found = (self.read(item, at, depth=depth + 1, receiver=receiver) for at, item in items)
        return tuple(child for child in found if child is not None)

    def _matchers(
        self, part: Mapping[str, object], place: str, *, is_root: bool
    ) -> tuple[Matcher, ...] | None:
        matchers = matchers_of(part, place, self.notes)
        if is_root and (matchers or matchers is None):
            self.notes.add(place, "Its matchers are left out", "The first route takes everything.")
            return ()
        if matchers is None:
            self.notes.add(
                place,
                "The route and those below it are left out",
                "Without its matchers it would take other things.",
            )
        elif len(self.names) == ROUTES_MAX:
            self.notes.add(place, "The route is left out", f"There are more than {ROUTES_MAX} routes.")
            return None
        return matchers

    def _channels(self, receiver: str, place: str) -> tuple[tuple[str, ...], bool]:
        """Channels of a receiver, and whether it is one that tells nobody on purpose."""
        if not receiver:
            return (), False
        if receiver not in self.by_receiver:
            self.notes.add(
                f"{place}.receiver",
                f"There is no receiver “{receiver}”",
                "The route has the channels of the one above it.",
            )
            return (), False
        if receiver in self.lost:
            self.notes.add(
                f"{place}.receiver",
                f"Nothing of the receiver “{receiver}” has a counterpart here",
                "The route has the channels of the one above it until you choose others.",
            )
            return (), False
        channels = self.by_receiver[receiver]
        return channels, not channels

    def _group_by(self, part: Mapping[str, object], place: str) -> tuple[str, ...] | None:
        labels = self.notes.texts(part.get("group_by"), f"{place}.group_by")
        if ALL_LABELS in labels:
            return (ALL_LABELS,)
        return tuple(dict.fromkeys(label for label in labels if label)) or None

    def _name(self, receiver: str, matchers: tuple[Matcher, ...]) -> str:
        """From what the route is, so that the same configuration read again finds the same route."""
        wanted = f"{receiver}: {as_text(matchers)}" if matchers else receiver or "route"
        name = wanted = wanted.replace("\n", " ")[:NAME_MAX]
        number = 1
        while name in self.names:
            number += 1
            name = f"{wanted[: NAME_MAX - 6]} ({number})"
        self.names.add(name)
        return name


def _note_sections(configuration: Mapping[str, object], notes: Notes) -> None:
    for name in configuration:
        if name not in _KNOWN_SECTIONS:
            notes.add(name, f"“{name}” is left out", "It is not known here.")
    for place, item in notes.items(configuration.get("templates"), "templates"):
        notes.add(
            place, f"The template file “{item}” is left out", "Channels have templates of their own here."
        )
    for name in notes.mapping(configuration.get("global"), "global"):
        if name == "slack_api_url":
            continue
        is_mail = name.startswith("smtp_")
        why = "Mail goes out as the deployment's settings say." if is_mail else _GLOBAL_WHY.get(name)
        notes.add(f"global.{name}", f"“{name}” is left out", why or "It has no counterpart here.")


def _inhibitions(configuration: Mapping[str, object], notes: Notes) -> list[PlannedInhibition]:
    found: list[PlannedInhibition] = []
    names: set[str] = set()
    for place, item in notes.items(configuration.get("inhibit_rules"), "inhibit_rules"):
        part = notes.mapping(item, place)
        source = matchers_of(part, place, notes, prefix="source_")
        target = matchers_of(part, place, notes, prefix="target_")
        if not source or not target:
            notes.add(
                place,
                "The rule is left out",
                "It needs matchers of a source and of a target that can be read.",
            )
            continue
        equal = notes.texts(part.get("equal"), f"{place}.equal")
        name = f"{as_text(source)} holds back {as_text(target)}".replace("\n", " ")[: NAME_MAX - 6]
        if name in names:
            name = f"{name} ({len(names) + 1})"
        names.add(name)
        found.append(PlannedInhibition(name, source, target, equal))
    return found
