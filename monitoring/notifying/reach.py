"""What a route can get at all: whether anything fits it, and whether those before it leave anything to it."""

from collections.abc import Iterable, Sequence

from monitoring.labels import INCIDENT
from monitoring.models import Severity
from monitoring.quiet.everything import takes_everything
from monitoring.routing.matchers import Matcher, Operator, as_text
from monitoring.routing.tree import Node, Outside


def swallows(node: Node) -> bool:
    """Whether it takes whatever comes to it, at any time, and ends the asking."""
    return not node.is_continuing and _is_always(node) and takes_everything(node.matchers)


def why_never(node: Node, above: Sequence[Matcher], before: Iterable[Node]) -> str:
    """Why nothing can come to a route, as far as it shows; empty where something can.

    above: the matchers of the routes that it hangs below. before: its siblings that are asked first.
    """
    wanted = (*above, *node.matchers)
    contradiction = _contradiction(wanted)
    if contradiction:
        return f"It can never match: {contradiction}."
    for one in before:
        if not one.is_continuing and _is_always(one) and all(_follows(each, wanted) for each in one.matchers):
            return f"It is never asked: “{one.name}” before it takes all that it would take."
    return ""


def _is_always(node: Node) -> bool:
    return node.hours is None or node.outside == Outside.WAIT


def _follows(matcher: Matcher, known: Iterable[Matcher]) -> bool:
    """Whether it holds wherever those do."""
    if takes_everything([matcher]):
        return True
    same = (one for one in known if one.name == matcher.name)
    return any(
        one == matcher or (one.op == Operator.EQUAL and matcher.matches({one.name: one.value}))
        for one in same
    )


def _contradiction(matchers: Sequence[Matcher]) -> str:
    """Why no labels can fit all of them, as far as equality and the severities tell; empty where some can."""
    for name in dict.fromkeys(one.name for one in matchers):
        same = list(dict.fromkeys(one for one in matchers if one.name == name))
        if name == INCIDENT and not all(one.matches({}) for one in same):
            return f"routes do not know the label “{INCIDENT}”"
        possible = [one.value for one in same if one.op == Operator.EQUAL]
        if name == "severity":
            possible = list(Severity.values)
        if possible and not any(all(one.matches({name: value}) for one in same) for value in possible):
            return f"nothing fits {as_text(same)}"
    return ""
