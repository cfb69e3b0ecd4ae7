"""Fewer units out of many, each of which stands for more than before. Pure.

A unit of m responses costs m to read, and its part in the spread of a sum grows with m at least. So it is best kept with a
chance that makes its chance in all, from the first drawing on, as the square root of m (Cochran, "Sampling techniques",
1977, section 5.5: as spread over root of cost); for a share of units all chances are best the same. The weight grows by what
the chance falls, so sums stay unbiased.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Member:
    """weight: how many units it stands for. size: its responses, as far as they were counted or estimated."""

    weight: float
    size: float


def measures(units: Mapping[str, Member], power: float) -> NDArray[np.float64]:
    """What makes the chance in all as the size to that power, from what the weight says of the chance so far."""
    return np.array([one.weight * one.size**power for one in units.values()])


def thinned(units: Mapping[str, Member], most: int, seed: int, *, power: float = 0.5) -> dict[str, Member]:
    """At most so many of the units, in the order of their size, at even distances from a random start."""
    if len(units) <= most:
        return dict(units)
    names = sorted(units, key=lambda name: (units[name].size, name))
    chance = chances(measures({name: units[name] for name in names}, power), most)
    # The last sum is a whole number but for rounding.
    ends = np.floor(np.cumsum(chance) + Random(seed).random() + 1e-9)
    is_kept = np.diff(ends, prepend=0.0) > 0
    return {
        name: Member(units[name].weight / float(chance[i]), units[name].size)
        for i, name in enumerate(names)
        if is_kept[i]
    }


def chances(measure: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Chances that sum to `most`, proportional to the measure (> 0) but none above 1; all 1 if there are no more."""
    if len(measure) <= most:
        return np.ones(len(measure))
    is_sure = np.zeros(len(measure), dtype=bool)
    while True:
        rest = most - int(is_sure.sum())
        chance = np.where(is_sure, 1.0, rest * measure / measure[~is_sure].sum())
        above = (chance >= 1) & ~is_sure
        if not above.any():
            return chance
        is_sure |= above
