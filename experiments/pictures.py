"""The plots of an experiment's page, from its results (experiments/results.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from experiments import planning
from experiments.analysis.wording import amount, between, style_of
from experiments.models import Better, ExperimentMetric, Role
from triageops import charts
from triageops.charts import Effect, Point, Series
from triageops.wording import NARROW_SPACE, Style, count, number, share, styled

Found = Mapping[str, Any]

_WAITS = "not enough data yet"


def control_of(found: Found) -> str:
    return next((one["key"] for one in found["variants"] if one["is_control"]), "")


def forest(found: Found) -> charts.Chart:
    """All effects, a panel for each metric: on a scale of its own in the metric's own unit, better to the right."""
    panels, cells = [], []
    for metric in found["metrics"]:
        arms = [arm for arm in metric["arms"] if not arm["is_control"]]
        if not arms:
            continue
        panels.append(_panel(metric, arms))
        cells += [
            (f"{metric['name']}, {arm['variant']}", arm["text"] or _WAITS, arm["verdict"]) for arm in arms
        ]
    are_margins = any(panel.threshold is not None for panel in panels)
    chart = charts.forest(
        key="effects",
        title=f"Effect against the control {control_of(found)}, valid at every look",
        panels=panels,
        control=control_of(found),
        unit="each metric on a scale of its own"
        + ("; the dashed line is its margin: how much worse does not matter" if are_margins else ""),
        size="large" if len(cells) > 2 else "medium",
        empty=_empty(found),
    )
    return charts.replaced(
        chart,
        columns=("Metric and variant", "Effect (interval)", "Verdict"),
        rows=tuple(cells),
        description=". ".join(f"{name}: {text}" for name, text, _ in cells),
    )


def _panel(metric: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> charts.Panel:
    scale: charts.Scale = "points" if metric["style"] == "share" else metric["style"]
    panel = charts.Panel(
        metric["name"],
        [
            Effect(
                arm["variant"],
                arm["effect"],
                arm["low"],
                arm["high"],
                key=arm["variant"],
                text=arm["text"] or _WAITS,
            )
            for arm in arms
        ],
        scale,
        is_higher_better=metric["better"] == Better.HIGHER,
        margin=metric["margin"],
    )
    return replace(panel, note=_note(metric, panel))


def _note(metric: Mapping[str, Any], panel: charts.Panel) -> str:
    said = f"{metric['role']}, {metric['better']} is better"
    if not metric["margin"]:
        return said
    is_far = panel.is_drawn and panel.threshold is None
    margin = _amount(metric["margin"], metric["style"])
    return f"{said}, margin {margin}{' lies beyond this scale' if is_far else ''}"


def _amount(value: float, style: Style) -> str:
    return f"{number(100 * value)}{NARROW_SPACE}points" if style == "share" else styled(value, style)


def _empty(found: Found) -> str:
    if not found["metrics"]:
        return "The experiment has no metric, so there is nothing to compare."
    return f"Not enough data yet. {found['decision']['sentence']}"


def over_time(found: Found, metrics: Sequence[ExperimentMetric]) -> charts.Chart:
    """The confidence sequence of the primary metric at every look."""
    primary = next((metric for metric in metrics if metric.role == Role.PRIMARY), None)
    name = primary.name if primary else "the primary metric"
    style = style_of(primary) if primary else "number"
    is_share = style == "share"
    by_variant: dict[str, list[Point]] = {}
    for line in found["history"]:
        effect, low, high = (
            100 * line[name] if is_share and line[name] is not None else line[name]
            for name in ("effect", "low", "high")
        )
        at = datetime.fromisoformat(line["at"])
        by_variant.setdefault(line["variant"], []).append(Point(at, effect, low, high, n=line["n"]))
    title = f"Effect on {name} at every look"
    if len({point.at for points in by_variant.values() for point in points}) == 1:
        looks = "One look" if found["look_count"] == 1 else "One look with an effect"
        one = f"{looks} so far; the line begins with the second."
        return charts.Chart(key="over-time", title=title, size="small", empty=one)
    return charts.lines(
        key="over-time",
        title=title,
        series=[Series(variant, points) for variant, points in sorted(by_variant.items())],
        style="number" if is_share else style,
        unit=f"difference from the control{' in points' if is_share else ''}, with its interval",
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
            key=f"segment-{position}",
            title=f"{primary.name} of {one['variant']} by {one['attribute']}{_warning(one)}",
            rows=[_segment(part, primary, one["variant"]) for part in one["segments"]],
            style="points" if style_of(primary) == "share" else style_of(primary),
            is_higher_better=primary.is_higher_better,
            control=control_of(found),
            size="small" if len(one["segments"]) < 6 else "medium",
            empty="No segment has enough units yet.",
        )
        for position, one in enumerate(found["segments"])
    ]


def _segment(part: Mapping[str, Any], metric: ExperimentMetric, variant: str) -> Effect:
    effect, low, high = (part.get(name) for name in ("effect", "low", "high"))
    around = between(low, high, metric)
    return Effect(
        f"{part['value']} (n = {count(part['units'])})",
        effect,
        low,
        high,
        key=variant,
        text=f"{amount(effect, metric)} ({around})" if around else _WAITS,
    )


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
