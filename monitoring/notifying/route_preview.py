"""Who would be told of something with these labels, when, by which way, and why others would not: nothing is stored or sent."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring import endpoints
from monitoring.labels import matched_labels_of
from monitoring.models import Channel, Incident
from monitoring.notifying import routes
from monitoring.quiet import causes
from monitoring.routing.matchers import matches_all
from monitoring.routing.timing import next_digest
from monitoring.routing.tree import Leaf, Verdict, explain, group_key, matching
from triageops.rest import InvalidInput

YEARS = (2000, 2200)
NAMED = "The monitor names this channel."
HALTS = "It takes halted experiments."
REPORTS = "There are no routes yet, and it takes what no monitor names."


@dataclass(frozen=True)
class Told:
    """One channel at one time. why: what this time comes from. is_again: another way tells it the same already."""

    channel: Channel
    at: datetime
    why: str
    is_again: bool = False


@dataclass(frozen=True)
class Step:
    number: int
    at: datetime
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Way:
    """One route that takes it, with all that it says."""

    leaf: Leaf
    group: str
    told: tuple[Told, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class HeldBack:
    """Something that holds the messages back then. until: None where nobody knows."""

    kind: str
    why: str
    until: datetime | None
    cause: str = ""


@dataclass(frozen=True)
class Preview:
    """directly: channels that are told whatever the routes say. may_hold: names of rules that would hold it back when their
    source is open."""

    labels: Mapping[str, str]
    at: datetime
    has_routes: bool
    directly: tuple[Told, ...]
    ways: tuple[Way, ...]
    verdicts: tuple[Verdict, ...]
    held_back: tuple[HeldBack, ...]
    may_hold: tuple[str, ...]

    @property
    def told(self) -> list[Told]:
        """Of the first message, the earliest first."""
        every = [*self.directly, *(one for way in self.ways for one in way.told if not one.is_again)]
        return sorted(every, key=lambda told: told.at)


def preview(labels: Mapping[str, str], at: datetime, incident: Incident | None = None) -> Preview:
    """As if an incident with these labels were opened then, and nothing else of its group waited or was told just before.

    incident: whose monitor may name channels of its own. Raises InvalidInput.
    """
    if not YEARS[0] <= at.year <= YEARS[1]:
        raise InvalidInput(f"{at.year} is too far away.", field="at", fix="Give a time near ours.")
    labels = {name: value for name, value in labels.items() if value}
    root = routes.tree()
    leaves = matching(root, labels, at) if root else []
    channels = Channel.objects.of_people().in_bulk(
        {
            pk
            for leaf in leaves
            for pk in (*leaf.channels, *(one for step in leaf.steps for one in step.channels))
        }
    )
    directly = _directly(incident, at, has_routes=root is not None)
    told = {one.channel.pk for one in directly}
    ways = []
    for leaf in leaves:
        ways.append(_way(leaf, labels, at, channels, told))
        told.update(leaf.channels)
    standing = causes.read(at)
    seen = labels if incident is None else matched_labels_of(incident, labels)
    return Preview(
        labels=labels,
        at=at,
        has_routes=root is not None,
        directly=directly,
        ways=tuple(ways),
        verdicts=tuple(explain(root, labels, at)) if root else (),
        held_back=tuple(
            HeldBack(str(one.cause.kind), one.cause.why, one.cause.until, one.cause.cause)
            for one in standing.held
            if matches_all(one.matchers, seen)
        ),
        may_hold=tuple(rule.name for rule in standing.rules if matches_all(rule.target, labels)),
    )


def _directly(incident: Incident | None, at: datetime, *, has_routes: bool) -> tuple[Told, ...]:
    """Channels that are told whatever the routes say, as `telling` finds them."""
    if incident is None:
        return ()
    if incident.monitor is not None:
        return tuple(Told(channel, at, NAMED) for channel in incident.monitor.channels.of_people())
    if incident.experiment or (incident.is_reported and not has_routes):
        why = HALTS if incident.experiment else REPORTS
        return tuple(Told(channel, at, why) for channel in Channel.objects.taking_experiments())
    return ()


def _way(
    leaf: Leaf,
    labels: Mapping[str, str],
    at: datetime,
    channels: Mapping[int, Channel],
    told: Collection[int],
) -> Way:
    known = [channels[pk] for pk in leaf.channels if pk in channels]
    first = tuple(replace(_first(one, leaf, at), is_again=one.pk in told) for one in known)
    if not first:
        # Where nobody is told, no step follows.
        return Way(leaf, group_key(leaf, labels), (), ())
    begins = min(one.at for one in first)
    steps = tuple(
        Step(number, begins + step.after, tuple(_step(channels, step.channels, begins + step.after)))
        for number, step in enumerate(leaf.steps, start=1)
    )
    return Way(leaf, group_key(leaf, labels), first, steps)


def _step(channels: Mapping[int, Channel], chosen: tuple[int, ...], at: datetime) -> list[Told]:
    return [Told(channels[pk], at, "Unless somebody has acknowledged it.") for pk in chosen if pk in channels]


def _first(channel: Channel, leaf: Leaf, at: datetime) -> Told:
    """When a channel hears of it first: as `telling` reckons where nothing else waits."""
    opens_at = leaf.opens_at(at)
    if leaf.digest and endpoints.is_grouped(channel):
        then = next_digest(leaf.digest, leaf.digest_hour, leaf.digest_zone, opens_at)
        return Told(channel, then, f"It goes with the {leaf.digest} digest.")
    then = max(at + leaf.group_wait, opens_at)
    if opens_at > at and then == opens_at:
        return Told(channel, then, f"It waits until the hours begin: {leaf.hours}.")
    if leaf.group_wait > timedelta(0):
        return Told(channel, then, f"It waits {_text(leaf.group_wait)} for others of its group.")
    return Told(channel, then, "At once.")


def _text(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds % 60 else f"{seconds // 60} min"
