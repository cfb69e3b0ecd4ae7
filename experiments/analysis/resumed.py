"""Guardrails that halted the experiment before: known harm that a person accepted, watched anew from the resume on.

What was known at the resume must not halt at every look, and must not blind the guardrail either. So it halts again for
two reasons: units exposed since the resume show harm by themselves, or the harm among all units is surely larger than the
one that was accepted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from experiments.analysis import means, tails
from experiments.analysis.question import Estimate, Place, Question
from experiments.analysis.sums import Measure, Sums
from experiments.models import EpochKind, ExperimentMetric, MetricType, Role

Counts = Mapping[int, Mapping[int, int]]

SHOWN = ("n", "effect", "low", "high", "log_e")


@dataclass(frozen=True)
class Accepted:
    """effect: what the last halt rested on. epoch: the first one after the resume; None when there is none to tell by."""

    effect: float | None
    epoch: int | None


def accepted(asked: Question) -> dict[Place, Accepted]:
    """The halts of this phase that a person went on after, the last one of each guardrail and variant."""
    if not asked.experiment.is_running:
        return {}
    keys = {metric.name: metric.key for metric in asked.metrics}
    began_at = min(epoch.started_at for epoch in asked.epochs if epoch.phase == asked.phase)
    halts = asked.experiment.events.filter(action="halt", at__gte=began_at).order_by("at", "id")
    found = {}
    for at, evidence in halts.values_list("at", "evidence"):
        resumed = [
            epoch.number
            for epoch in asked.epochs
            if epoch.kind == EpochKind.RESUME and epoch.started_at >= at
        ]
        metric = evidence.get("metric_key") or keys.get(evidence.get("metric"), "")
        found[metric, evidence.get("variant", "")] = Accepted(
            evidence.get("effect"), resumed[0] if resumed else None
        )
    return found


def watch_anew(asked: Question, rows: Sequence[Estimate], named: Mapping[str, Measure], found: Sums) -> None:
    """Turns the verdicts of guardrails that halted before: harm only if it is new, and `accepted` where it is known."""
    metrics = {metric.key: (slot, metric) for slot, metric in enumerate(asked.metrics)}
    places = {(row.metric, row.variant): row for row in rows}
    for place, known in accepted(asked).items():
        row = places.get(place)
        if row is None or metrics[row.metric][1].role != Role.GUARDRAIL:
            continue
        slot, metric = metrics[row.metric]
        since = None if known.epoch is None else _since(asked, metric, slot, known.epoch, named, found)
        later = next((one for one in since or () if one.variant == row.variant), None)
        row.details["accepted"] = known.effect
        if later is not None:
            row.details["since_resume"] = {name: asdict(later)[name] for name in SHOWN}
        is_new = later is not None and later.verdict == "harm"
        if is_new or _is_larger(row, metric, known):
            row.details["is_new_among"] = "since" if is_new else "all"
            row.verdict = "harm"
        elif row.verdict == "harm":
            row.verdict = "accepted"


def _is_larger(row: Estimate, metric: ExperimentMetric, known: Accepted) -> bool:
    """The bound holds at all looks together, so this claims no more than the first halt did."""
    at_least = row.details.get("harm_at_least")
    if at_least is None or known.effect is None:
        return False
    return bool(at_least > max(metric.margin, -known.effect if metric.is_higher_better else known.effect))


def _since(
    asked: Question,
    metric: ExperimentMetric,
    slot: int,
    epoch: int,
    named: Mapping[str, Measure],
    found: Sums,
) -> Sequence[Estimate]:
    """The same estimates, with the plans that are fixed, from the epochs after the resume alone."""
    kept = [position for position, number in enumerate(found.epochs) if number >= epoch]
    if not kept:
        return ()
    part = Sums(
        tuple(found.epochs[position] for position in kept),
        {
            key: {arm: tuple(cells[position] for position in kept) for arm, cells in of.items()}
            for key, of in found.of.items()
        },
        found.unit_count,
    )
    alone = replace(asked, former={}, new_plans=[], strata=part.epochs, rows=[])
    if metric.kind == MetricType.QUANTILE:
        return tails.estimates_of(alone, metric, slot, part.units())
    return means.estimates_of(alone, metric, named[metric.key], part)
