"""The tree of routes as a picture: what each says itself, and, dim, what it has from above."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from monitoring.models import Channel
from monitoring.notifying import routes
from monitoring.notifying.reach import swallows, why_never
from monitoring.routing.matchers import Matcher
from monitoring.routing.shapes import duration_text
from monitoring.routing.tree import ALL_LABELS, Leaf, Node, Verdict, resolved


@dataclass(frozen=True)
class Setting:
    text: str
    is_inherited: bool


@dataclass(frozen=True)
class Branch:
    """One route of the picture. warnings: sentences about what cannot work."""

    id: int
    name: str
    is_root: bool
    is_first: bool
    is_last: bool
    matchers: tuple[Matcher, ...]
    is_continuing: bool
    tells_nobody: bool
    channels: tuple[Channel, ...]
    has_own_channels: bool
    settings: tuple[Setting, ...]
    steps: tuple[Setting, ...]
    warnings: tuple[str, ...]
    children: tuple["Branch", ...]
    verdict: Verdict | None = None


@dataclass(frozen=True)
class _Place:
    """Where a route hangs. matchers: of all above it."""

    above: Leaf | None = None
    matchers: tuple[Matcher, ...] = ()
    siblings: tuple[Node, ...] = ()
    at: int = 0

    @property
    def after_count(self) -> int:
        return max(len(self.siblings) - self.at - 1, 0)


def picture(root: Node, verdicts: Mapping[int, Verdict] | None = None) -> Branch:
    """One query. verdicts: what each route did with some labels, by its id."""
    channels = Channel.objects.of_people().in_bulk(set(_channels(root)))
    return _branch(root, _Place(), channels, verdicts or {})


def options(root: Node, without: int | None = None) -> list[tuple[int, str]]:
    """Every route as a choice, indented as it hangs; without one and what is below it."""
    return _options(root, 0, without)


def inherited(root: Node | None, parent_id: int | None) -> dict[str, str]:
    """What a route below that one has when it says nothing, by the name of the form's field."""
    leaf = routes.timing_of(root, parent_id) if root and parent_id else resolved(Node(0, ""))
    return {
        "group_wait": duration_text(leaf.group_wait.total_seconds()),
        "group_interval": duration_text(leaf.group_interval.total_seconds()),
        "repeat_interval": _reminder(leaf.repeat_interval),
    }


def _options(node: Node, depth: int, without: int | None) -> list[tuple[int, str]]:
    if node.id == without:
        return []
    below = [one for child in node.children for one in _options(child, depth + 1, without)]
    return [(node.id, "\u2003" * depth + node.name), *below]


def _channels(node: Node) -> list[int]:
    own = [*node.channels, *(pk for step in node.steps for pk in step.channels)]
    return own + [pk for child in node.children for pk in _channels(child)]


def _branch(
    node: Node, place: _Place, channels: Mapping[int, Channel], verdicts: Mapping[int, Verdict]
) -> Branch:
    own, children = resolved(node, place.above), node.children
    matchers = place.matchers if place.above is None else (*place.matchers, *node.matchers)
    return Branch(
        id=node.id,
        name=node.name,
        is_root=place.above is None,
        is_first=place.at == 0,
        is_last=not place.after_count,
        matchers=node.matchers,
        is_continuing=node.is_continuing,
        tells_nobody=node.tells_nobody,
        channels=tuple(channels[pk] for pk in own.channels if pk in channels),
        has_own_channels=bool(node.channels),
        settings=_settings(node, own),
        steps=tuple(
            Setting(
                f"after {duration_text(step.after.total_seconds())}: {_names(step.channels, channels)}",
                not node.steps,
            )
            for step in own.steps
        ),
        warnings=tuple(_warnings(node, own, place, channels)),
        children=tuple(
            _branch(child, _Place(own, matchers, children, number), channels, verdicts)
            for number, child in enumerate(children)
        ),
        verdict=verdicts.get(node.id),
    )


def _settings(node: Node, own: Leaf) -> tuple[Setting, ...]:
    found = [
        Setting(_together(own.group_by), node.group_by is None),
        Setting(f"waits {duration_text(own.group_wait.total_seconds())}", node.group_wait is None),
        Setting(
            f"then every {duration_text(own.group_interval.total_seconds())}", node.group_interval is None
        ),
        Setting(f"reminder {_reminder(own.repeat_interval)}", node.repeat_interval is None),
    ]
    if node.digest:
        at = "" if node.digest == "hourly" else f" at {node.digest_hour:02}:00 {node.digest_zone}"
        found.append(Setting(f"{node.digest} digest{at}", is_inherited=False))
    if node.hours:
        otherwise = "else waits" if node.outside == "wait" else "else the next route"
        found.append(Setting(f"{node.hours}, {otherwise}", is_inherited=False))
    return tuple(found)


def _warnings(node: Node, own: Leaf, place: _Place, channels: Mapping[int, Channel]) -> Iterator[str]:
    known = [channels[pk] for pk in own.channels if pk in channels]
    if not known and not node.tells_nobody:
        yield "It has no channel, so nobody is told."
    elif known and not any(channel.is_enabled for channel in known):
        yield "All its channels are disabled."
    if place.above is None:
        return
    never = why_never(node, place.matchers, place.siblings[: place.at])
    if never:
        yield never
    elif swallows(node) and place.after_count:
        after = "the route after it is" if place.after_count == 1 else "the routes after it are"
        yield f"It takes everything that comes here, so {after} never asked."
    if not never and swallows(node) and node.tells_nobody and place.above.channels:
        yield f"It takes everything that comes here and tells nobody: the channels of “{place.above.name}” hear nothing."


def _together(group_by: tuple[str, ...]) -> str:
    if ALL_LABELS in group_by:
        return "each by itself"
    return f"together by {', '.join(group_by)}" if group_by else "all together"


def _reminder(span: timedelta) -> str:
    return f"every {duration_text(span.total_seconds())}" if span else "never"


def _names(ids: tuple[int, ...], channels: Mapping[int, Channel]) -> str:
    return ", ".join(channels[pk].name for pk in ids if pk in channels) or "nobody"
