"""A detector run over a file: what a monitor would have said. Needs no database."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from monitoring.drawing import Point
from monitoring.monitors.drift import Detector, DistributionDrift, RateDrift, VolumeDrift
from monitoring.monitors.reference import RateReference, ScoreReference, TooLittle, VolumeReference
from monitoring.monitors.replay import Alarm, Replay, follow, replay
from monitoring.monitors.sample import Sample
from monitoring.monitors.watch import Watch
from monitoring.offline.fixed import Asked, fixed_watch
from monitoring.offline.kept import Table
from monitoring.offline.question import Question, Reference, Unusable
from monitoring.offline.rows import read
from monitoring.offline.sight import Sight, sight_of
from monitoring.offline.usual import Usual


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the reference is. usual: mean, share, or count per bucket. sd: of a distribution's values."""

    begin_at: float
    end_at: float
    n: int
    bucket_count: int
    season: str
    usual: float
    sd: float | None
    sight: Sight


@dataclass(frozen=True, slots=True)
class Finding:
    """A change. at: its first alarm. last_at, again_count: of those that followed while it lasted.

    before, after: `measure` in the reference, or as it was asked for, and from the onset to last_at, over n records.
    """

    at: float
    onset_at: float
    label: str
    is_single: bool
    measure: str
    before: float
    after: float
    n: int
    log_evidence: float
    again_count: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Report:
    """begin_at, end_at: of what was watched. alarm_count: all that a monitor without incidents would have raised.

    learnt: None for a kind that learns nothing.
    """

    question: Question
    table: Table
    learnt: Learnt | None
    findings: tuple[Finding, ...]
    alarm_count: int
    begin_at: float
    end_at: float
    points: tuple[Point, ...]


def detect(lines: Iterable[str], question: Question) -> Report:
    """Learn from the first part of the file and watch the rest, or watch all where nothing is learnt. Raises Unusable."""
    fixed = None if question.learns else fixed_watch(question)
    table = read(lines, question)
    if not table.samples:
        raise Unusable("the file has no whole bucket")
    if fixed is not None:
        return _of_fixed(fixed, table, question)
    cut = _cut(table.samples, question)
    reference = [one for one in table.samples if one.at < cut]
    watched = [one for one in table.samples if one.at >= cut]
    if not watched:
        raise Unusable("nothing comes after the reference")
    try:
        detector = _detector(reference, question)
    except TooLittle as error:
        note = " Values are means of several records: each bucket counts once." if table.are_means else ""
        raise Unusable(f"{error}{note}") from error
    found = replay(detector, watched, budget_per_second=question.budget_per_second, begin_at=cut)
    usual = Usual(detector, reference)
    learnt = _learnt(detector.reference, reference, cut, question)
    return _reported(question, table, detector, usual, found, begin_at=cut, learnt=learnt)


def _of_fixed(watch: Watch, table: Table, question: Question) -> Report:
    if not any(one.n for one in table.samples):
        raise Unusable("no row has a value")
    found = follow(watch, table.samples, budget_per_second=question.budget_per_second)
    return _reported(question, table, watch, Asked(watch), found, begin_at=table.samples[0].at)


def _reported(
    question: Question,
    table: Table,
    shown: Detector | Watch,
    usual: Usual | Asked,
    found: Replay,
    *,
    begin_at: float,
    learnt: Learnt | None = None,
) -> Report:
    watched = [one for one in table.samples if one.at >= begin_at]
    unwatched = len(table.samples) - len(watched)
    evidence: Iterator[float | None] = chain([None] * unwatched, found.log_evidence)
    points = tuple(
        Point(one.at, shown.value(one), usual.of([one]), log_evidence)
        for one, log_evidence in zip(table.samples, evidence, strict=True)
    )
    groups = _grouped(found.alarms, question.bucket_seconds)
    findings = tuple(_finding(group, watched, usual) for group in groups)
    end_at = watched[-1].at + watched[-1].seconds
    return Report(question, table, learnt, findings, len(found.alarms), begin_at, end_at, points)


def _cut(samples: Sequence[Sample], question: Question) -> float:
    """Where the reference ends: the start of a bucket."""
    step = question.bucket_seconds
    begin, end = samples[0].at, samples[-1].at + step
    if question.reference_until is None:
        return begin + math.floor((end - begin) * question.reference_share / step) * step
    if not begin < question.reference_until < end:
        first, last = (question.clock(at) for at in (begin, end))
        raise Unusable(f"the reference has to end between {first} and {last}")
    return math.floor(question.reference_until / step) * step


def _detector(reference: Sequence[Sample], question: Question) -> DistributionDrift | RateDrift | VolumeDrift:
    tolerance, zone, sides = question.tolerance, question.zone, question.sides
    if question.kind == "distribution":
        return DistributionDrift(ScoreReference.learnt(reference, tolerance, zone=zone), sides)
    if question.kind == "rate":
        return RateDrift(RateReference.learnt(reference, tolerance, zone=zone), sides)
    return VolumeDrift(VolumeReference.learnt(reference, tolerance, zone=zone), sides)


_OPPOSITES = [({"up", "top tail"}, {"down", "bottom tail"}), ({"wider"}, {"narrower"})]


def _grouped(alarms: Sequence[Alarm], bucket_seconds: float) -> list[list[Alarm]]:
    """Alarms of one change: evidence begins anew after each, and soon piles up again while the change lasts."""
    groups: list[list[Alarm]] = []
    for alarm in alarms:
        last = groups[-1][-1] if groups else None
        if last is None or _is_new(alarm, last, bucket_seconds):
            groups.append([alarm])
        else:
            groups[-1].append(alarm)
    return groups


def _is_new(alarm: Alarm, last: Alarm, bucket_seconds: float) -> bool:
    patience = max(3 * bucket_seconds, last.at - last.onset_at)
    labels = {alarm.label, last.label}
    is_opposite = any(labels & one and labels & other for one, other in _OPPOSITES)
    return is_opposite or alarm.onset_at - last.at > patience


def _finding(group: Sequence[Alarm], watched: Sequence[Sample], usual: Usual | Asked) -> Finding:
    first, last = group[0], group[-1]
    starts = [one.at for one in watched]
    begin = min(bisect_left(starts, first.onset_at), bisect_left(starts, first.at) - 1)
    shown = watched[begin : bisect_left(starts, last.at)]
    measure, before, after = usual.measured(first.label, shown)
    return Finding(
        first.at,
        shown[0].at,  # after a gap the onset is where the gap began
        first.label,
        all(alarm.is_single for alarm in group),
        measure,
        before,
        after,
        sum(one.n for one in shown),
        first.log_evidence,
        len(group) - 1,
        last.at,
    )


def _learnt(reference: Reference, samples: Sequence[Sample], cut: float, question: Question) -> Learnt:
    pooled = Sample.merge(samples)
    sight = sight_of(reference, samples, question)
    usual, sd = pooled.moments.mean, None
    if isinstance(reference, ScoreReference):
        sd = pooled.moments.sd or 0.0
    elif isinstance(reference, VolumeReference):
        usual = pooled.n / len(samples)
    count = len(samples) if isinstance(reference, VolumeReference) else sum(one.n > 0 for one in samples)
    return Learnt(samples[0].at, cut, pooled.n, count, reference.when.season, usual, sd, sight)
