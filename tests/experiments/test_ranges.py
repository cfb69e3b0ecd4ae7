"""The reference is GrowthBook's Python SDK, `growthbook.core`: its ranges, asked for every one of the 10 000 buckets."""

import time
from itertools import pairwise
from random import Random

import pytest
from growthbook import core
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.ranges import (
    FREE,
    Segment,
    counted,
    departures,
    first_segments,
    moves,
    recovered,
    retargeted,
    reweighted,
    segments_of,
    sizes,
    table,
)

ARMS = st.integers(2, 10)
COVERAGE = st.integers(1, 10_000)


def weights_of(count: int, seed: int) -> list[int]:
    cuts = sorted(Random(seed).choices(range(10_001), k=count - 1))
    return [end - start for start, end in pairwise([0, *cuts, 10_000])]


def keys_of(count: int) -> list[str]:
    return [f"arm-{number}" for number in range(count)]


WEIGHTS = st.builds(weights_of, ARMS, st.integers(0, 10**6))
TWO_WEIGHTS = ARMS.flatmap(
    lambda count: st.tuples(*[st.builds(weights_of, st.just(count), st.integers(0, 10**6)) for _ in range(2)])
)


def growthbooks(weights_bp: list[int], coverage: float) -> list[str]:
    """The arm of each bucket as GrowthBook's SDK gives it."""
    weights = [weight / 10_000 for weight in weights_bp]
    parts = core.getBucketRanges(len(weights), coverage, weights)
    chosen = [core.chooseVariation(bucket / 10_000, parts) for bucket in range(10_000)]
    return [FREE if arm < 0 else f"arm-{arm}" for arm in chosen]


def moved_count(before: list[Segment], after: list[Segment]) -> int:
    return sum(end - first for _, _, first, end in moves(before, after))


@pytest.mark.parametrize(
    "weights_bp",
    [
        [1_000, 2_000, 7_000],
        [1_667, 1_667, 1_667, 1_667, 1_666, 1_666],
        [1_429, 1_429, 1_429, 1_429, 1_428, 1_428, 1_428],
        [1_000] * 10,
        [3_333, 3_333, 3_334],
        [100] * 100,
        [0, 10_000],
        [1, 9_998, 1],
    ],
    ids=lambda weights_bp: f"{len(weights_bp)} arms from {weights_bp[0]}",
)
@pytest.mark.parametrize("coverage_bp", [1, 7, 1_000, 3_333, 5_000, 7_700, 9_999, 10_000])
def test_first_segments_every_bucket_equals_growthbook(weights_bp: list[int], coverage_bp: int) -> None:
    segments = first_segments(keys_of(len(weights_bp)), weights_bp, coverage_bp / 10_000)
    assert table(segments) == growthbooks(weights_bp, coverage_bp / 10_000)


@given(WEIGHTS, COVERAGE)
@settings(max_examples=40, deadline=None)
def test_first_segments_any_weights_equal_growthbook(weights_bp: list[int], coverage_bp: int) -> None:
    keys = keys_of(len(weights_bp))
    segments = first_segments(keys, weights_bp, coverage_bp / 10_000)
    assert table(segments) == growthbooks(weights_bp, coverage_bp / 10_000)
    found = sizes(keys, weights_bp, coverage_bp / 10_000)
    assert {key: size for key, size in found.items() if size} == counted(segments)
    assert abs(sum(found.values()) - coverage_bp) <= len(keys)


@given(WEIGHTS, COVERAGE, COVERAGE)
@settings(max_examples=40, deadline=None)
def test_growing_coverage_moves_nobody_and_equals_growthbooks_larger_ranges(
    weights_bp: list[int], one: int, another: int
) -> None:
    keys, small, large = keys_of(len(weights_bp)), min(one, another), max(one, another)
    before = first_segments(keys, weights_bp, small / 10_000)
    after = recovered(before, keys, weights_bp, large / 10_000, is_growing=True)
    assert table(after) == growthbooks(weights_bp, large / 10_000)
    assert moves(before, after) == departures(before, after) == []


@given(TWO_WEIGHTS, COVERAGE, COVERAGE)
@settings(max_examples=60, deadline=None)
def test_growing_coverage_after_other_weights_takes_no_bucket_from_anybody(
    two: tuple[list[int], list[int]], one: int, another: int
) -> None:
    keys = keys_of(len(two[0]))
    small, large = min(one, another) / 10_000, max(one, another) / 10_000
    former, weights = (dict(zip(keys, weights_bp, strict=True)) for weights_bp in two)
    first = first_segments(keys, two[0], small)
    before = retargeted(first, reweighted(first, former, weights))
    after = recovered(before, keys, two[1], large, is_growing=True)
    assert moves(before, after) == departures(before, after) == []
    assert sum(counted(after).values()) >= large * 10_000 - len(keys)


@given(WEIGHTS, COVERAGE, COVERAGE)
@settings(max_examples=40, deadline=None)
def test_shrinking_coverage_moves_nobody_and_growing_again_gives_back_the_same(
    weights_bp: list[int], one: int, another: int
) -> None:
    keys, small, large = keys_of(len(weights_bp)), min(one, another), max(one, another)
    before = first_segments(keys, weights_bp, large / 10_000)
    after = recovered(before, keys, weights_bp, small / 10_000, is_growing=False)
    assert table(after) == growthbooks(weights_bp, small / 10_000)
    assert moves(before, after) == []
    left = sum(end - first for _, _, first, end in departures(before, after))
    assert left == sum(counted(before).values()) - sum(counted(after).values())
    assert recovered(after, keys, weights_bp, large / 10_000, is_growing=True) == before


@given(TWO_WEIGHTS, COVERAGE)
@settings(max_examples=80, deadline=None)
def test_new_weights_move_half_the_sum_of_the_differences_and_nobody_between_arms_that_keep_their_share(
    two: tuple[list[int], list[int]], coverage_bp: int
) -> None:
    keys = keys_of(len(two[0]))
    former, weights = (dict(zip(keys, weights_bp, strict=True)) for weights_bp in two)
    before = first_segments(keys, two[0], coverage_bp / 10_000)
    wanted = reweighted(before, former, weights)
    after = retargeted(before, wanted)

    has, had = counted(after), counted(before)
    assert {key: has.get(key, 0) for key in keys} == wanted
    assert sum(has.values()) == sum(had.values())
    differences = [has.get(key, 0) - had.get(key, 0) for key in keys]
    assert 2 * moved_count(before, after) == sum(map(abs, differences))
    grown = {key for key, change in zip(keys, differences, strict=True) if change > 0}
    shrunk = {key for key, change in zip(keys, differences, strict=True) if change < 0}
    assert all(source in shrunk and target in grown for source, target, _, _ in moves(before, after))
    assert departures(before, after) == []
    kept = {key for key in keys if former[key] == weights[key]}
    assert not kept & (grown | shrunk)
    # The shares are the weights', up to the rounding of GrowthBook's first ranges.
    total = sum(had.values())
    assert all(abs(wanted[key] - total * weights[key] / 10_000) <= len(keys) for key in keys)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10_000), min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_retargeted_scattered_buckets_have_exactly_the_wanted_sizes(seed: int, cuts: list[int]) -> None:
    arms = Random(seed).choices(range(6), k=10_000)
    before = segments_of([FREE if arm == 5 else f"arm-{arm}" for arm in arms])
    wanted = {f"arm-{arm}": end - start for arm, (start, end) in enumerate(pairwise(sorted(cuts)))}
    after = retargeted(before, wanted)
    has, had = counted(after), counted(before)
    assert {key: has.get(key, 0) for key in wanted} == wanted
    released = sum(max(0, had.get(key, 0) - size) for key, size in wanted.items())
    grown = sum(max(0, size - had.get(key, 0)) for key, size in wanted.items())
    # What is released is handed on before anybody new comes in.
    assert moved_count(before, after) == min(released, grown)


def test_new_weights_at_half_coverage_are_given_the_released_buckets_and_not_free_ones() -> None:
    before = first_segments(["a", "b"], [5_000, 5_000], 0.5)
    after = retargeted(before, reweighted(before, {"a": 5_000, "b": 5_000}, {"a": 4_000, "b": 6_000}))
    assert moves(before, after) == [("a", "b", 2_000, 2_500)]
    assert after == [("a", 0, 2_000), ("b", 2_000, 2_500), ("b", 5_000, 7_500)]


def test_new_weights_whatever_the_order_of_the_former_ones_give_the_same() -> None:
    before = first_segments(["a", "b", "c"], [3_333, 3_333, 3_334], 1.0)
    former = {"a": 3_333, "b": 3_333, "c": 3_334}
    weights = {"a": 2_500, "b": 2_501, "c": 4_999}
    reversed_former = dict(reversed(former.items()))
    assert reweighted(before, former, weights) == reweighted(before, reversed_former, weights)


@pytest.mark.parametrize("wanted", [{"a": 10_001}, {"a": 5_000, "b": 5_001}, {"a": -1}])
def test_retargeted_more_than_there_is_is_refused(wanted: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="numbers of buckets"):
        retargeted([], wanted)


def test_hundred_arms_over_ten_thousand_buckets_take_no_time() -> None:
    keys = keys_of(100)
    segments, former = first_segments(keys, [100] * 100, 1.0), dict.fromkeys(keys, 100)
    started = time.perf_counter()
    for seed in range(20):
        weights = dict(zip(keys, weights_of(100, seed), strict=True))
        segments = retargeted(segments, reweighted(segments, former, weights))
        former = weights
    assert (time.perf_counter() - started) / 20 < 0.2
    assert sum(counted(segments).values()) == 10_000
