"""The plots of an experiment's page, from its results (experiments/results.py)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from experiments import planning
from experiments.analysis.wording import style_of
from experiments.models import ExperimentMetric, Role
from triageops import charts
from triageops.charts import Effect, Point, Series
from triageops.wording import share

Found = Mapping[str, Any]


def control_of(found: Found) -> str:
    return next((one["key"] for one in found["variants"] if one["is_control"]), "")


def forest(found: Found) -> charts.Chart:
    """All effects side by side: each as a share of the control's value, turned so that better is to the right.

    An effect and its interval are divided by the same number, so an interval leaves out 0 here exactly when it does in
    the metric's own unit, which the table gives.
    """
    rows, cells = [], []
    for metric in found["metrics"]:
        control = next((arm for arm in metric["arms"] if arm["is_control"]), None)
        sign = 1 if metric["better"] == "higher" else -1
        role = {"primary": " (primary)", "guardrail": " (guardrail)"}.get(metric["role"], "")
        for arm in metric["arms"]:
            if arm["is_control"]:
                continue
            label = f"{metric['name']}{role} · {arm['variant']}"
            # Where the control's value is 0, the variant's own stands in: the picture then says “all of it”.
            scale = abs((control and control["value"]) or arm["value"] or 0.0)
            cells.append((label, arm["text"] or "not enough data yet", arm["verdict"]))
            if scale and arm["effect"] is not None and arm["low"] is not None and arm["high"] is not None:
                ends = sorted((sign * arm["low"] / scale, sign * arm["high"] / scale))
                rows.append(Effect(label, sign * arm["effect"] / scale, ends[0], ends[1], key=arm["variant"]))
            else:
                rows.append(Effect(label, None, None, None))
    chart = charts.intervals(
        key="effects",
        title=f"Effect against the control {control_of(found)}, valid at every look",
        rows=rows,
        control=control_of(found),
        style="share",
        unit="of the control's value, turned so that better is to the right",
        is_higher_better=True,
        size="large" if len(rows) > 6 else "medium",
        empty=_empty(found),
    )
    return charts.replaced(
        chart, columns=("Metric and variant", "Effect (interval)", "Verdict"), rows=tuple(cells)
    )


def _empty(found: Found) -> str:
    if not found["metrics"]:
        return "The experiment has no metric, so there is nothing to compare."
    return f"Not enough data yet. {found['decision']['sentence']}"


def over_time(found: Found, metrics: Sequence[ExperimentMetric]) -> charts.Chart:
    """The confidence sequence of the primary metric at every look."""
    primary = next((metric for metric in metrics if metric.role == Role.PRIMARY), None)
    name = primary.name if primary else "the primary metric"
    by_variant: dict[str, list[Point]] = {}
    for line in found["history"]:
        by_variant.setdefault(line["variant"], []).append(
            Point(
                datetime.fromisoformat(line["at"]),
                line["effect"],
                line["low"],
                line["high"],
                n=line["n"],
            )
        )
    style = style_of(primary) if primary else "number"
    return charts.lines(
        key="over-time",
        title=f"Effect on {name} at every look",
        series=[Series(variant, points) for variant, points in sorted(by_variant.items())],
        style=style,
        unit="difference from the control, with its interval",
        control=control_of(found),
        levels=[charts.Level(0.0, "no difference")],
        empty="The effect at every look will be drawn here, so that nobody has to remember what it was last week.",
    )


def traffic(found: Found) -> charts.Chart:
    """Units of each variant in each epoch, beside what its weights promise."""
    epochs = sorted({line["epoch"] for line in found["traffic"]})
    keys = [one["key"] for one in found["variants"]]
    of = {(line["epoch"], line["variant"]): line["units"] for line in found["traffic"]}
    total = sum(of.values())
    return charts.bars(
        key="traffic",
        title="Units exposed, per variant and epoch",
        labels=[f"epoch {epoch}" for epoch in epochs],
        groups={key: [float(of.get((epoch, key), 0)) for epoch in epochs] for key in keys} if total else {},
        unit="units",
        control=control_of(found),
        empty="Nobody was exposed yet: a unit is exposed when its first response is recorded.",
        size="small",
    )


def segment_charts(found: Found, metrics: Sequence[ExperimentMetric]) -> list[charts.Chart]:
    """The primary metric by segment, one plot for each attribute and variant."""
    primary = next((metric for metric in metrics if metric.role == Role.PRIMARY), None)
    if primary is None:
        return []
    return [
        charts.intervals(
            key=f"segment-{number}",
            title=f"{primary.name} of {one['variant']} by {one['attribute']}{_warning(one)}",
            rows=[
                Effect(
                    f"{part['value']} ({part['units']})",
                    part.get("effect"),
                    part.get("low"),
                    part.get("high"),
                    key=one["variant"],
                )
                for part in one["segments"]
            ],
            style=style_of(primary),
            is_higher_better=primary.is_higher_better,
            size="small" if len(one["segments"]) < 6 else "medium",
            empty="No segment has enough units yet.",
        )
        for number, one in enumerate(found["segments"])
    ]


def _warning(one: Mapping[str, Any]) -> str:
    if one["is_simpson"]:
        return ": Simpson's paradox, the whole points the other way than its parts"
    p = one["heterogeneity_p"]
    return f": the segments differ (p = {share(p, 2)})" if p is not None and p < 0.01 else ""


def power_curve(found: planning.Plan, metric: ExperimentMetric) -> charts.Chart:
    """The smallest effect that each design can show, by how long it runs."""
    designs = {
        "one look at the end": [point.effects.fixed for point in found.curve],
        "group sequential": [point.effects.group_sequential for point in found.curve],
        "always valid": [point.effects.always_valid for point in found.curve],
    }
    return charts.bars(
        key="power",
        title=f"Smallest difference of {metric.name} that is found with {share(found.power)} power",
        labels=[f"{point.days} d" for point in found.curve],
        groups=designs,
        style=style_of(metric),
        unit="difference, by days of running",
        is_line=True,
        empty="There are too few units a day to find anything within eight weeks.",
    )
