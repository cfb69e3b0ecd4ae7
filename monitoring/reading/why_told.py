"""Why somebody was told of an incident, or was not: channel by channel, in sentences."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from monitoring.models import (
    CANARY_METRIC,
    Channel,
    Incident,
    IncidentState,
    MessageKind,
    MessageStatus,
    OutboxMessage,
    Resolution,
)
from monitoring.notifying.telling import takes_of
from monitoring.routing.tree import Leaf, Node, Outcome, Verdict, explain, matching
from triageops import wording

_KINDS = {
    MessageKind.TRIGGER: "that it fires",
    MessageKind.ACKNOWLEDGE: "that somebody takes care of it",
    MessageKind.RESOLVE: "that it is over",
    MessageKind.REMINDER: "that it still fires",
    MessageKind.TEST: "a test",
}


class Fate(StrEnum):
    """What became of a channel, the first that holds."""

    TOLD = "told"
    WAITING = "to be told"
    HELD = "held back"
    FAILED = "could not be told"
    DROPPED = "no longer needed"
    NOT_TOLD = "not told"


@dataclass(frozen=True)
class Answer:
    channel: Channel
    fate: Fate
    sentences: Sequence[str]
    messages: Sequence[OutboxMessage] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What the routes say of an incident: as they are now, at the time at which it was opened."""

    root: Node | None
    labels: Mapping[str, str]
    at: datetime

    def verdicts(self) -> dict[int, Verdict]:
        return {} if self.root is None else {one.id: one for one in explain(self.root, self.labels, self.at)}

    def leaves(self) -> list[Leaf]:
        return [] if self.root is None else matching(self.root, self.labels, self.at)


def answers(
    incident: Incident,
    channels: Iterable[Channel],
    messages: Iterable[OutboxMessage],
    asked: Asked,
    named: Iterable[int],
) -> list[Answer]:
    """One for each channel, those that were told first. named: channels that the monitor names."""
    by_channel: dict[int, list[OutboxMessage]] = defaultdict(list)
    for message in messages:
        by_channel[message.channel_id].append(message)
    verdicts, leaves, direct = asked.verdicts(), asked.leaves(), set(named)
    found = []
    for channel in channels:
        told = by_channel.get(channel.pk, [])
        if told:
            sentences = [sentence for one in told for sentence in message_sentences(one, verdicts)]
            found.append(Answer(channel, _fate(told), sentences, told))
        else:
            why = list(_why_not(incident, channel, asked.root, verdicts, leaves, direct))
            found.append(Answer(channel, Fate.NOT_TOLD, why))
    order = list(Fate)
    return sorted(found, key=lambda one: (order.index(one.fate), one.channel.name))


def _fate(messages: Sequence[OutboxMessage]) -> Fate:
    states = {
        message.status for message in messages if message.kind in {MessageKind.TRIGGER, MessageKind.REMINDER}
    }
    states = states or {message.status for message in messages}
    for fate, wanted in (
        (Fate.TOLD, {MessageStatus.DELIVERED}),
        (Fate.HELD, {MessageStatus.SUPPRESSED}),
        (Fate.WAITING, {MessageStatus.PENDING, MessageStatus.LEASED}),
        (Fate.FAILED, {MessageStatus.DEAD}),
    ):
        if states & wanted:
            return fate
    return Fate.DROPPED


def message_sentences(message: OutboxMessage, verdicts: Mapping[int, Verdict]) -> list[str]:
    """What became of one message, why this channel got it, and what held it back."""
    parts = [f"{_outcome(message, _KINDS[MessageKind(message.kind)])}."]
    if message.because and message.kind == MessageKind.TRIGGER:
        by = "by" if message.because.startswith(("route", "step")) else "because"
        parts.append(f"It was chosen {by} {message.because}.")
    verdict = verdicts.get(message.route_id or 0)
    if verdict is not None and message.kind == MessageKind.TRIGGER:
        parts.append(f"Route “{verdict.name}”: {verdict.because}.")
    if message.suppressed_since is not None and message.status != MessageStatus.SUPPRESSED:
        why = f": {message.suppressed_by}" if message.suppressed_by else ""
        parts.append(f"It was held back from {second(message.suppressed_since)} on{why}.")
    return parts


def _outcome(message: OutboxMessage, what: str) -> str:
    tries = f" at the {_ordinal(message.attempt_count)} attempt" if message.attempt_count > 1 else ""
    match message.status:
        case MessageStatus.DELIVERED:
            return f"Told {what} at {second(message.delivered_at)}{tries}"
        case MessageStatus.LEASED:
            return f"It is being told {what} now{tries}"
        case MessageStatus.SUPPRESSED:
            since = second(message.suppressed_since) if message.suppressed_since else "its beginning"
            why = f": {message.suppressed_by}" if message.suppressed_by else ""
            return f"Not told {what} yet, as it is held back since {since}{why}; what is still true then is told at the end"
        case MessageStatus.SUPERSEDED:
            return f"Not told {what}: {message.reason or 'something newer says it'}"
        case MessageStatus.DEAD:
            return f"Not told {what}: given up after {wording.plural(message.attempt_count, 'attempt')}: {message.reason}"
    if message.attempt_count:
        reason = f": {message.reason}" if message.reason else ""
        tried = wording.plural(message.attempt_count, "attempt")
        return f"Not told {what} yet: {tried} failed{reason}; the next is at {second(message.not_before)}"
    group = ", together with others of its group" if message.group_key else ""
    return f"To be told {what} at {second(message.not_before)}{group}"


def _why_not(
    incident: Incident,
    channel: Channel,
    root: Node | None,
    verdicts: Mapping[int, Verdict],
    leaves: Sequence[Leaf],
    named: set[int],
) -> Iterator[str]:
    if incident.state == IncidentState.SUSPECT or incident.resolution == Resolution.FADED:
        yield "Nobody is told of a suspicion."
        return
    if incident.monitor is not None and incident.monitor.metric == CANARY_METRIC:
        yield "Routes tell nobody of what the canary planted."
        return
    if MessageKind.TRIGGER not in takes_of(channel):
        yield "This kind of channel does not take news of incidents."
    if not channel.is_enabled:
        yield "It is disabled" + (f": {channel.disabled_reason}" if channel.disabled_reason else "") + "."
    if channel.created_at > incident.opened_at:
        yield f"It was made at {second(channel.created_at)}, after the incident was opened."
    if incident.monitor is not None:
        yield (
            f"The monitor “{incident.monitor.name}” names it now; when the incident was opened it did not."
            if channel.pk in named
            else f"The monitor “{incident.monitor.name}” does not name it."
        )
    if incident.experiment and not channel.takes_experiments:
        yield "It does not take halted experiments."
    if root is None:
        yield "There are no routes."
        return
    yield from _of_routes(channel, root, verdicts, leaves)


def _of_routes(
    channel: Channel, root: Node, verdicts: Mapping[int, Verdict], leaves: Sequence[Leaf]
) -> Iterator[str]:
    naming = [node for node in _walk(root) if channel.pk in node.channels]
    for node in naming:
        verdict = verdicts[node.id]
        yield {
            Outcome.REFUSED: f"Route “{node.name}” names it, and did not take this: {verdict.because}.",
            Outcome.OUTSIDE_HOURS: f"Route “{node.name}” names it, and did not take this: {verdict.because}.",
            Outcome.NOT_ASKED: f"Route “{node.name}” names it, and was not asked: {verdict.because}.",
            Outcome.PASSED_ON: f"Route “{node.name}” names it, and passed this on to a route below it.",
            Outcome.TOOK: f"Route “{node.name}” names it and takes this as it is now; when the incident was opened, it was different.",
        }[verdict.outcome]
    for leaf in leaves:
        for number, step in enumerate(leaf.steps, start=1):
            if channel.pk in step.channels:
                after = wording.seconds(step.after.total_seconds())
                yield f"It is step {number} of route “{leaf.name}”: told {after} after the beginning, unless somebody acknowledges it before."
    if not naming and not any(channel.pk in step.channels for leaf in leaves for step in leaf.steps):
        took = ", ".join(f"“{leaf.name}”" for leaf in leaves)
        yield f"No route names it; {took} took this."


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def headline(found: Sequence[Answer]) -> str:
    """“2 of 3 channels were told; 1 is held back.”"""
    if not found:
        return "Nobody was told: there are no channels."
    count = {fate: sum(one.fate == fate for one in found) for fate in Fate}
    told = count[Fate.TOLD]
    if len(found) == 1:
        head = f"The only channel was {'' if told else 'not '}told"
    else:
        head = f"{told or 'None'} of {wording.plural(len(found), 'channel')} {'was' if told == 1 else 'were'} told"
    words = {
        Fate.WAITING: "to be told",
        Fate.HELD: "held back",
        Fate.FAILED: "could not be told",
        Fate.DROPPED: "not told in time, and need not be any more",
    }
    rest = [
        f"{count[fate]} {'' if fate == Fate.FAILED else 'is ' if count[fate] == 1 else 'are '}{said}"
        for fate, said in words.items()
        if count[fate]
    ]
    return "; ".join([head, *rest]) + "."


def second(at: datetime | None) -> str:
    return wording.MISSING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in {11, 12, 13} else "th"
    return f"{number}{ending}"
