"""What changes the way units are dealt while an experiment is under way: each change is an epoch, which never changes.

Three honest ways to change weights: *sticky* (who has a variant keeps it, newcomers come by the new weights), *minimal
move* (just as many units as must change their variant do, and leave the analysis), *re-randomise* (all are dealt anew with
another salt, and the analysis starts anew). A new config of a variant is another treatment: it starts the analysis anew,
with the units that were not exposed before.

Begin with changes.py; checks.py says what is refused, foresight.py what a change would do, rows.py holds the rows.
"""

from experiments.epochs.changes import change_weights, cover, revise
from experiments.epochs.checks import (
    WEIGHT_KINDS,
    NeedsReview,
    check_configs,
    check_coverage,
    check_kind,
    check_new_coverage,
    check_new_weights,
    check_weights,
    describe_weights,
)
from experiments.epochs.foresight import Preview, preview
from experiments.epochs.rows import close, current, first, reopen

__all__ = [
    "WEIGHT_KINDS",
    "NeedsReview",
    "Preview",
    "change_weights",
    "check_configs",
    "check_coverage",
    "check_kind",
    "check_new_coverage",
    "check_new_weights",
    "check_weights",
    "close",
    "cover",
    "current",
    "describe_weights",
    "first",
    "preview",
    "reopen",
    "revise",
]
