"""The primary metric by segment: an attribute of the unit's first response, corrected for the number of segments."""

from typing import Any

from django.conf import settings

from experiments.analysis import inference
from experiments.analysis.means import by_key
from experiments.analysis.question import Question, is_proportion
from experiments.analysis.sums import Measure, Sums, sums
from triageops.stats.compare import Contrast, contrast, estimate
from triageops.stats.segments import heterogeneity, simpson
from triageops.stats.sequential import confidence_sequence

MOST = 12
"""Segments of one attribute that are shown; the smaller ones are left out, and counted."""


def segments(asked: Question, primary: Measure) -> list[dict[str, Any]]:
    """For each attribute its segments with the effect of every variant; explains, and claims nothing."""
    metric = next(metric for metric in asked.metrics if metric.key == primary.key)
    strata = asked.strata
    found = []
    for attribute in settings.SLICE_ATTRIBUTES:
        by_value = sums(asked.experiment.pk, asked.phase, [primary], now=asked.now, attribute=attribute)
        named = {value: part for value, part in by_value.items() if value}
        if not named:
            continue
        largest = sorted(named, key=lambda value: -named[value].unit_count)[:MOST]
        for variant in asked.treatments:
            rows, pairs = [], []
            for value in sorted(largest):
                asked.strata = named[value].epochs
                compared = _contrast(asked, primary, named[value], variant.key)
                ready = compared is not None and inference.is_ready(
                    compared, is_proportion=is_proportion(metric)
                )
                row: dict[str, Any] = {"value": value, "units": named[value].unit_count}
                if compared is not None and ready:
                    row |= _interval(asked, metric.key, variant.key, compared, len(largest))
                    pairs.append((compared.effect, compared.se))
                rows.append(row)
            found.append(
                {
                    "attribute": attribute,
                    "variant": variant.key,
                    "left_out": len(named) - len(largest),
                    "segments": rows,
                    **_together(asked, metric.key, variant.key, pairs),
                }
            )
    asked.strata = strata
    return found


def _contrast(asked: Question, one: Measure, part: Sums, variant: str) -> Contrast | None:
    estimates = estimate(by_key(asked, one, part), one.kind, is_adjusted=one.is_adjusted)
    return contrast(estimates, variant, asked.control.key)


def _interval(
    asked: Question, metric: str, variant: str, compared: Contrast, segment_count: int
) -> dict[str, Any]:
    """At the error rate of one comparison divided by the number of segments, tuned as the whole is."""
    plan = asked.plans.get((metric, variant))
    numbers: dict[str, Any] = {
        "effect": compared.effect,
        "se": compared.se,
        "n_treatment": compared.n_treatment,
        "n_control": compared.n_control,
    }
    if plan is None:
        return numbers
    alpha = plan.alpha / segment_count
    tau2 = plan.tau2 * segment_count
    se = max(inference.tested_se(compared), compared.se)
    interval = confidence_sequence(compared.effect, se, tau2, alpha)
    return numbers | {"low": interval.low, "high": interval.high}


def _together(asked: Question, metric: str, variant: str, pairs: list[tuple[float, float]]) -> dict[str, Any]:
    differ = (
        heterogeneity([effect for effect, _ in pairs], [se for _, se in pairs]) if len(pairs) > 1 else None
    )
    overall = next(
        (row.effect for row in asked.rows if row.metric == metric and row.variant == variant), None
    )
    return {
        "is_simpson": overall is not None and len(pairs) > 1 and simpson(overall, pairs),
        "heterogeneity_p": None if differ is None else differ.p_value,
    }
