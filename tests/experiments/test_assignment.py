import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from growthbook import core
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.assignment import (
    Assigned,
    assign,
    bucket,
    bucket_number,
    choose,
    fnv1a32,
    in_namespace,
    ranges,
)

ROOT = Path(__file__).parents[2]
ALL_BUCKETS = [k / 10_000 for k in range(10_000)]
SHARES = st.lists(st.integers(0, 10_000), min_size=1, max_size=9).map(
    lambda cuts: np.diff([0, *sorted(cuts), 10_000]).tolist()
)

# Computed by Node.js 20, whose charCodeAt gives UTF-16 code units:
#   function fnv(s){let h=0x811c9dc5;for(let i=0;i<s.length;i++){h^=s.charCodeAt(i);
#     h=Math.imul(h,0x01000193)>>>0}return h}
#   const v1=(s,v)=>(fnv(v+s)%1000)/1000, v2=(s,v)=>(fnv(fnv(s+v)+"")%10000)/10000
NODE_VECTORS = [  # seed, unit, fnv(unit), v1, v2
    ("exp", "jos\u00e9", 1843599586, 0.077, 0.3584),  # UTF-8 bytes would give 0.5681
    ("exp", "jose\u0301", 1984853373, 0.504, 0.4376),
    ("exp", "\u7528\u623742", 2898790666, 0.261, 0.0394),
    ("exp", "\U0001f642", 2368824094, 0.329, 0.1156),
    ("exp", "user-\U0001f469\u200d\u2695\ufe0f", 2893367310, 0.889, 0.1451),
    ("exp", "\ud83d", 931276136, 0.695, 0.0472),  # half of a surrogate pair
    ("exp", "a\udc00b", 176117714, 0.237, 0.3302),
    ("exp", "\U0010ffff\uffff", 2537863636, 0.347, 0.4398),
    ("salt-\u00e9", "jos\u00e9", 1843599586, 0.352, 0.332),
    ("salt-\u00e9", "\U0001f642", 2368824094, 0.364, 0.2897),
    ("", "\u00c5\u00c4\u00d6", 3406719150, 0.15, 0.8375),
]


@pytest.mark.parametrize(("seed", "unit", "hashed", "v1", "v2"), NODE_VECTORS)
def test_bucket_text_beyond_ascii_equals_javascript(
    seed: str, unit: str, hashed: int, v1: float, v2: float
) -> None:
    assert fnv1a32(unit) == hashed
    assert bucket(seed, unit, version=1) == v1
    assert bucket(seed, unit) == bucket(seed, unit, version=2) == v2


@pytest.mark.parametrize(
    ("text", "hashed"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968), ("b", 0xE70C2DE5)]
)
def test_fnv1a32_authors_vectors_are_reproduced(text: str, hashed: int) -> None:
    assert fnv1a32(text) == hashed  # draft-eastlake-fnv, appendix C


def test_bucket_ten_thousand_ids_equals_growthbook() -> None:
    rng = np.random.default_rng(31)
    printable = np.array([chr(code) for code in range(32, 127)])
    for number in range(10_000):
        unit = "".join(rng.choice(printable, rng.integers(0, 24)))
        seed = f"salt-{number % 7}"
        assert bucket(seed, unit, 1) == core.gbhash(seed, unit, 1)
        assert bucket(seed, unit, 2) == core.gbhash(seed, unit, 2)


@given(st.integers(0, 2**32 - 1) | st.integers(0, 2_000_000))
@example(0)
@example(999_999)
@example(1_000_000)
@example(1_000_999_000)
@example(2**32 - 1)
def test_bucket_number_of_every_first_hash_is_the_hash_of_its_digits(first: int) -> None:
    """An empty unit leaves the seed's hash as it is, so every number comes to the tables of digits."""
    assert bucket_number(first, "") == core.fnv1a32(str(first)) % 10_000


@pytest.mark.parametrize("version", [0, 3, -1])
def test_bucket_unknown_version_is_none(version: int) -> None:
    assert bucket("seed", "unit", version) is None


@given(SHARES, st.floats(-0.5, 1.5) | st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_ranges_any_weights_and_coverage_equal_growthbook_bit_for_bit(
    weights_bp: list[int], coverage: float
) -> None:
    weights = [weight / 10_000 for weight in weights_bp]
    assert list(ranges(weights_bp, coverage)) == core.getBucketRanges(len(weights), coverage, weights)


@pytest.mark.parametrize(
    "weights_bp",
    [
        [5_000, 5_000],
        [5_000, 3_000, 2_000],
        [1_000, 2_000, 7_000],
        [3_333, 3_333, 3_334],
        [1, 9_998, 1],
        [0, 10_000, 0],
        [1_667, 1_667, 1_667, 1_667, 1_666, 1_666],
        [1_000] * 10,
    ],
)
@pytest.mark.parametrize("coverage", [0.0, 0.1, 0.77, 1.0])
def test_choose_every_bucket_equals_growthbook(weights_bp: list[int], coverage: float) -> None:
    ours = ranges(weights_bp, coverage)
    theirs = core.getBucketRanges(len(weights_bp), coverage, [weight / 10_000 for weight in weights_bp])
    for n in ALL_BUCKETS:
        arm = choose(n, ours)
        assert (-1 if arm is None else arm) == core.chooseVariation(n, theirs)


@given(SHARES)
def test_ranges_full_coverage_gives_every_bucket_to_one_arm_and_each_arm_its_share(
    weights_bp: list[int],
) -> None:
    parts = ranges(weights_bp)
    arms = [choose(n, parts) for n in ALL_BUCKETS[::7] + ALL_BUCKETS[-1:]]
    assert None not in arms
    assert all(end == start for (_, end), (start, _) in pairwise(parts))
    widths = [(end - start) * 10_000 for start, end in parts]
    assert widths == pytest.approx(weights_bp, abs=1e-8)


@given(SHARES, st.floats(0, 1), st.floats(0, 1))
def test_ranges_growing_coverage_moves_nobody(weights_bp: list[int], a: float, b: float) -> None:
    small, large = ranges(weights_bp, min(a, b)), ranges(weights_bp, max(a, b))
    for n in ALL_BUCKETS[::11]:
        assert choose(n, small) in (None, choose(n, large))


@pytest.mark.parametrize("weights_bp", [[], [5_000], [5_000, 5_001], [-1, 10_001], [50, 30, 20]])
def test_ranges_weights_that_are_not_ten_thousand_are_refused(weights_bp: list[int]) -> None:
    with pytest.raises(ValueError, match="basis points"):
        ranges(weights_bp)


def test_ranges_coverage_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="coverage"):
        ranges([10_000], float("nan"))


def test_choose_outside_every_range_is_none() -> None:
    parts = ((0.0, 0.2), (0.5, 0.5), (0.6, 0.8))
    assert [choose(n, parts) for n in (0.0, 0.2, 0.5, 0.6, 0.7999, 0.8)] == [0, None, None, 2, 2, None]


def test_in_namespace_many_units_equals_growthbook() -> None:
    inside = 0
    for number in range(2_000):
        unit = f"user-{number}"
        answer = in_namespace(unit, "pricing", 0.25, 0.6)
        assert answer == core.inNamespace(unit, ("pricing", 0.25, 0.6))
        inside += answer
    assert 600 < inside < 800


def test_assign_article_example_is_arm_and_bucket() -> None:
    assert assign("exp", "jos\u00e9", [5_000, 3_000, 2_000]) == Assigned(arm=0, bucket=0.3584)
    assert assign("exp", "jos\u00e9", [3_000, 7_000]) == Assigned(arm=1, bucket=0.3584)


def test_assign_unit_outside_coverage_or_empty_is_in_no_arm() -> None:
    assert assign("exp", "jos\u00e9", [5_000, 5_000], coverage=0.5) is None
    assert assign("exp", "anyone", [5_000, 5_000], coverage=0.0) is None
    assert assign("exp", "", [5_000, 5_000]) is None


def test_assign_forty_thousand_users_get_the_shares_and_experiments_are_independent() -> None:
    users = 40_000
    buckets = np.array([[bucket(salt, f"user-{u}") for u in range(users)] for salt in ("s1", "s2", "k9f-3")])
    parts = ranges([5_000, 3_000, 2_000])
    for row in buckets.astype(np.float64):
        arms = np.array([choose(n, parts) for n in row.tolist()])
        for arm, share in enumerate((0.5, 0.3, 0.2)):
            sigma = (users * share * (1 - share)) ** 0.5
            assert abs((arms == arm).sum() - users * share) < 4 * sigma
    correlations = np.atleast_2d(np.corrcoef(buckets.astype(np.float64)))
    assert np.abs(np.triu(correlations, 1)).max() < 4 / users**0.5


def test_assign_another_process_and_hash_seed_gives_the_same_arms() -> None:
    code = (
        "from experiments.assignment import assign; import sys; "
        "print([assign('salt', f'user-{n}\\u00e9', [5000, 3000, 2000], 0.9) for n in range(300)]); "
        "print([name for name in sys.modules if name.split('.')[0] in ('django', 'celery', 'numpy')])"
    )
    expected = [assign("salt", f"user-{n}\u00e9", [5_000, 3_000, 2_000], 0.9) for n in range(300)]
    assert len({None if found is None else found.arm for found in expected}) == 4
    for seed in ("0", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert process.stdout.splitlines() == [repr(expected), "[]"]
