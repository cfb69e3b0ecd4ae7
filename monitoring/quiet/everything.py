"""Matchers that say nothing: they match whatever a label says."""

from collections.abc import Iterable

from monitoring.models import Severity
from monitoring.routing.matchers import Matcher

ALWAYS = frozenset({"alertname", "severity", "service", "source", "signal", "incident_id"})
"""Labels that every incident has."""

_ANY = ("a", "Z", "7", "0.5", "critical", "two words", "a-b_c/d:e", "ü", "…", "x" * 60)


def takes_any(matcher: Matcher) -> bool:
    """Whether it matches every value that its label can have, as far as some very different ones show it."""
    values = Severity.values if matcher.name == "severity" else _ANY
    return all(matcher.matches({matcher.name: value}) for value in values)


def takes_everything(matchers: Iterable[Matcher]) -> bool:
    """Whether every incident matches all of them."""
    return all(takes_any(one) and (one.name in ALWAYS or one.matches({})) for one in matchers)


def say_nothing(matchers: Iterable[Matcher]) -> bool:
    """Whether they match whatever labels say, of all incidents that have the labels."""
    return all(takes_any(one) for one in matchers)
