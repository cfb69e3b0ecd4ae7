"""What holds for every kind: rows in any order and partition give the same state and the same findings."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.monitors.burn_rate import BurnRate
from monitoring.monitors.distribution import Distribution
from monitoring.monitors.kind import Kind, Metric
from monitoring.monitors.never import Never
from monitoring.monitors.rate import Rate
from monitoring.monitors.registry import KINDS, choices, kind_named
from monitoring.monitors.replay import follow
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.triage_error import TriageError
from monitoring.monitors.volume import Volume
from monitoring.monitors.watch import Watch
from tests.monitoring.kinds import ARRIVALS, ERRORS, LENGTH, QUALITY, TRIAGE, beta, sampled
from triageops.stats.histogram import UniformBins

ERROR = UniformBins(-2.0, 2.0)
BUDGET = 1 / (10 * LENGTH)
RNG = np.random.default_rng(1)
GIVEN: dict[str, tuple[Kind, Metric]] = {
    "distribution": (Distribution(), QUALITY),
    "rate": (Rate(), ERRORS),
    "slo_guard": (SloGuard(level=0.8), QUALITY),
    "volume": (Volume(), ARRIVALS),
    "burn_rate": (BurnRate(objective=0.9, least_records=1), ERRORS),
    "triage_error": (TriageError(), TRIAGE),
    "never": (Never(), ERRORS),
}


def seen(metric: Metric, number: int, draws: Sequence[float]) -> Sample:
    """Uniform draws as this metric's values."""
    if metric is TRIAGE:
        return sampled(number, np.round(np.array(draws) * 4) - 2, ERROR)
    if metric is ERRORS:
        return sampled(number, (np.array(draws) > 0.8).astype(float))
    return sampled(number, np.array(draws))


def watches() -> Iterator[tuple[str, Watch, Metric, bool]]:
    for name, (kind, metric) in GIVEN.items():
        usual = beta(RNG, 200 * 20).reshape(200, 20) if metric is QUALITY else RNG.uniform(size=(200, 20))
        learnt = kind.learn(
            [seen(metric, number, own) for number, own in enumerate(usual)], metric, zone="UTC"
        )
        yield name, kind.watch(metric, learnt), metric, False
        if kind.compares:
            yield f"{name} against a control", kind.watch(metric, learnt, is_compared=True), metric, True


WATCHES = {name: (watch, metric, is_compared) for name, watch, metric, is_compared in watches()}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
        st.lists(st.floats(0, 1, width=32), max_size=8),
    ),
    min_size=1,
    max_size=30,
)


def merged(samples: Sequence[Sample], pieces: int) -> list[Sample]:
    found = []
    for bucket in sorted({one.at for one in samples}):
        own = [one for one in samples if one.at == bucket]
        cuts = [own[start::pieces] for start in range(pieces)]
        found.append(Sample.merge(Sample.merge(cut) for cut in cuts if cut))
    return found


def states(watch: Watch, samples: Sequence[Sample]) -> list[object]:
    run = watch.resume({})
    return [(run.take(one, budget_per_second=BUDGET), run.as_json()) for one in samples]


@pytest.mark.parametrize("name", WATCHES)
@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_rows_in_any_order_and_partition_give_the_same_to_the_last_bit(
    name: str, rows: list[tuple[int, list[float], list[float]]], seed: int
) -> None:
    watch, metric, is_compared = WATCHES[name]
    parts = [
        replace(
            seen(metric, bucket, mine),
            against=seen(metric, bucket, theirs) if is_compared and theirs else None,
        )
        for bucket, mine, theirs in rows
    ]
    shuffler = random.Random(seed)
    other = list(parts)
    shuffler.shuffle(other)
    ours, theirs_ = merged(parts, 1), merged(other, shuffler.randint(1, 4))
    assert states(watch, ours) == states(watch, theirs_)
    assert follow(watch, ours, budget_per_second=BUDGET) == follow(watch, theirs_, budget_per_second=BUDGET)
    for one, same in zip(ours, theirs_, strict=True):
        assert watch.deviations(one) == watch.deviations(same)
        assert watch.band(one) == watch.band(same)


def test_all_kinds_are_here_and_found_by_their_names() -> None:
    assert [kind.name for kind in KINDS] == list(GIVEN)
    assert [kind_named(name) for name in GIVEN] == list(KINDS)
    assert dict(choices()).keys() == GIVEN.keys()
    with pytest.raises(LookupError, match="magic"):
        kind_named("magic")


@pytest.mark.parametrize("name", WATCHES)
def test_every_watch_says_something_when_everything_is_wrong(name: str) -> None:
    """Values that were never seen, ten times as many as usual, against a control that has none of them."""
    watch, metric, is_compared = WATCHES[name]
    worst = {QUALITY: 0.0, ERRORS: 1.0, TRIAGE: 0.0}.get(metric, 1.0)
    samples = [seen(metric, number, [worst] * 200) for number in range(6)]
    if is_compared:
        best = {QUALITY: 0.9, ERRORS: 0.0, TRIAGE: 0.5}[metric]
        samples = [replace(one, against=seen(metric, 0, [best] * 200)) for one in samples]
    alarms = follow(watch, samples, budget_per_second=BUDGET).alarms
    assert alarms
    assert alarms[0].onset_at == 0.0
    assert watch.complaint(alarms[0].label)
    assert not watch.complaint(alarms[0].label).startswith("has changed")
