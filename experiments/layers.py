"""Who may take part at all: the global holdout, and slots of a layer, as an experiment has them from its start.

What experiments share is changed here only: a trigger refuses a layer or a holdout that changes without its audit row.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from experiments.assignment import BASIS_POINTS
from experiments.audit import shared_snapshot, write_shared
from experiments.definition import in_percent
from experiments.models import Experiment, Holdout, Layer, LayerSlot
from triageops.rest import Conflict, InvalidInput


class LayerFull(Conflict):
    """The layer has less room than the experiment asks for."""

    type = "layer-full"
    title = "The layer has not enough room"


@transaction.atomic
def save(layer: Layer, *, by: User | None, now: datetime, reason: str = "") -> Layer:
    """Make this layer, or change its description; its key and salt never change. Nothing is written when nothing differs."""
    former = Layer.objects.select_for_update().filter(pk=layer.pk).first()
    before = {} if former is None else shared_snapshot(former)
    if before != shared_snapshot(layer):
        layer.save()
        write_shared(
            layer,
            "create" if former is None else "edit",
            by=by,
            now=now,
            reason=reason,
            before=before,
        )
    return layer


@transaction.atomic
def hold_out(share_bp: int, *, by: User | None, now: datetime, reason: str = "") -> Holdout:
    """Leave this share of all units alone in experiments that start from now on. Raises InvalidInput."""
    if type(share_bp) is not int or not 0 <= share_bp <= BASIS_POINTS:
        raise InvalidInput(
            f"{share_bp!r} basis points are no share.", field="share_bp", fix="Send 0 to 10 000."
        )
    holdout, is_new = Holdout.objects.select_for_update().get_or_create()
    before = shared_snapshot(holdout)
    if is_new or holdout.share_bp != share_bp:
        holdout.share_bp = share_bp
        holdout.save(update_fields=["share_bp", "changed_at"])
        write_shared(holdout, "change_share", by=by, now=now, reason=reason, before=before)
    return holdout


def filters_at_start(experiment: Experiment, now: datetime) -> list[dict[str, Any]]:
    """Takes the experiment's slots; what a unit must have to take part. Raises LayerFull."""
    found = []
    holdout = Holdout.objects.first() if experiment.obeys_holdout else None
    if holdout is not None and holdout.share_bp:
        ranges = [[holdout.share_bp, BASIS_POINTS]] if holdout.share_bp < BASIS_POINTS else []
        found.append({"name": "holdout", "seed": holdout.salt, "ranges": ranges})
    if experiment.layer_id is not None:
        layer = Layer.objects.select_for_update().get(pk=experiment.layer_id)
        ranges = [[first, end] for first, end in _take(layer, experiment, now)]
        found.append({"name": "layer", "seed": layer.salt, "ranges": ranges})
    return found


def gaps(layer: Layer) -> Iterator[tuple[int, int]]:
    """Half-open ranges of slots that no experiment has."""
    at = 0
    for first, end in layer.slots.taken().order_by("first").values_list("first", "end"):
        if at < first:
            yield at, first
        at = end
    if at < BASIS_POINTS:
        yield at, BASIS_POINTS


def _take(layer: Layer, experiment: Experiment, now: datetime) -> list[tuple[int, int]]:
    missing, taken = experiment.layer_share_bp, []
    free = list(gaps(layer))
    for first, gap_end in free:
        end = min(gap_end, first + missing)
        if first < end:
            taken.append((first, end))
            missing -= end - first
    if missing:
        room = in_percent(sum(end - first for first, end in free))
        raise LayerFull(
            f"The layer {layer.key} has {room} left; the experiment asks for {in_percent(experiment.layer_share_bp)}.",
            fix="Take a smaller share, or stop another experiment of the layer.",
        )
    LayerSlot.objects.bulk_create(
        LayerSlot(layer=layer, experiment=experiment, first=first, end=end, taken_at=now)
        for first, end in taken
    )
    return taken


def release(experiment: Experiment, now: datetime) -> None:
    for slot in experiment.layer_slots.taken():
        slot.released_at = max(now, slot.taken_at)
        slot.save(update_fields=["released_at"])
