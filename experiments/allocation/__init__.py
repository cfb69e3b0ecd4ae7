"""Which variant units get, for good: the stored assignment wins, else the definition decides and that is stored.

PostgreSQL is the truth; its unique constraint alone decides who is first, so that no number of processes can give one unit
two variants. Redis keeps copies of what was stored, which never changes; without Redis, or after it was emptied, PostgreSQL
is asked. Many units, or many experiments of one unit, cost as many round trips as one.

Begin with deciding.py; rows.py looks up and stores, copies.py is Redis.
"""

from experiments.allocation.deciding import assign, decide
from experiments.allocation.questions import Asked, Decision, UnknownExperiment, checked_unit, known

__all__ = ["Asked", "Decision", "UnknownExperiment", "assign", "checked_unit", "decide", "known"]
