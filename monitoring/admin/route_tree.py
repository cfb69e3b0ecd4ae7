"""The tree of routes as a picture: what each says itself, and, dim, what it has from above."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from monitoring.models import Channel
from monitoring.notifying import routes
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


def picture(root: Node, verdicts: Mapping[int, Verdict] | None = None) -> Branch:
    """One query. verdicts: what each route did with some labels, by its id."""
    channels = Channel.objects.in_bulk(set(_channels(root)))
    return _branch(root, None, channels, verdicts or {}, at=0, count=1)


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
    node: Node,
    above: Leaf | None,
    channels: Mapping[int, Channel],
    verdicts: Mapping[int, Verdict],
    *,
    at: int,
    count: int,
) -> Branch:
    own = resolved(node, above)
    children = node.children
    return Branch(
        id=node.id,
        name=node.name,
        is_root=above is None,
        is_first=at == 0,
        is_last=at == count - 1,
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
        warnings=_warnings(node, own, channels),
        children=tuple(
            _branch(child, own, channels, verdicts, at=number, count=len(children))
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


def _warnings(node: Node, own: Leaf, channels: Mapping[int, Channel]) -> tuple[str, ...]:
    found = []
    known = [channels[pk] for pk in own.channels if pk in channels]
    if not known and not node.tells_nobody:
        found.append("It has no channel, so nobody is told.")
    elif known and not any(channel.is_enabled for channel in known):
        found.append("All its channels are disabled.")
    blocking = next((child for child in node.children[:-1] if _takes_all(child)), None)
    if blocking is not None:
        found.append(f"“{blocking.name}” takes everything, so the routes after it are never asked.")
    return tuple(found)


def _takes_all(node: Node) -> bool:
    is_always = node.hours is None or node.outside == "wait"
    return not node.matchers and not node.is_continuing and is_always


def _together(group_by: tuple[str, ...]) -> str:
    if ALL_LABELS in group_by:
        return "each by itself"
    return f"together by {', '.join(group_by)}" if group_by else "all together"


def _reminder(span: timedelta) -> str:
    return f"every {duration_text(span.total_seconds())}" if span else "never"


def _names(ids: tuple[int, ...], channels: Mapping[int, Channel]) -> str:
    return ", ".join(channels[pk].name for pk in ids if pk in channels) or "nobody"
