"""How useful alerts were, by monitor and by channel, and what could be done about noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone

from monitoring.admin.opening import Admin, render, require
from monitoring.models import Monitor
from monitoring.reading import usefulness
from monitoring.reading.noise import Judgements, Suggestion
from monitoring.reading.usefulness import Verdict
from triageops import charts, wording

MOST_DRAWN = 30


@dataclass(frozen=True)
class Told:
    """A verdict in words."""

    verdict: Verdict
    sentence: str
    precision: str
    suggestion: Suggestion | None

    @property
    def judged(self) -> int:
        return self.verdict.judgements.judged


def told_of(verdict: Verdict) -> Told:
    return Told(verdict, sentence_of(verdict), precision_of(verdict.judgements), verdict.suggestion)


def sentence_of(verdict: Verdict) -> str:
    judgements, n = verdict.judgements, verdict.incident_count
    if not n:
        return f"It told of nothing in {usefulness.DAYS} days."
    if not judgements.deciding:
        known = f" {judgements.expected} were expected." if judgements.expected else ""
        return f"Nobody said yet whether its {wording.plural(n, 'incident')} of {usefulness.DAYS} days were useful.{known}"
    return (
        f"{judgements.useful} of {judgements.deciding} judged incidents were useful: {precision_of(judgements)}. "
        f"{wording.plural(n, 'incident')} in {usefulness.DAYS} days, {judgements.judged} judged."
    )


def precision_of(judgements: Judgements) -> str:
    found = judgements.interval
    if found is None:
        return wording.MISSING
    return f"{wording.share(judgements.precision, 2)} ({wording.number(100 * found.low, 2)} to {wording.share(found.high, 2)})"


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    require(request, "monitoring.view_incident", "monitoring.change_incident")
    found = usefulness.read(timezone.now())
    return render(
        admin,
        request,
        "usefulness",
        "Usefulness of alerts",
        sentence=_sentence(found),
        tone="look" if any(one.suggestion for one in (*found.monitors, *found.channels)) else "neutral",
        found=found,
        chart=_chart(found),
        lists=[
            ("Monitors", "admin:monitoring_monitor_change", [told_of(one) for one in found.monitors]),
            ("Channels, by what was delivered to them", "admin:monitoring_channel_change", [told_of(one) for one in found.channels]),
        ],
        days=usefulness.DAYS,
    )  # fmt: skip


def of_monitor(request: HttpRequest, monitor_id: int) -> HttpResponse:
    """A part of the monitor's page, for its script: the page does not wait."""
    require(request, "monitoring.view_monitor", "monitoring.change_monitor")
    told = told_of(usefulness.of_monitor(get_object_or_404(Monitor, pk=monitor_id), timezone.now()))
    return TemplateResponse(request, "monitoring/usefulness_told.html", {"told": told})


def _sentence(found: usefulness.Usefulnesses) -> str:
    total = found.total
    if not found.incident_count:
        return f"Nobody was told of anything in {usefulness.DAYS} days."
    if not total.deciding:
        return f"{wording.plural(found.incident_count, 'incident')} in {usefulness.DAYS} days, and nobody said yet whether they were useful."
    noisy = sum(one.suggestion is not None for one in (*found.monitors, *found.channels))
    then = f"; {wording.plural(noisy, 'suggestion')} below" if noisy else ""
    return f"{total.useful} of {total.deciding} judged incidents were useful: {precision_of(total)}{then}."


def _conclusion(judged: Sequence[Verdict]) -> str:
    """“Useful share from 33 % (“disk”) to 95 % (“errors”)”."""
    ordered = sorted(judged, key=lambda one: one.judgements.precision or 0.0)
    low, high = ordered[0], ordered[-1]
    share = wording.share(low.judgements.precision, 2)
    if low.judgements.precision == high.judgements.precision:
        return f"{share} of judged incidents were useful, whoever told of them (bar = 95 %)"
    most = wording.share(high.judgements.precision, 2)
    return f"Useful share from {share} (“{low.name}”) to {most} (“{high.name}”; bar = 95 %)"


def _chart(found: usefulness.Usefulnesses) -> charts.Chart:
    rows = [*((one, "monitor") for one in found.monitors), *((one, "channel") for one in found.channels)]
    judged = [(one, kind) for one, kind in rows if one.judgements.deciding][:MOST_DRAWN]
    if not judged:
        title = "Share of judged incidents that were useful"
        empty = "The share of useful incidents will appear here once somebody has judged one, on its page."
        return charts.Chart(key="precision", title=title, empty=empty, size="small")
    title = _conclusion([one for one, _ in judged])
    names = [f"{one.name} ({kind})" for one, kind in reversed(judged)]
    bars, points = [], []
    for place, (one, _) in enumerate(reversed(judged)):
        interval = one.judgements.interval
        bars.append([interval.low if interval else 0.0, interval.high if interval else 1.0, place])
        points.append([one.judgements.precision, place])
    colour = {"color": "var(--to-control)"}
    options = {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 16, "bottom": 8, "containLabel": True},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "value", "min": 0, "max": 1, "interval": 0.25},
        "yAxis": {"type": "category", "data": names, "axisLabel": {"width": 110, "overflow": "break", "lineHeight": 14}},
        "series": [
            {
                "type": "custom", "renderItem": "whisker", "data": bars, "silent": True, "itemStyle": colour,
                "encode": {"x": [0, 1], "y": 2}, "tooltip": {"show": False},
            },
            {"type": "scatter", "symbolSize": 10, "data": points, "encode": {"x": 0, "y": 1}, "itemStyle": colour},
        ],
    }  # fmt: skip
    cells = tuple((f"{one.name} ({kind})", precision_of(one.judgements)) for one, kind in judged)
    return charts.Chart(
        key="precision", title=title, options=options, columns=("", "Useful, 95 % interval"), rows=cells, style="share",
        unit="useful / (useful + noise)", size="small" if len(judged) < 6 else "medium",
        description=". ".join(f"{name}: {text}" for name, text in cells),
    )  # fmt: skip
