"""What sends messages to a channel: monitors that name it, routes, and steps of escalation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from monitoring.models import Channel, EscalationStep, Monitor, Route

MOST = 50


@dataclass(frozen=True)
class Uses:
    """At most MOST of each. takes_halts: it is told of every halted experiment."""

    monitors: Sequence[Monitor] = field(default_factory=list)
    routes: Sequence[Route] = field(default_factory=list)
    steps: Sequence[EscalationStep] = field(default_factory=list)
    takes_halts: bool = False

    @property
    def is_used(self) -> bool:
        return bool(self.monitors or self.routes or self.steps or self.takes_halts)


def uses_of(channel: Channel) -> Uses:
    """Three queries."""
    return Uses(
        list(channel.monitors.order_by("name")[:MOST]),
        list(channel.routes.order_by("name")[:MOST]),
        list(
            EscalationStep.objects.filter(channels=channel)
            .select_related("route")
            .order_by("route__name", "number")[:MOST]
        ),
        channel.takes_experiments,
    )
