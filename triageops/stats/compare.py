"""Values of the arms of an experiment and their differences, from the co-moments of units.

A unit is what was randomised (a user); a stratum is an allocation epoch. Pooling over epochs with other weights
compares early users with late ones (Simpson), so everything is estimated within strata and then averaged:

    D = sum_s (n_s / n) D_s,    Var D = sum_s (n_s / n)^2 (Var m_ts + Var m_cs).

Columns of each CoMoments: (num,) for a mean or proportion, (num, den) for a ratio; for CUPED also the values
before the experiment: (num, pre_num, is_new), (num, den, pre_num, pre_den, is_new). is_new is 1 for a unit that
has none, whose pre values are 0. Everything before must be known before the unit's first exposure.

A ratio is sum(num) / sum(den) with the delta method: R = mean(num) / mean(den), Z = (num - R den) / mean(den),
Var R = var(Z) / n. CUPED regresses the outcome (Z for a ratio) on the pre value and is_new with one theta for
all arms and strata, fitted within them: m' = m - theta (mean X of the arm - mean X of the stratum).

Sources: Deng, Knoblich, Lu, "Applying the delta method in metric analytics" (2018); Deng, Xu, Kohavi,
Walker, "Improving the sensitivity of online controlled experiments" (CUPED, 2013); Miratrix, Sekhon, Yu,
"Adjusting treatment effect estimates by post-stratification" (2013).
Accuracy: about 1e-12; a variance below 1e-12 of the terms it is the difference of is 0. Standard errors hold
for large samples (at least 25 units and 5 events an arm). The tests' reference values: scipy's Welch test,
statsmodels' test of two proportions, its cluster-robust regression and its ANCOVA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from triageops.stats.comoments import CoMoments
from triageops.stats.cuped import Linear, Shared, linearised, shared

Kind = Literal["mean", "proportion", "ratio"]
_WIDTHS: dict[Kind, tuple[int, int]] = {"mean": (1, 3), "proportion": (1, 3), "ratio": (2, 5)}


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one stratum. value is None, and no other number counts, with fewer than two units or mean(den) 0.

    variance: of the value, own_variance + 2 shared. own_variance is what of it no other arm shares; of two
    arms' values in a stratum, the covariance is the sum of their `shared`, 0 when nothing is adjusted.
    raw_value: before the adjustment.
    """

    n: int
    value: float | None
    variance: float
    own_variance: float
    shared: float
    raw_value: float


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """n: all units. value: average over the strata where the arm has a value, by all arms' units there; or None.

    An arm that is missing in a stratum averages over others, so two arms' values are for reading; `contrast`
    is the comparison.
    """

    n: int
    value: float | None
    standard_error: float | None
    strata: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Estimates:
    """theta: (pre value, is_new), empty when nothing is adjusted. variance_reduction: the share of the variance
    within arms and strata that the adjustment removes; None when nothing is adjusted or there is no variance.
    residual_shares: what it leaves, for each stratum.
    """

    kind: Kind
    arms: Mapping[str, ArmEstimate]
    theta: tuple[float, ...]
    variance_reduction: float | None
    residual_shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Treatment minus control, in the metric's unit, over the strata where both have a value.

    se: the standard error. null_se: the one if there is no effect, for tests; another one than se for
    proportions only. shared_se: the one if units of both arms vary alike within a stratum. n and values count the used strata, dropped_count the two arms' units in the others.
    se^2 = se_treatment^2 + se_control^2 - 2 covariance; covariance is 0 when nothing is adjusted.
    """

    effect: float
    se: float
    null_se: float
    shared_se: float
    n_treatment: int
    n_control: int
    value_treatment: float
    value_control: float
    se_treatment: float
    se_control: float
    covariance: float
    dropped_count: int

    @property
    def interval_se(self) -> float:
        """For intervals, the larger of se and null_se: an interval leaves out 0 only if the test rejects too.

        In 200 000 simulated experiments with 90/10 units at a rate of 0.5 % in both arms, 95 % intervals miss
        36 % of the time with se and 2000 units, 10 % with 6000, 6.6 % with 20 000; with the larger one 0.1 %,
        0.8 %, 2.6 %. At twice the rate in the small arm: 14 %, 7.9 %, 5.9 % and 14 %, 6.8 %, 5.9 %; null_se
        alone would miss 21 %, 14 %, 13 %. The small arm needs 5 events before any of them is to be trusted.
        """
        return max(self.se, self.null_se)


def estimate(arms: Mapping[str, Sequence[CoMoments]], kind: Kind, *, is_adjusted: bool) -> Estimates:
    """Values and standard errors of all arms. arms: one CoMoments for each stratum, in one order for all arms;
    CoMoments.empty for no units. is_adjusted: CUPED, which needs the columns before the experiment.

    ValueError for no arms, arms with unequal numbers of strata, wrong columns, or a proportion of values
    other than 0 and 1.
    """
    _refuse_wrong_columns(arms, kind, is_adjusted=is_adjusted)
    linear, theta, kept = linearised(arms, is_ratio=kind == "ratio", is_adjusted=is_adjusted)
    stratum_count = len(next(iter(arms.values())))
    strata = [shared({key: cells[s] for key, cells in linear.items()}, theta) for s in range(stratum_count)]
    weights = [sum(cells[s].n for cells in arms.values()) for s in range(stratum_count)]
    estimates = {
        key: _averaged([_cell(parts[s].n, linear[key][s], strata[s]) for s in range(stratum_count)], weights)
        for key, parts in arms.items()
    }
    reduction = None if not is_adjusted or kept is None else 1 - kept
    return Estimates(kind, estimates, theta, reduction, tuple(stratum.residual_share for stratum in strata))


def contrast(estimates: Estimates, treatment: str, control: str) -> Contrast | None:
    """Treatment minus control; None while there is no answer: no stratum with two units of both, or se 0.

    KeyError for an arm that is not there, ValueError for an arm against itself.
    """
    if treatment == control:
        raise ValueError(f"{treatment!r} against itself")
    pairs = list(zip(estimates.arms[treatment].strata, estimates.arms[control].strata, strict=True))
    used = [s for s, (t, c) in enumerate(pairs) if t.value is not None and c.value is not None]
    total = sum(pairs[s][0].n + pairs[s][1].n for s in used)
    if total == 0:
        return None
    shares = {s: (pairs[s][0].n + pairs[s][1].n) / total for s in used}
    value = [sum(share * (pairs[s][arm].value or 0.0) for s, share in shares.items()) for arm in (0, 1)]
    variance = [sum(share**2 * pairs[s][arm].variance for s, share in shares.items()) for arm in (0, 1)]
    se = math.sqrt(sum(share**2 * sum(cell.own_variance for cell in pairs[s]) for s, share in shares.items()))
    null_se = se
    if estimates.kind == "proportion":
        residual = estimates.residual_shares
        null_se = math.sqrt(
            sum(share**2 * _null_variance(*pairs[s]) * residual[s] for s, share in shares.items())
        )
    shared_se = math.sqrt(sum(share**2 * _shared_variance(*pairs[s]) for s, share in shares.items()))
    if not (0 < se < math.inf and 0 < null_se < math.inf and math.isfinite(value[0] - value[1])):
        return None
    return Contrast(
        effect=value[0] - value[1],
        se=se,
        null_se=null_se,
        shared_se=shared_se,
        n_treatment=sum(pairs[s][0].n for s in used),
        n_control=sum(pairs[s][1].n for s in used),
        value_treatment=value[0],
        value_control=value[1],
        se_treatment=math.sqrt(variance[0]),
        se_control=math.sqrt(variance[1]),
        covariance=sum(share**2 * (pairs[s][0].shared + pairs[s][1].shared) for s, share in shares.items()),
        dropped_count=sum(t.n + c.n for t, c in pairs) - total,
    )


def _refuse_wrong_columns(arms: Mapping[str, Sequence[CoMoments]], kind: Kind, *, is_adjusted: bool) -> None:
    if kind not in _WIDTHS:
        raise ValueError(f"{kind!r} is not a kind of metric")
    if not arms or len({len(strata) for strata in arms.values()}) != 1:
        raise ValueError("arms need to be there, and to have the same strata")
    allowed = _WIDTHS[kind][1:] if is_adjusted else _WIDTHS[kind]
    for cell in (cell for strata in arms.values() for cell in strata):
        if len(cell.mean) not in allowed:
            raise ValueError(
                f"{len(cell.mean)} columns where a {kind} needs {' or '.join(map(str, allowed))}"
            )
        share = cell.mean[0]
        # Zeros and ones have exactly this sum of squares.
        if kind == "proportion" and not (
            0 <= share <= 1 and abs(cell.m2[0][0] - cell.n * share * (1 - share)) <= 1e-9 * cell.n
        ):
            raise ValueError("a proportion is of zeros and ones, one for each unit")


def _cell(n: int, linear: Linear | None, stratum: Shared) -> Cell:
    if linear is None:
        return Cell(n, None, 0.0, 0.0, 0.0, 0.0)
    own, shared_variance = stratum.variances(linear)
    return Cell(
        n, stratum.adjusted(linear), max(0.0, own + 2 * shared_variance), own, shared_variance, linear.value
    )


def _averaged(cells: Sequence[Cell], weights: Sequence[int]) -> ArmEstimate:
    n = sum(cell.n for cell in cells)
    used = [(cell, weight) for cell, weight in zip(cells, weights, strict=True) if cell.value is not None]
    total = sum(weight for _, weight in used)
    if total == 0:
        return ArmEstimate(n, None, None, tuple(cells))
    value = sum(weight / total * (cell.value or 0.0) for cell, weight in used)
    variance = sum((weight / total) ** 2 * cell.variance for cell, weight in used)
    return ArmEstimate(n, value, math.sqrt(variance), tuple(cells))


def _shared_variance(treatment: Cell, control: Cell) -> float:
    """Of the difference, with one variance s^2 of a unit, that of both arms together: s^2 (1 / n_t + 1 / n_c)."""
    n_t, n_c = treatment.n, control.n
    return n_t / n_c * treatment.own_variance + n_c / n_t * control.own_variance


def _null_variance(treatment: Cell, control: Cell) -> float:
    """Of the difference of two shares that are equal: p (1 - p) (1 / n_t + 1 / n_c), p of both together."""
    n = treatment.n + control.n
    p = (treatment.n * treatment.raw_value + control.n * control.raw_value) / n
    return max(0.0, p * (1 - p)) * (1 / treatment.n + 1 / control.n)
