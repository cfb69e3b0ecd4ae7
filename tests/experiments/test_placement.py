"""What a definition says of a unit, without a database."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.assignment import bucket_number, fnv1a32
from experiments.placement import (
    NOBODY,
    Arm,
    Definition,
    Filter,
    Move,
    Placement,
    Reason,
    Stored,
    compiled_table,
    place,
    standing,
)
from experiments.targeting import compiled

ARMS = tuple(Arm(number, key, key == "a", {}, "", 1) for number, key in enumerate("abc", 11))
SALT = "0" * 32


def definition(**changes: Any) -> Definition:
    table = compiled_table(ARMS, [["a", 0, 4_000], ["b", 4_000, 8_000]])
    values: dict[str, Any] = {
        "id": 1,
        "key": "e",
        "salt": SALT,
        "state": "running",
        "arms": ARMS,
        "seed": SALT,
    }
    return Definition(**(values | {"table": table, "epoch": 1, "phase": 1, "control": 0} | changes))


def unit_in(first: int, end: int, seed: str = SALT) -> str:
    return next(
        f"user-{n}" for n in range(100_000) if first <= bucket_number(fnv1a32(seed), f"user-{n}") < end
    )


def test_place_running_follows_the_table() -> None:
    for first, end, arm in ((0, 4_000, 0), (4_000, 8_000, 1)):
        found = place(definition(), unit_in(first, end), {})
        assert (found.reason, found.arm, found.is_in) == (Reason.SPLIT, arm, True)
        assert found.bucket is not None
        assert first <= found.bucket < end
    outside = place(definition(), unit_in(8_000, 10_000), {})
    assert (outside.reason, outside.arm, outside.is_in, outside.may_stay) == (
        Reason.COVERAGE,
        0,
        False,
        False,
    )


def test_place_bucket_that_a_smaller_coverage_left_may_stay() -> None:
    left = definition(left=((8_000, 9_000),))
    assert place(left, unit_in(8_000, 9_000), {}).may_stay
    assert not place(left, unit_in(9_000, 10_000), {}).may_stay


@pytest.mark.parametrize("state", ["draft", "review", "scheduled", "paused", "halted", "stopped"])
def test_place_not_running_gives_the_control_by_the_state(state: str) -> None:
    assert place(definition(state=state), "user-1", {}) == Placement(Reason(state), 0)


def test_place_shipped_gives_what_was_shipped() -> None:
    assert place(definition(state="shipped", shipped=2), "user-1", {}) == Placement(Reason.SHIPPED, 2)


@pytest.mark.parametrize(
    ("state", "is_served"),
    [
        *((state, True) for state in ("draft", "review", "scheduled", "running", "paused")),
        *((state, False) for state in ("halted", "stopped", "shipped")),
    ],
)
def test_place_forced_unit_is_served_until_the_halt(state: str, is_served: bool) -> None:
    found = place(definition(state=state, forced={"user-1": 2}), "user-1", {})
    assert (found == Placement(Reason.FORCED, 2)) == is_served
    assert not found.is_in


def test_place_holdout_goes_before_the_layer_and_both_before_the_targeting() -> None:
    nobody = {reason: Filter(reason, reason.value, ()) for reason in (Reason.HOLDOUT, Reason.LAYER)}
    condition = compiled({"country": "de"})
    both = definition(filters=tuple(nobody.values()), condition=condition)
    assert place(both, "user-1", {}).reason == Reason.HOLDOUT
    assert place(replace(both, filters=(nobody[Reason.LAYER],)), "user-1", {}).reason == Reason.LAYER
    rest = replace(both, filters=())
    assert place(rest, "user-1", {}) == Placement(Reason.TARGETING, 0)
    assert place(rest, unit_in(0, 4_000), {"country": "de"}).is_in


def test_filter_lets_pass_by_the_slot_of_its_own_seed() -> None:
    one = Filter(Reason.LAYER, "layer", ((0, 10), (5_000, 6_000)))
    assert one.lets_pass(unit_in(5_000, 6_000, "layer"))
    assert not one.lets_pass(unit_in(6_000, 10_000, "layer"))


def test_compiled_table_is_one_byte_a_bucket() -> None:
    table = compiled_table(ARMS, [["c", 9_999, 10_000]])
    assert len(table) == 10_000
    assert (table[0], table[9_999]) == (NOBODY, 2)


def test_standing_without_moves_is_what_is_stored() -> None:
    stored = Stored(arm=0, bucket=5, epoch=1, generation=1)
    assert standing(definition(), stored) is stored


def test_standing_older_than_the_floor_is_none() -> None:
    assert standing(definition(floor=3), Stored(0, 5, 2, 1)) is None
    assert standing(definition(floor=3), Stored(0, 5, 3, 3)) is not None


def test_standing_follows_moves_one_after_the_other() -> None:
    moved = definition(epoch=4, moves=(Move(2, 0, 1, 0, 10), Move(4, 1, 2, 5, 8)))
    assert standing(moved, Stored(0, 6, 1, 1)) == Stored(2, 6, 4, 4)
    assert standing(moved, Stored(0, 9, 1, 1)) == Stored(1, 9, 4, 2)
    # Seen after the first move: the second one alone counts.
    assert standing(moved, Stored(1, 6, 2, 2)) == Stored(2, 6, 4, 4)
    # Assigned by the new table, in the epoch of the move or after it.
    assert standing(moved, Stored(2, 6, 4, 1)) == Stored(2, 6, 4, 1)


def test_standing_sticky_unit_of_another_arm_is_not_taken_by_a_move_of_its_bucket() -> None:
    moved = definition(epoch=3, moves=(Move(3, 1, 2, 0, 10),))
    stored = Stored(0, 5, 1, 1)
    assert standing(moved, stored) is stored
