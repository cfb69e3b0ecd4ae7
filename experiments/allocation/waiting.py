"""A question about which what was stored before decides, and the stored row that answers it."""

from dataclasses import dataclass
from datetime import datetime

from experiments.allocation.questions import Asked
from experiments.placement import Stored


@dataclass(frozen=True, slots=True)
class Row:
    """A stored assignment with the time of it."""

    stored: Stored
    assigned_at: datetime


@dataclass
class Waiting:
    """A question about which what was stored before decides.

    stays_only: without it the unit is not in. is_moved: it is, and belongs to another arm since.
    """

    index: int
    asked: Asked
    arm: int
    bucket: int
    generation: int
    stays_only: bool = False
    is_moved: bool = False
    row: Row | None = None

    @property
    def name(self) -> str:
        # The salt is of this experiment in this database only: what another one left in Redis is never found.
        return f"triageops:assigned:{self.asked.definition.salt}:{self.asked.unit}"
