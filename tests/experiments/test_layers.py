"""Layers and the global holdout: experiments of one layer never share a unit, the holdout is in none."""

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from experiments import allocation, catalogue, layers, lifecycle
from experiments.allocation import Asked, Decision
from experiments.layers import LayerFull
from experiments.models import AllocationEpoch, Experiment, Holdout, Layer, LayerSlot, State
from experiments.models.audit import SharedEvent
from experiments.placement import Reason
from tests.experiments.factories import NOW, draft, units
from triageops.rest import InvalidInput, Problem

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=1)
HALVES = {"a": 5_000, "b": 5_000}


def start(key: str, layer: Layer | None = None, share_bp: int = 10_000) -> Experiment:
    experiment = draft(HALVES, "a", key=key, layer=layer, layer_share_bp=share_bp)
    return lifecycle.start(experiment, by=None, now=NOW)


def decisions(key: str, count: int) -> list[Decision]:
    definition = allocation.known(key)
    return allocation.decide(
        [Asked(definition, unit, {}) for unit in units(count)], now=NOW, is_read_only=True
    )


def members(key: str, count: int = 10_000) -> set[str]:
    return {
        unit
        for unit, decision in zip(units(count), decisions(key, count), strict=True)
        if decision.in_experiment
    }


def slots(experiment: Experiment) -> list[tuple[int, int]]:
    return list(LayerSlot.objects.filter(experiment=experiment).values_list("first", "end"))


def test_two_experiments_of_one_layer_never_share_a_unit() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    start("one", layer, 4_000)
    start("two", layer, 6_000)
    start("alone")
    one, two, alone = members("one"), members("two"), members("alone")
    assert not one & two
    assert one | two == alone == set(units(10_000))
    assert 3_800 < len(one) < 4_200
    outside = [decision for decision in decisions("one", 200) if not decision.in_experiment]
    assert {(one.variant, one.reason) for one in outside} == {("a", Reason.LAYER)}


def test_layer_decides_independently_of_the_arms() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    start("one", layer, 5_000)
    found = [decision.variant for decision in decisions("one", 10_000) if decision.in_experiment]
    assert abs(found.count("a") - len(found) / 2) < 4 * (len(found) / 4) ** 0.5


def test_full_layer_refuses_the_next_one_and_released_slots_are_free_again() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    first = start("one", layer, 7_000)
    waiting = draft(HALVES, "a", key="two", layer=layer, layer_share_bp=3_001)
    with pytest.raises(LayerFull, match=r"has 30 % left; the experiment asks for 30\.01 %"):
        lifecycle.start(waiting, by=None, now=NOW)
    assert Experiment.objects.get(key="two").state == State.DRAFT
    assert not AllocationEpoch.objects.filter(experiment=waiting).exists()
    lifecycle.stop(first, by=None, now=LATER)
    assert list(layers.gaps(layer)) == [(0, 10_000)]
    waiting = lifecycle.start(waiting, by=None, now=LATER)
    assert slots(waiting) == [(0, 3_001)]
    assert len(members("two", 1_000)) > 200


def test_slots_in_pieces_are_put_together() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    made = [start(key, layer, 2_500) for key in ("one", "two", "three", "four")]
    lifecycle.stop(made[0], by=None, now=LATER)
    lifecycle.stop(made[2], by=None, now=LATER)
    assert slots(start("five", layer, 4_000)) == [(0, 2_500), (5_000, 6_500)]
    assert not members("five", 2_000) & (members("two", 2_000) | members("four", 2_000))


def test_paused_and_halted_experiments_keep_their_slots() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    lifecycle.kill(lifecycle.pause(start("one", layer), by=None, now=NOW), by=None, now=NOW)
    with pytest.raises(LayerFull):
        start("two", layer, 1)


@pytest.mark.parametrize(("first", "end"), [(0, 10_000), (3_999, 4_001), (100, 101)])
def test_overlapping_slots_are_refused_by_the_database(first: int, end: int) -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    start("one", layer, 4_000)
    other = start("two", layer, 1_000)
    LayerSlot.objects.create(
        layer=layers.save(Layer(key="another"), by=None, now=NOW),
        experiment=other,
        first=first,
        end=end,
        taken_at=NOW,
    )
    with pytest.raises(IntegrityError, match="layer_slots_exclude"), transaction.atomic():
        LayerSlot.objects.create(layer=layer, experiment=other, first=first, end=end, taken_at=NOW)


@pytest.mark.django_db(transaction=True)
def test_starts_at_once_never_take_the_same_slots() -> None:
    layer = layers.save(Layer(key="prompts"), by=None, now=NOW)
    waiting = [draft(HALVES, "a", key=f"e{n}", layer=layer, layer_share_bp=3_000) for n in range(5)]
    barrier, refused = Barrier(5), []

    def begin(experiment: Experiment) -> None:
        try:
            barrier.wait(10)
            lifecycle.start(experiment, by=None, now=NOW)
        except Problem as problem:
            refused.append(type(problem))
        finally:
            connection.close()

    threads = [Thread(target=begin, args=[experiment]) for experiment in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert refused == [LayerFull, LayerFull]
    assert sorted(LayerSlot.objects.values_list("first", "end")) == [
        (0, 3_000),
        (3_000, 6_000),
        (6_000, 9_000),
    ]


def test_holdout_units_are_in_no_experiment_that_obeys_it() -> None:
    holdout = layers.hold_out(1_000, by=None, now=NOW)
    start("one")
    start("two", layers.save(Layer(key="prompts"), by=None, now=NOW), 5_000)
    everybody = draft(HALVES, "a", key="all", obeys_holdout=False)
    lifecycle.start(everybody, by=None, now=NOW)
    held = set(units(5_000)) - members("one", 5_000)
    assert 400 < len(held) < 600
    assert not held & members("two", 5_000)
    assert members("all", 5_000) == set(units(5_000))
    said = {d.reason for d in decisions("one", 500) if not d.in_experiment}
    assert said == {Reason.HOLDOUT}
    assert holdout.share_bp == 1_000


def test_experiment_under_way_keeps_the_holdout_it_started_with() -> None:
    start("before")
    layers.hold_out(2_000, by=None, now=NOW)
    start("with")
    held = set(units(2_000)) - members("with", 2_000)
    layers.hold_out(5_000, by=None, now=NOW)
    start("after")
    catalogue.forget()
    assert members("before", 2_000) == set(units(2_000))
    assert set(units(2_000)) - members("with", 2_000) == held
    # A larger holdout holds those of the smaller one too.
    assert held < set(units(2_000)) - members("after", 2_000)


def test_holdout_of_all_units_lets_nobody_in() -> None:
    layers.hold_out(10_000, by=None, now=NOW)
    start("one")
    assert not members("one", 200)


def test_second_holdout_is_refused() -> None:
    layers.hold_out(1, by=None, now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Holdout.objects.create(share_bp=2)
    assert Holdout.objects.get().share_bp == 1


@pytest.mark.parametrize("share_bp", [-1, 10_001, 0.5, "100", True, None])
def test_holdout_of_no_share_is_refused(share_bp: Any) -> None:
    with pytest.raises(InvalidInput, match="are no share"):
        layers.hold_out(share_bp, by=None, now=NOW)
    assert not Holdout.objects.exists()


def told() -> list[tuple[str, str, str, dict[str, Any], dict[str, Any], str]]:
    rows = SharedEvent.objects.order_by("id")
    return list(rows.values_list("subject", "key", "action", "before", "after", "reason"))


def test_every_change_of_a_layer_is_in_its_audit(django_user_model: type[User]) -> None:
    ann = django_user_model.objects.create(username="ann")
    layer = layers.save(Layer(key="prompts"), by=ann, now=NOW, reason="they collide")
    layer.description = "All prompts"
    for _ in range(2):
        layers.save(layer, by=ann, now=LATER)
    new, described = {"key": "prompts", "description": ""}, {"key": "prompts", "description": "All prompts"}
    assert told() == [
        ("layer", "prompts", "create", {}, new, "they collide"),
        ("layer", "prompts", "edit", new, described, ""),
    ]
    assert list(SharedEvent.objects.values_list("by__username", "at")) == [("ann", LATER), ("ann", NOW)]
    assert Layer.objects.get().description == "All prompts"


def test_every_change_of_the_holdout_is_in_its_audit() -> None:
    for share_bp in (0, 250, 250, 100):
        layers.hold_out(share_bp, by=None, now=NOW, reason="é" * 3_000)
    shares = [(before["share_bp"], after["share_bp"]) for *_, before, after, _ in told()]
    assert shares == [(0, 0), (0, 250), (250, 100)]
    assert {len(reason) for *_, reason in told()} == {2_000}


@pytest.mark.django_db(transaction=True)
def test_holdout_that_two_change_at_once_has_an_audit_without_gaps() -> None:
    barrier = Barrier(4)

    def change(share_bp: int) -> None:
        barrier.wait(10)
        layers.hold_out(share_bp, by=None, now=NOW)
        connection.close()

    threads = [Thread(target=change, args=[share_bp]) for share_bp in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    shares = [(before["share_bp"], after["share_bp"]) for *_, before, after, _ in told()]
    assert [before for before, _ in shares] == [0, *(after for _, after in shares[:-1])]
    assert (len(shares), Holdout.objects.get().share_bp) == (4, shares[-1][1])
