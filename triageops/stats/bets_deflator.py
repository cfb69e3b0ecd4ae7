"""Fewer independent values than values: the power phi of an e-value, for values of a bucket that belong together.

With a bucket's log e-value l and phi in (0, 1], settled before the values are seen (from their number, say):

1. E[exp(phi l)] <= E[exp(l)]^phi <= 1 (Jensen). phi never breaks a promise that holds without it.
2. Let the values fall into m groups such that l_g, the sum over group g alone, is a log e-value for each g. Then
   phi = 1 / m gives E[exp(phi l)] <= 1 whatever ties the groups to each other: exp(l / m) is the geometric mean of
   the exp(l_g), at most their arithmetic mean. So 1 / m is exact when at most m values of a bucket come from the
   same user and users are independent, and 1 / n holds for any dependence within a bucket.
3. phi = 1 / (1 + (n - 1) rho), with the intra-class correlation rho, is the design effect of a mean
   (variance.deflator). It is exact at rho = 0 and rho = 1 by 1 and 2, and an approximation between them: it makes
   the variance of a sum right, not its tails.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def checked_phi(phi: ArrayLike) -> FloatArray:
    """phi as an array; ValueError for anything outside (0, 1]."""
    power = np.asarray(phi, dtype=np.float64)
    if not ((power > 0) & (power <= 1)).all():
        raise ValueError(f"phi {phi!r} outside (0, 1]")
    return power
