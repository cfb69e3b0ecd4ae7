"""Which changes each kind of monitor should find, so that they can be put into the past and looked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from monitoring.monitors import injection
from monitoring.monitors.burn_rate import BurnRate
from monitoring.monitors.distribution import Distribution, side_of
from monitoring.monitors.drift import Sides
from monitoring.monitors.kind import Kind, Metric
from monitoring.monitors.learnt import Learnt
from monitoring.monitors.never import Never
from monitoring.monitors.rate import Rate
from monitoring.monitors.reference import ScoreReference
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.triage_error import TriageError
from monitoring.monitors.volume import Volume
from triageops.stats.histogram import Bins

_SHIFTS = (0.25, 0.5, 1.0)
_FACTORS = (Fraction(3, 2), Fraction(2))

Change = Callable[[Iterable[Sample]], Iterator[Sample]]


@dataclass(frozen=True)
class Injection:
    """A change that is tried out. size: in standard deviations, or a factor. side: of the metric, "up" or "down"."""

    name: str
    size: float
    side: str
    change: Change


@dataclass(frozen=True)
class Plan:
    """What is tried out, and full sentences on what cannot be."""

    injections: Sequence[Injection]
    notes: Sequence[str] = ()


def planned(kind: Kind, metric: Metric, learnt: Learnt | None, samples: Sequence[Sample]) -> Plan:
    """What this kind should find in this metric."""
    is_share = metric.shape == "share"
    if isinstance(kind, Volume):
        return Plan(_of_volume(side_of(kind.side, metric)))
    if isinstance(kind, Never):
        return Plan([_event(kind, metric)])
    if isinstance(kind, TriageError):
        return _of_group("under-triage", _is_under_triage(kind), "down", samples)
    if isinstance(kind, BurnRate) and kind.good_from is not None:
        side = "down" if metric.is_higher_better else "up"
        return _of_group("bad share", _is_bad(kind.good_from, metric), side, samples)
    if isinstance(kind, Rate):
        return _of_share(metric, side_of(kind.side, metric), samples)
    if isinstance(kind, BurnRate) or (isinstance(kind, SloGuard) and is_share):
        return _of_share(metric, metric.worse, samples)
    if isinstance(kind, Distribution):
        return _of_shift(metric, side_of(kind.side, metric), learnt, samples)
    if isinstance(kind, SloGuard):
        return _of_shift(metric, metric.worse, learnt, samples)
    return Plan((), ("No changes are known that could be tried out with this kind.",))


def _of_shift(metric: Metric, sides: Sides, learnt: Learnt | None, samples: Sequence[Sample]) -> Plan:
    sd = learnt.sd if isinstance(learnt, ScoreReference) else Sample.merge(samples).moments.sd
    if not sd:
        return Plan((), ("All values are alike, so there is no standard deviation to shift them by.",))
    low, high = metric.bounds or (0.0 if metric.shape in {"amount", "count"} else -math.inf, math.inf)
    signs = [(side, sign) for side, sign in (("down", -1), ("up", 1)) if sides in {side, "both"}]
    return Plan(
        [
            Injection(
                f"{size:g} sd {'lower' if side == 'down' else 'higher'}",
                size,
                side,
                partial(injection.shifted, by=sign * size * sd, low=low, high=high),
            )
            for side, sign in signs
            for size in _SHIFTS
        ]
    )


def _of_share(metric: Metric, sides: Sides, samples: Sequence[Sample]) -> Plan:
    """Of what is bad; of the ones where nobody has said which is better."""
    of_ones = metric.is_higher_better is not True
    n, ones = sum(sample.n for sample in samples), sum(sample.successes for sample in samples)
    count = ones if of_ones else n - ones
    worse, better = ("up", "down") if of_ones else ("down", "up")
    name = "share" if metric.is_higher_better is None else "bad share"
    ways = [(f"{name} × {float(factor):g}", factor, worse) for factor in _FACTORS if sides in {worse, "both"}]
    ways += [
        (f"{name} ÷ {float(factor):g}", 1 / factor, better)
        for factor in _FACTORS
        if sides in {better, "both"}
    ]
    return _multiplied(
        name, count, n, ways, lambda factor: partial(injection.scaled_share, factor=factor, of_ones=of_ones)
    )


def _of_group(name: str, belongs: injection.Belongs, side: str, samples: Sequence[Sample]) -> Plan:
    n, count = injection.count_in(samples, lambda *_: True), injection.count_in(samples, belongs)
    ways = [(f"{name} × {float(factor):g}", factor, side) for factor in _FACTORS]
    return _multiplied(
        name, count, n, ways, lambda factor: partial(injection.scaled_group, factor=factor, belongs=belongs)
    )


def _multiplied(
    name: str,
    count: int,
    n: int,
    ways: Sequence[tuple[str, Fraction, str]],
    change: Callable[[Fraction], Change],
) -> Plan:
    """ways: title, factor and side. Left out: what would be more than all records."""
    if not count:
        return Plan((), (f"The {name} was 0 all the time, so there is nothing to multiply.",))
    fitting = [(title, factor, side) for title, factor, side in ways if factor * count <= n]
    notes = [
        f"“{title}” was left out: it would be more than all records."
        for title, factor, _ in ways
        if factor * count > n
    ]
    return Plan(
        [Injection(title, float(factor), side, change(factor)) for title, factor, side in fitting], notes
    )


def _of_volume(sides: Sides) -> list[Injection]:
    ways = [
        ("nothing at all", Fraction(0), "down"),
        ("volume × 0.5", Fraction(1, 2), "down"),
        *((f"volume × {float(factor):g}", factor, "up") for factor in _FACTORS),
    ]
    return [
        Injection(title, float(factor), side, partial(injection.scaled_count, factor=factor))
        for title, factor, side in ways
        if sides in {side, "both"}
    ]


def _event(kind: Never, metric: Metric) -> Injection:
    value = metric.bounds[1] if metric.bounds else kind.above + max(1.0, abs(kind.above))
    return Injection("one event", 1.0, "up", partial(injection.with_event, value=value))


def _is_under_triage(kind: TriageError) -> injection.Belongs:
    """As monitoring.monitors.triage_error counts them."""
    limit = -kind.threshold
    return lambda bins, index: bins.lower(index) < limit or bins.upper(index) <= limit


def _is_bad(limit: float, metric: Metric) -> injection.Belongs:
    """As monitoring.monitors.burn_rate counts them."""

    def belongs(bins: Bins, index: int) -> bool:
        if metric.is_higher_better:
            return bins.upper(index) < limit
        return bins.lower(index) >= limit < bins.middle(index)

    return belongs
