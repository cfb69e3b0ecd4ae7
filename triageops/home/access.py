"""Which parts of the home page a person may see: those whose rows they may view."""

from dataclasses import astuple, dataclass
from typing import Any


@dataclass(frozen=True)
class Access:
    responses: bool
    feedback: bool
    metrics: bool
    incidents: bool
    monitors: bool
    experiments: bool
    jobs: bool

    @property
    def has_any(self) -> bool:
        return any(astuple(self))


def may_view(user: Any, app: str, model: str) -> bool:
    """As the admin has it: who may change a row may view it."""
    return any(user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))


def access_of(user: Any) -> Access:
    return Access(
        responses=may_view(user, "feedback", "response"),
        feedback=may_view(user, "feedback", "feedback"),
        metrics=may_view(user, "feedback", "qualitymetric"),
        incidents=may_view(user, "monitoring", "incident"),
        monitors=may_view(user, "monitoring", "monitor"),
        experiments=may_view(user, "experiments", "experiment"),
        jobs=may_view(user, "observability", "scheduledjob"),
    )
