"""The tree of routes: which of them take labels, by Alertmanager's rules, and what each then says."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitoring.routing.matchers import Matcher, matches_all
from monitoring.routing.timing import Hours

ALL_LABELS = "..."
"""In group_by: every label, so that each incident is told on its own."""

DEPTH_MAX = 20
"""Deepest tree that is made; not checked here."""

GROUP_WAIT, GROUP_INTERVAL = timedelta(seconds=30), timedelta(minutes=5)
REPEAT_INTERVAL = timedelta(hours=3)
"""What holds when no route up to the root says anything."""


class Outside(StrEnum):
    """What happens outside a route's hours."""

    SKIP = "skip"
    """It takes nothing then: the next route is asked."""
    WAIT = "wait"
    """It takes it, and the message waits until the hours begin."""


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to tell too when nobody has acknowledged after a time."""

    after: timedelta
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One route. What is None or empty is as its parent's; group_by () means all in one group, repeat_interval 0 never.

    Digest and hours hold for the route itself; its children have their own.
    """

    id: int
    name: str
    matchers: tuple[Matcher, ...] = ()
    channels: tuple[int, ...] = ()
    tells_nobody: bool = False
    is_continuing: bool = False
    group_by: tuple[str, ...] | None = None
    group_wait: timedelta | None = None
    group_interval: timedelta | None = None
    repeat_interval: timedelta | None = None
    digest: str = ""
    digest_hour: int = 9
    digest_zone: str = "UTC"
    hours: Hours | None = None
    outside: str = Outside.SKIP
    steps: tuple[Step, ...] = ()
    children: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """A route on the way, and why its matchers took the labels."""

    id: int
    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """The deepest route that took the labels, with what it leaves open taken from its parents, and the way there."""

    id: int
    name: str
    channels: tuple[int, ...]
    group_by: tuple[str, ...]
    group_wait: timedelta
    group_interval: timedelta
    repeat_interval: timedelta
    digest: str
    digest_hour: int
    digest_zone: str
    hours: Hours | None
    outside: str
    steps: tuple[Step, ...]
    path: tuple[Hop, ...] = ()

    def opens_at(self, at: datetime) -> datetime:
        """The first time from then on at which it may tell: the hours' next beginning, or at once."""
        return at if self.hours is None else self.hours.next_start(at)


def resolved(node: Node, above: Leaf | None = None) -> Leaf:
    """What a route says once what it leaves open is taken from its parent; the root's defaults without one.

    A route that tells nobody has no channels and no steps, and its children have what they say themselves.
    """
    return Leaf(
        id=node.id,
        name=node.name,
        channels=() if node.tells_nobody else node.channels or (above.channels if above else ()),
        group_by=(above.group_by if above else ()) if node.group_by is None else node.group_by,
        group_wait=_first(node.group_wait, above.group_wait if above else GROUP_WAIT),
        group_interval=_first(node.group_interval, above.group_interval if above else GROUP_INTERVAL),
        repeat_interval=_first(node.repeat_interval, above.repeat_interval if above else REPEAT_INTERVAL),
        digest=node.digest,
        digest_hour=node.digest_hour,
        digest_zone=node.digest_zone,
        hours=node.hours,
        outside=node.outside,
        steps=() if node.tells_nobody else node.steps or (above.steps if above else ()),
    )


class Outcome(StrEnum):
    TOOK = "took"
    PASSED_ON = "passed_on"
    REFUSED = "refused"
    OUTSIDE_HOURS = "outside_hours"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one route did with the labels. refused_by: the matcher; because: the sentence."""

    id: int
    name: str
    depth: int
    outcome: Outcome
    because: str
    refused_by: Matcher | None = None


def matching(root: Node, labels: Mapping[str, str], at: datetime) -> list[Leaf]:
    """The routes that take the labels at that time, in the tree's order; at least one.

    The root takes everything. Children are asked in order; the first that takes it ends the asking unless it continues. A
    route takes it itself when no child did. The root's hours can only make it wait.
    """
    return _taking(root, labels, at, None, ())


def _taking(
    node: Node, labels: Mapping[str, str], at: datetime, above: Leaf | None, path: tuple[Hop, ...]
) -> list[Leaf]:
    is_root = above is None
    if not is_root and (not matches_all(node.matchers, labels) or _is_skipping(node, at)):
        return []
    own = resolved(node, above)
    matchers = () if is_root else node.matchers
    path = (*path, Hop(node.id, node.name, tuple(because(matcher, labels) for matcher in matchers)))
    leaves: list[Leaf] = []
    for child in node.children:
        found = _taking(child, labels, at, own, path)
        leaves += found
        if found and not child.is_continuing:
            break
    return leaves or [replace(own, path=path)]


def explain(root: Node, labels: Mapping[str, str], at: datetime) -> list[Verdict]:
    """What every route of the tree did with the labels, in the tree's order."""
    return list(_verdicts(root, labels, at, depth=0, kept_from=""))


def _verdicts(
    node: Node, labels: Mapping[str, str], at: datetime, *, depth: int, kept_from: str
) -> Iterator[Verdict]:
    verdict = _verdict(node, labels, at, depth=depth, kept_from=kept_from)
    is_open = verdict.outcome is Outcome.TOOK
    below: list[Verdict] = []
    took = ""
    for child in node.children:
        if not is_open:
            reason = f"“{node.name}” above it was not asked or did not take it"
        else:
            reason = f"“{took}” took it before and does not continue" if took else ""
        found = list(_verdicts(child, labels, at, depth=depth + 1, kept_from=reason))
        below += found
        if found[0].outcome in {Outcome.TOOK, Outcome.PASSED_ON} and not child.is_continuing:
            took = child.name
    if is_open and any(one.outcome is Outcome.TOOK for one in below):
        verdict = replace(
            verdict, outcome=Outcome.PASSED_ON, because=verdict.because + "; a route below it took it"
        )
    yield verdict
    yield from below


def _verdict(node: Node, labels: Mapping[str, str], at: datetime, *, depth: int, kept_from: str) -> Verdict:
    outcome, reason, refusing = Outcome.TOOK, "", None
    if kept_from:
        outcome, reason = Outcome.NOT_ASKED, kept_from
    elif depth == 0:
        reason = "the first route takes everything"
    elif refusing := next((one for one in node.matchers if not one.matches(labels)), None):
        outcome, reason = Outcome.REFUSED, because(refusing, labels)
    elif _is_skipping(node, at):
        outcome, reason = Outcome.OUTSIDE_HOURS, f"it is outside its hours, {node.hours}"
    else:
        reason = "; ".join(because(one, labels) for one in node.matchers) or "it asks for nothing"
    return Verdict(node.id, node.name, depth, outcome, reason, refusing)


def because(matcher: Matcher, labels: Mapping[str, str]) -> str:
    """Why a matcher takes the labels, or does not."""
    value = labels.get(matcher.name, "")
    said = f"“{matcher.name}” is “{value}”" if value else f"there is no label “{matcher.name}”"
    return f"{said}, which {'fits' if matcher.matches(labels) else 'does not fit'} {matcher}"


def group_key(leaf: Leaf, labels: Mapping[str, str]) -> str:
    """The same text for all that is told together: the route, and the labels that it groups by, as far as there are any."""
    names = sorted(labels) if ALL_LABELS in leaf.group_by else sorted(set(leaf.group_by))
    pairs = {name: labels[name] for name in names if labels.get(name)}
    return f"{leaf.id}:{json.dumps(pairs, ensure_ascii=False, separators=(',', ':'))}"


def _is_skipping(node: Node, at: datetime) -> bool:
    return node.outside == Outside.SKIP and node.hours is not None and not node.hours.is_within(at)


def _first(own: timedelta | None, other: timedelta) -> timedelta:
    return other if own is None else own
