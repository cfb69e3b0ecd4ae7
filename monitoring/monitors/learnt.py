"""Everything that a kind may have learnt, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.monitors import reference
from monitoring.monitors.reference import RateReference, ScoreReference, VolumeReference


@dataclass(frozen=True)
class TriageReference:
    """The usual shares of under- and of over-triage."""

    under: RateReference
    over: RateReference

    @property
    def n(self) -> int:
        return self.under.n


Learnt = ScoreReference | RateReference | VolumeReference | TriageReference


def as_json(learnt: Learnt) -> dict[str, Any]:
    if isinstance(learnt, TriageReference):
        return {
            "kind": "triage",
            "under": reference.as_json(learnt.under),
            "over": reference.as_json(learnt.over),
        }
    return reference.as_json(learnt)


def from_json(state: Mapping[str, Any]) -> Learnt:
    """What as_json wrote; ValueError for anything else."""
    if state.get("kind") != "triage":
        return reference.from_json(state)
    under, over = (reference.from_json(state[side]) for side in ("under", "over"))
    match under, over:
        case RateReference(), RateReference():
            return TriageReference(under, over)
    raise ValueError("no reference of kind 'triage'")
