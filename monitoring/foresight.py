"""A look ahead: what a monitor that does not exist yet would be fed with, and roughly what it would see.

Rough, because nothing was learnt: buckets are taken to differ little, and the reference to be as large as what is there.
The backtest says it properly.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings

from feedback.models import FeedbackRollup, FeedbackType
from feedback.stats import (
    EVERY_RESPONSE,
    Cut,
    SeriesPoint,
    Window,
    feedback_buckets,
    metric_series,
    shares_over_time,
)
from monitoring import sources
from monitoring.models import Monitor
from monitoring.monitors.kind import Metric
from monitoring.monitors.usual import LEAST_RECORDS
from monitoring.monitors.watch import ANOMALY_SHARE
from monitoring.slices import ALL
from triageops import wording
from triageops.stats import sensitivity
from triageops.stats.margins import Z, rate_bounds
from triageops.stats.variance import count_dispersion

SHOWN = timedelta(days=7)
LEAST_DAYS = 2.0
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600
_POINTS = 180
"""Of seven days by the hour; with fewer the next longer step would be taken."""
_ICC = 0.001
"""How alike the records of one bucket are, until it is learnt."""
_SHARES = {"feedback:negative": FeedbackType.NEGATIVE.value, "feedback:coverage": FeedbackRollup.ANY}


@dataclass(frozen=True)
class Preview:
    """The last seven days by the hour. points: of the mean, or of the count for a volume; None in hours without.

    ripe_n: of feedback, how many came early enough to be watched, which those of imported responses do not.
    """

    points: tuple[float | None, ...] = ()
    mean: float | None = None
    n: int = 0
    hour_count: int = 0
    ripe_n: int | None = None

    @property
    def n_a_day(self) -> float:
        """Over the days that have any."""
        return self.n / self.days if self.hour_count else 0.0

    @property
    def days(self) -> float:
        return max(self.hour_count, 1) / 24


def previews(keys: Iterable[str], now: datetime) -> dict[str, Preview]:
    """Of sources, at the price of four queries whatever their number."""
    wanted = list(dict.fromkeys(keys))
    window, whole = Window.last(SHOWN, now), Cut({})
    plain = [key for key in wanted if key != sources.VOLUME and not key.startswith(sources.FEEDBACK)]
    series = metric_series([EVERY_RESPONSE, *plain], window, whole, _POINTS)
    responses = series[EVERY_RESPONSE]
    found = {key: _preview(series[key], window) for key in plain}
    if sources.VOLUME in wanted:
        counts = [SeriesPoint(one.at, (), one.n, float(one.n), None, None) for one in responses]
        drawn = _preview(counts, window)
        total = sum(one.n for one in responses)
        found[sources.VOLUME] = Preview(drawn.points, total / max(1, len(counts)), total, drawn.hour_count)
    if any(key in _SHARES for key in wanted):
        shares = shares_over_time(window, whole, list(_SHARES.values()), responses, _POINTS)
        ripe = sum(one.n for one in _feedback("negative", window, now))
        found |= {
            key: replace(_preview(shares[name], window), ripe_n=ripe)
            for key, name in _SHARES.items()
            if key in wanted
        }
    if "feedback:rating" in wanted:
        found["feedback:rating"] = _preview(_feedback("rating", window, now), window)
    return found


def _feedback(kind: sources.FeedbackKind, window: Window, now: datetime) -> list[SeriesPoint]:
    """By bucket, as a monitor sees it; several of one hour are merged by who draws them."""
    age = sources.FEEDBACK_MATURITY
    found = feedback_buckets(
        kind,
        where={},
        split_by=[],
        after=window.start + age,
        until=now,
        not_before=window.start,
        maturity=age,
    )
    return [SeriesPoint(one.at, (), one.moments.n, one.moments.mean, None, None) for one in found]


def _preview(points: Sequence[SeriesPoint], window: Window) -> Preview:
    start = window.start.timestamp() // _HOUR_SECONDS
    sums: dict[int, tuple[int, float]] = {}
    for one in points:
        if one.n and one.mean is not None:
            hour = int(one.at.timestamp() // _HOUR_SECONDS - start)
            n, total = sums.get(hour, (0, 0.0))
            sums[hour] = (n + one.n, total + one.n * one.mean)
    n = sum(count for count, _ in sums.values())
    length = math.ceil((window.end - window.start).total_seconds() / _HOUR_SECONDS)
    drawn = tuple(sums[hour][1] / sums[hour][0] if hour in sums else None for hour in range(length))
    return Preview(drawn, sum(total for _, total in sums.values()) / n if n else None, n, len(sums))


def sight(monitor: Monitor, metric: Metric, preview: Preview, known_n: int) -> str:
    """A sentence. known_n: records that a reference could be learnt from now. monitor: with its share of the budget."""
    missing = _missing_days(preview, known_n)
    if missing:
        return f"Needs {wording.plural(missing, 'more day')} of data before it can be learnt what is usual."
    checks = _DAY_SECONDS / settings.BUCKET_SECONDS
    budget = monitor.budget_per_second(ALL) * (1 - ANOMALY_SHARE) * settings.BUCKET_SECONDS
    n = sensitivity.effective_n(preview.n_a_day / checks, icc=_ICC)
    if monitor.kind == "volume":
        return _volume_sight(preview, checks, budget)
    if monitor.kind == "triage_error":
        return "The backtest says what it sees: it depends on how rare under-triage is."
    if monitor.kind == "rate":
        return _rate_sight(preview, metric, checks, budget, n, known_n)
    shift = sensitivity.smallest_shift(
        checks,
        budget_per_check=budget,
        margin=max(0.1, Z / math.sqrt(known_n)),
        n_eff=n * sensitivity.RANK_EFFICIENCY,
    )
    return f"Would see shifts of {wording.number(shift, 2)} sd and more within a day."


def _missing_days(preview: Preview, known_n: int) -> int:
    records = (LEAST_RECORDS - known_n) / preview.n_a_day if preview.n_a_day else 0.0
    return max(0, math.ceil(max(records, LEAST_DAYS - preview.days)))


def _rate_sight(
    preview: Preview, metric: Metric, checks: float, budget: float, n: float, known_n: int
) -> str:
    edge = 1 / (known_n + 2)
    usual = min(1 - edge, max(edge, preview.mean or 0.0))
    bounds = rate_bounds(usual, n_eff=float(known_n), ratio=0.1)
    for side, bound in (("up", bounds.high), ("down", bounds.low)):
        if metric.worse not in {side, "both"} or not 0 < bound < 1:
            continue
        ratio = sensitivity.smallest_rate_ratio(
            checks, budget_per_check=budget, rate=usual, bound=bound, n_eff=n
        )
        if ratio is not None:
            verb = "rise" if side == "up" else "fall"
            return (
                f"Would see a {verb} from {wording.share(preview.mean)} to {wording.share(ratio * usual, 2)} or "
                f"{'more' if side == 'up' else 'less'} within a day."
            )
    return "There are too few records a day to see any change of it within a day; within weeks it may."


def _volume_sight(preview: Preview, checks: float, budget: float) -> str:
    """A fall, which is what an outage looks like; within an hour."""
    hourly = np.array([round(one or 0) for one in preview.points[:-1]])
    # A few hours that were like no others must not hide what all others are like.
    hourly = np.minimum(hourly, round(float(np.quantile(hourly, 0.97))))
    dispersion = count_dispersion(hourly, np.arange(hourly.size) % 24) or 0.0
    usual = preview.n_a_day / checks
    bound = 0.8 * usual
    hour = _HOUR_SECONDS / settings.BUCKET_SECONDS
    needed = sensitivity.needed_growth(hour, budget_per_check=budget)
    for share in (0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0):
        if sensitivity.count_growth(share * usual, bound=bound, dispersion=dispersion) >= needed:
            lost = "silence" if not share else f"a fall by {wording.share(1 - share, 2)}"
            return f"Would see {lost} or more within an hour.".replace("silence or more", "silence")
    return "So few come that even silence takes longer than an hour to be told from chance."
