"""The numbers at the top of the home page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from feedback.stats import SeriesPoint
from triageops import charts, wording
from triageops.stats.interval import wilson


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    detail: str
    spark: str
    address: str
    is_of_feedback: bool = False


def _by_time(points: Iterable[SeriesPoint]) -> list[tuple[datetime, float, int]]:
    """(time, sum, n) over all groups."""
    found: dict[datetime, tuple[float, int]] = {}
    for point in points:
        total, n = found.get(point.at, (0.0, 0))
        found[point.at] = (total + (point.mean or 0.0) * point.n, n + point.n)
    return [(at, *found[at]) for at in sorted(found)]


def tiles(
    traffic: Sequence[SeriesPoint],
    covered: Sequence[SeriesPoint],
    positive: Sequence[SeriesPoint],
    cost: Sequence[SeriesPoint],
    span: str,
) -> list[Tile]:
    responses, spent = _by_time(traffic), _by_time(cost)
    count = sum(n for _, _, n in responses)
    priced = sum(n for _, _, n in spent)
    dollars = sum(total for _, total, _ in spent) if priced else None
    errors = sum(total for _, total, _ in responses)
    per_answer = None if dollars is None else dollars / priced
    return [
        Tile(
            f"Responses, {span}",
            wording.count(count),
            f"{wording.share(errors / count, 2)} failed" if count else "",
            # The last step is not over; drawn as a count it would always look like a fall.
            charts.sparkline([n for _, _, n in responses[:-1]]),
            reverse("admin:feedback_response_changelist"),
        ),
        _share_tile("Feedback on responses", covered, reverse("admin:feedback_feedback_changelist")),
        _share_tile(
            "Thumbs-up among feedback",
            positive,
            reverse("admin:feedback_feedback_changelist") + "?feedback_type__exact=positive",
        ),
        Tile(
            f"Cost, {span}",
            wording.money(dollars),
            f"{wording.money(per_answer)} a response" if per_answer is not None else "",
            charts.sparkline([total for _, total, _ in spent[:-1]]),
            reverse("admin:feedback_response_changelist"),
        ),
    ]


def _share_tile(label: str, points: Sequence[SeriesPoint], address: str) -> Tile:
    steps = _by_time(points)
    n = sum(step[2] for step in steps)
    found = round(sum(step[1] for step in steps))
    interval = wilson(found, n) if 0 <= found <= n else None
    return Tile(
        label,
        wording.share(found / n if n else None),
        f"{wording.interval(interval.low, interval.high, 'share')} (95 %)" if interval else "no data yet",
        charts.sparkline([total / count if count else None for _, total, count in steps]),
        address,
        is_of_feedback=True,
    )
