"""What others do with the same streams: alarms, by check.

- z-score: the source article's rule. Difference between the means of the last 100 values and of the 1000 before them,
  divided by the standard deviation of single values, above 2. A look after every bucket.
- Evidently's default test for one column, said again from its documentation, as the package brings some 90 others: for a
  reference of more than 1000 values, Wasserstein's distance divided by the reference's standard deviation, drift from 0.1 on
  (shares: Jensen and Shannon's distance, from 0.1 on); else Kolmogorov and Smirnov's p (shares: a z-test's) below 0.05. A look at
  each 100 values, in whole buckets.
- river's ADWIN, PageHinkley and KSWIN, each with its defaults, if a Python with river is given (river_peer.py). They see the last
  1000 values of the reference first.

Looks in a row that all say "drift" count as one alarm.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAMES = ("z-score", "Evidently", "ADWIN", "PageHinkley", "KSWIN")
RECENT, BEFORE = 100, 1_000
WARM_UP = RECENT + BEFORE
MOST_VALUES, MOST_VALUES_KSWIN, MOST_RUNS_KSWIN = 60_000, 3_000, 2
MOST_OF_REFERENCE = 5_000


@dataclass(frozen=True)
class Case:
    """reference, values: single ones, in the order of time. ends: (T,), how many values there are after each bucket."""

    reference: FloatArray
    values: FloatArray
    ends: IntArray


@dataclass(frozen=True)
class Seen:
    """checks: the numbers, from 0, of those that alarmed, of the first `count` ones."""

    checks: tuple[int, ...]
    count: int


def begun(flags: BoolArray) -> BoolArray:
    """Those that are true after one that is not."""
    return np.asarray(flags & ~np.concatenate([[False], flags[:-1]]))


def z_score(case: Case) -> Seen:
    own = case.reference[-WARM_UP:]
    values = np.concatenate([own, case.values])
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (values, values**2))
    ends = own.size + case.ends
    flags = np.zeros(ends.size, dtype=bool)
    known = ends >= WARM_UP
    end = ends[known]
    middle = end - RECENT
    mean = (sums[middle] - sums[middle - BEFORE]) / BEFORE
    variance = (squares[middle] - squares[middle - BEFORE]) / BEFORE - mean**2
    recent = (sums[end] - sums[middle]) / RECENT
    flags[known] = np.abs(recent - mean) > 2 * np.sqrt(np.maximum(variance, 1e-300))
    return Seen(tuple(np.flatnonzero(begun(flags)).tolist()), ends.size)


def evidently(case: Case, *, is_share: bool) -> Seen:
    sorted_reference = np.sort(case.reference)
    # Evenly over its distribution: a distance between distributions does not need all of them.
    step = max(1, case.reference.size // MOST_OF_REFERENCE)
    thinned = sorted_reference[step // 2 :: step]
    looks, flags, first = [], [], 0
    for check, end in enumerate(case.ends.tolist()):
        if end - first < RECENT:
            continue
        current = case.values[first:end]
        looks.append(check)
        flags.append(
            _shares_differ(case.reference, current)
            if is_share
            else _values_differ(thinned, case.reference, current)
        )
        first = end
    at = np.array(looks, dtype=np.int64)
    return Seen(tuple(at[begun(np.array(flags, dtype=bool))].tolist()), case.ends.size)


def _values_differ(thinned: FloatArray, reference: FloatArray, current: FloatArray) -> bool:
    if reference.size <= 1_000:
        return float(stats.ks_2samp(reference, current).pvalue) < 0.05
    scale = max(float(reference.std()), 0.001)
    return float(stats.wasserstein_distance(thinned, current)) / scale >= 0.1


def _shares_differ(reference: FloatArray, current: FloatArray) -> bool:
    p, q = float(reference.mean()), float(current.mean())
    if reference.size > 1_000:
        return float(distance.jensenshannon([p, 1 - p], [q, 1 - q])) >= 0.1
    pooled = (p * reference.size + q * current.size) / (reference.size + current.size)
    error = math.sqrt(pooled * (1 - pooled) * (1 / reference.size + 1 / current.size))
    return error > 0 and math.erfc(abs(p - q) / error / math.sqrt(2)) < 0.05


def has_river(python: str) -> bool:
    tried = subprocess.run([python, "-c", "import river.drift, numpy"], capture_output=True, check=False)
    return tried.returncode == 0


def river(cases: Sequence[Case], python: str, *, is_first_enough: bool) -> dict[str, list[Seen]]:
    """Detector -> what it saw of each case, of its first MOST_VALUES values; KSWIN, at a millisecond each, of fewer and two cases.

    is_first_enough: stop at the first alarm after the reference.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "values.npz"
        arrays = [np.concatenate([one.reference[-BEFORE:], one.values])[:MOST_VALUES] for one in cases]
        np.savez(path, **{str(number): array for number, array in enumerate(arrays)})  # type: ignore[arg-type]
        options = {
            "shown": [one.reference[-BEFORE:].size for one in cases],
            "is_first_enough": is_first_enough,
            "most": {"KSWIN": MOST_VALUES_KSWIN},
            "runs": {"KSWIN": MOST_RUNS_KSWIN},
        }
        script = Path(__file__).with_name("river_peer.py")
        done = subprocess.run(
            [python, str(script), str(path), json.dumps(options)],
            capture_output=True,
            check=True,
            text=True,
        )
    found: dict[str, list[list[int]]] = json.loads(done.stdout)
    return {
        name: [
            _by_check(case, positions, MOST_VALUES_KSWIN if name == "KSWIN" else MOST_VALUES)
            for case, positions in zip(cases, each, strict=False)
        ]
        for name, each in found.items()
    }


def _by_check(case: Case, positions: Sequence[int], limit: int) -> Seen:
    shown = case.reference[-BEFORE:].size
    own = np.array([one - shown for one in positions if one >= shown], dtype=np.int64)
    checks = np.searchsorted(case.ends, own, side="right")
    count = int((case.ends <= limit - shown).sum())
    return Seen(tuple(int(one) for one in checks if one < count), count)
