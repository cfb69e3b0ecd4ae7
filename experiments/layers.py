"""Who may take part at all: the global holdout, and slots of a layer, as an experiment has them from its start."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent
from experiments.models import Experiment, Holdout, Layer, LayerSlot
from triageops.rest import Conflict


class LayerFull(Conflict):
    """The layer has less room than the experiment asks for."""

    type = "layer-full"
    title = "The layer has not enough room"


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
