"""A detector as a watch: its state, what a frozen bucket does, and what it says."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitoring.monitors.distribution import Distribution
from monitoring.monitors.rate import Rate
from monitoring.monitors.sample import Sample
from monitoring.monitors.slo_guard import SloGuard
from monitoring.monitors.volume import Volume
from monitoring.monitors.watch import Finding
from tests.monitoring.kinds import ARRIVALS, ERRORS, LENGTH, QUALITY, beta, sampled, shared

RNG = np.random.default_rng(1)
SCORES = [sampled(number, beta(RNG, 20)) for number in range(300)]
SHARES = [shared(number, int(RNG.binomial(50, 0.1)), 50) for number in range(300)]
COUNTS = [Sample(number * LENGTH, LENGTH, int(RNG.poisson(20))) for number in range(300)]
WATCHES = {
    "distribution": Distribution().watch(QUALITY, Distribution().learn(SCORES, QUALITY, zone="UTC")),
    "rate": Rate().watch(ERRORS, Rate().learn(SHARES, ERRORS, zone="UTC")),
    "volume": Volume().watch(ARRIVALS, Volume().learn(COUNTS, ARRIVALS, zone="UTC")),
    "slo guard": SloGuard(level=0.8).watch(QUALITY),
}
STREAMS = {"distribution": SCORES, "rate": SHARES, "volume": COUNTS, "slo guard": SCORES}
BUDGET = 1 / (100 * LENGTH)


def moved(samples: list[Sample], buckets: int) -> list[Sample]:
    return [
        Sample(one.at + buckets * LENGTH, one.seconds, one.n, one.total, one.squares, one.histogram)
        for one in samples
    ]


@pytest.mark.parametrize("name", WATCHES)
def test_run_that_is_stored_after_each_bucket_tells_the_same(name: str) -> None:
    watch = WATCHES[name]
    state: dict[str, Any] = {}
    kept = watch.resume({})
    for sample in STREAMS[name][:60]:
        stored = watch.resume(state)
        assert kept.take(sample, budget_per_second=BUDGET) == stored.take(sample, budget_per_second=BUDGET)
        state = json.loads(json.dumps(stored.as_json(), allow_nan=False))
        assert kept.as_json() == state


@pytest.mark.parametrize("name", WATCHES)
def test_state_of_another_watch_is_refused(name: str) -> None:
    other = next(
        one for one in WATCHES.values() if len(one.detector.labels) != len(WATCHES[name].detector.labels)
    )
    with pytest.raises(ValueError, match="bets"):
        WATCHES[name].resume(other.resume({}).as_json())
    for wrong in ({"at": 1.0}, {"log_m": [0.0], "log_g": [], "onset_at": []}):
        with pytest.raises(ValueError, match="evidence"):
            WATCHES[name].resume(wrong)


def test_frozen_bucket_lets_time_pass_without_budget_or_forgetting() -> None:
    watch = WATCHES["rate"]
    frozen, plain = watch.resume({}), watch.resume({})
    for run in (frozen, plain):
        for sample in SHARES[:20]:
            run.take(sample, budget_per_second=BUDGET)
    before = frozen.as_json()
    for sample in moved(SHARES[:10], 20):
        frozen.freeze(sample)
    assert frozen.as_json() == {**before, "at": 30 * LENGTH}
    taken = frozen.take(moved(SHARES[20:21], 10)[0], budget_per_second=BUDGET)
    assert taken.elapsed_seconds == LENGTH
    assert taken.log_evidence == plain.take(SHARES[20], budget_per_second=BUDGET).log_evidence


def test_first_bucket_that_is_frozen_starts_the_clock() -> None:
    run = WATCHES["rate"].resume({})
    run.freeze(SHARES[0])
    assert run.as_json()["at"] == LENGTH
    assert run.take(SHARES[1], budget_per_second=BUDGET).elapsed_seconds == LENGTH


def test_gap_counts_for_the_budget_and_a_late_bucket_is_refused() -> None:
    run = WATCHES["rate"].resume({})
    run.take(SHARES[0], budget_per_second=BUDGET)
    assert run.take(SHARES[5], budget_per_second=BUDGET).elapsed_seconds == 5 * LENGTH
    with pytest.raises(ValueError, match="backwards"):
        run.take(SHARES[2], budget_per_second=BUDGET)


def test_alarm_says_where_it_began_and_resets_the_evidence() -> None:
    watch = WATCHES["rate"]
    run = watch.resume({})
    found: list[Finding] = []
    for number in range(40):
        taken = run.take(shared(number, 5 if number < 20 else 12, 50), budget_per_second=BUDGET)
        if taken.finding is not None and not found:
            found.append(taken.finding)
            assert taken.log_evidence >= 0
            assert set(run.as_json()["log_m"]) == {None}
    assert (found[0].label, found[0].is_single) == ("up", False)
    assert abs(found[0].onset_at - 20 * LENGTH) <= 2 * LENGTH
    assert watch.complaint("up") == "rose"


@pytest.mark.parametrize(("anomaly_share", "is_single"), [(0.9, True), (0.0, False)])
def test_single_bucket_that_is_far_off_is_a_finding_by_itself_if_it_has_a_share_of_the_budget(
    anomaly_share: float, is_single: bool
) -> None:
    run = replace(WATCHES["rate"], anomaly_share=anomaly_share).resume({})
    for number in range(20):
        run.take(shared(number, 5, 50), budget_per_second=BUDGET)
    finding = run.take(shared(20, 16, 50), budget_per_second=BUDGET).finding
    assert finding is not None
    assert (finding.is_single, finding.onset_at) == (is_single, 20 * LENGTH)


def test_label_without_words_is_told_as_it_is() -> None:
    assert WATCHES["rate"].complaint("sideways") == "has changed (sideways)"
