"""What is tolerated between two variants, and which tilts of the odds (triageops.stats.bets_pair) are bet on beyond it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from monitoring.monitors.reference import RateReference, Tolerance
from triageops.stats.bets_cells import Cells
from triageops.stats.bets_pair import tilt_of
from triageops.stats.margins import score_margins

FloatArray = NDArray[np.float64]

_LOCATION, _SPREAD = (0.12, 0.25, 0.5, 0.9, 1.5), (0.3, 0.8)
"""Tilts beyond what is allowed, per standard deviation of the score: a normal's shift by so many."""
_TAIL_ODDS = (1.6, 4.0)


def score_limits(cells: Cells, tolerance: Tolerance) -> tuple[float, ...]:
    """How much higher than the control's each mean score may be: what is nobody's concern, and no more."""
    found = score_margins(cells.shares, cells.scores(), shift=tolerance.shift, ratio=tolerance.stretch)
    return tuple(found.tolist())


def share_limits(reference: RateReference, at: float, tolerance: Tolerance) -> tuple[float, float]:
    """The lowest and the highest share that is nobody's concern where the control has its usual one."""
    usual = usual_share(reference, at)
    low = max(0.0, min(usual / (1 + tolerance.ratio), usual - tolerance.absolute))
    return low, min(1.0, max(usual * (1 + tolerance.ratio), usual + tolerance.absolute))


def allowed_tilt(cells: Cells, scores: FloatArray, margin: float) -> float:
    """Infinity where nothing can be too much; a reference that is constant tells nothing of its tilts."""
    return tilt_of(cells.shares, scores, margin) if _sd(cells, scores) else margin


def tilts_beyond(name: str, cells: Cells, scores: FloatArray) -> tuple[float, ...]:
    span = float(np.ptp(scores))
    if not span:
        return ()
    if name.endswith("tail"):
        return tuple(math.log(odds) / span for odds in _TAIL_ODDS)
    unit = _sd(cells, scores) or 1.0
    return tuple(size / unit for size in (_LOCATION if name in {"up", "down"} else _SPREAD))


def _sd(cells: Cells, scores: FloatArray) -> float:
    found = math.sqrt(float(np.array(cells.shares) @ scores**2))
    return found if found > 1e-9 else 0.0


def usual_share(reference: RateReference, at: float) -> float:
    """Away from 0 and 1 by what so many records can tell, so that odds are finite."""
    edge = 1 / (reference.n + 2)
    return min(1 - edge, max(edge, reference.usual.mean[reference.when.slot(at)]))


def log_odds(share: float) -> float:
    return math.log(share) - math.log1p(-share) if 0 < share < 1 else math.copysign(math.inf, share - 0.5)
