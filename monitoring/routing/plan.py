"""What an import would make, before anything is made: named by what the configuration calls it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from monitoring.routing.matchers import Matcher
from monitoring.routing.timing import Hours
from monitoring.routing.tree import Outside


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Something that was not taken over: where it stands, what it is, and a sentence that says why."""

    place: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}. {self.why}"


@dataclass(frozen=True, slots=True)
class PlannedChannel:
    """kind: slack, pagerduty, webhook, email or alertmanager. missing: what must be filled in before it can send; else empty."""

    name: str
    kind: str
    receiver: str
    url: str = ""
    secret: str = ""
    recipients: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class PlannedHours:
    name: str
    hours: Hours


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """None: inherited. channels: names of planned channels."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    channels: tuple[str, ...] = ()
    tells_nobody: bool = False
    is_continuing: bool = False
    group_by: tuple[str, ...] | None = None
    group_wait: timedelta | None = None
    group_interval: timedelta | None = None
    repeat_interval: timedelta | None = None
    hours: PlannedHours | None = None
    outside: Outside = Outside.SKIP
    children: tuple["PlannedRoute", ...] = ()

    def walk(self) -> Iterator["PlannedRoute"]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class PlannedInhibition:
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    channels: tuple[PlannedChannel, ...]
    hours: tuple[PlannedHours, ...]
    root: PlannedRoute
    inhibitions: tuple[PlannedInhibition, ...]
    unmapped: tuple[Unmapped, ...]
