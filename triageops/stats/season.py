"""What is usual at this hour of the week? Slot means, drawn towards the common mean as far as they are noise.

A slot is an hour of local wall-clock time, since habits follow the wall clock: an hour that a change to summer time
skips has no buckets that day, one that it repeats has twice as many, and nothing else moves. The zone is a parameter
(zoneinfo.ZoneInfo, or a fixed offset); slots are numbers, so that every kernel also takes slots of other kinds.

The mean x_s of slot s has a known variance V_s = sigma^2 / N_s + tau^2 sum n_t^2 / N_s^2 (variance.py) around its
truth, and the truths have variance tau_slot^2 around m. Then

    mu_s = B x_s + (1 - B) m,   B = tau_slot^2 / (tau_slot^2 + V_s),

which is (n x_s + kappa m) / (n + kappa) with kappa = sigma^2 / tau_slot^2 and n = sigma^2 / V_s, the number of records
when tau = 0. Without a season tau_slot^2 is near 0 and all slots get m: nothing is lost by asking for one.
Sources: Efron, Morris (1973); DerSimonian, Laird (1986) for tau_slot^2. The tests' reference values: simulation,
exact fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triageops.stats.buckets import Buckets
from triageops.stats.variance import Components, components

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Season = Literal["hour_of_week", "hour_of_day_weekend", "hour_of_day", "none"]

SLOT_COUNTS: dict[Season, int] = {
    "hour_of_week": 168,
    "hour_of_day_weekend": 48,
    "hour_of_day": 24,
    "none": 1,
}

# No zone changes its offset but at a whole quarter of an hour.
_QUARTER_SECONDS = 900
_LEAST_DAYS: dict[Season, int] = {"hour_of_week": 26, "hour_of_day_weekend": 12}
_LEAST_DATES = 4
_COVERED_SHARE = 0.9


def slot_index(start: ArrayLike, season: Season, zone: tzinfo) -> IntArray:
    """Slot of each time (unix seconds, any shape), from 0 on: Monday 0:00 to 0:59 local time is slot 0.

    hour_of_week: 24 weekday + hour, below 168. hour_of_day_weekend: the hour, and 24 more on Saturday and Sunday.
    hour_of_day: the hour. none: 0. A bucket belongs to the slot that it begins in.
    """
    times = np.asarray(start, dtype=np.int64)
    if season not in SLOT_COUNTS:
        raise ValueError(f"season {season!r}")
    if season == "none":
        return np.zeros(times.shape, dtype=np.int64)
    weekday, hour, _ = _local(times, zone)
    if season == "hour_of_week":
        return 24 * weekday + hour
    return hour if season == "hour_of_day" else hour + np.where(weekday >= 5, 24, 0)


def slot_of(at: float, season: Season, zone: tzinfo) -> int:
    """slot_index of one time, some ten times as fast."""
    if season == "none":
        return 0
    moment = datetime.fromtimestamp(at // _QUARTER_SECONDS * _QUARTER_SECONDS, tz=zone)
    if season == "hour_of_week":
        return 24 * moment.weekday() + moment.hour
    return moment.hour + (24 if season == "hour_of_day_weekend" and moment.weekday() >= 5 else 0)


def date_and_hour(start: ArrayLike, zone: tzinfo) -> tuple[IntArray, IntArray]:
    """Number of the local date, which rises by 1 a day, and hour of each time, in the shape of start."""
    _, hour, date = _local(np.asarray(start, dtype=np.int64), zone)
    return date, hour


def chosen(start: ArrayLike, zone: tzinfo) -> Season:
    """The finest season that a reference with records in buckets that begin at start (T,) can teach.

    hour_of_week from 4 weeks on, hour_of_day_weekend from 2 on: at least 26 (12) days from the first date to the last, both
    counted, as from the first Monday to the last Friday; and slots seen on at least 4 dates hold at least 90 % of the
    buckets. Otherwise none; season_evidence.py says whether hours of the day are worth learning then. Hours in which nothing ever
    happens do no harm, as only buckets with records count.
    """
    times = np.asarray(start, dtype=np.int64)
    if times.ndim != 1:
        raise ValueError("expected a list of starts")
    if not times.size:
        return "none"
    dates = _local(times, zone)[2]
    for season, least in _LEAST_DAYS.items():
        slots = slot_index(times, season, zone)
        seen = np.bincount(np.unique(np.stack([slots, dates]), axis=1)[0], minlength=SLOT_COUNTS[season])
        is_long = np.ptp(dates) + 1 >= least
        if is_long and (seen[slots] >= _LEAST_DATES).mean() >= _COVERED_SHARE:
            return season
    return "none"


@dataclass(frozen=True, slots=True, eq=False)
class SlotMeans:
    """mean, error: (S,), mu_s and its standard error, in the values' unit.

    grand: m. spread: tau_slot^2, >= 0. error is that of mu_s as a guess of the slot's truth, on
    average over slots: sqrt(B V_s + (1 - B)^2 Var m). A slot without buckets has mean m and error sqrt(tau_slot^2 + Var m).
    """

    mean: FloatArray
    error: FloatArray
    grand: FloatArray
    spread: FloatArray


def slot_means(
    buckets: Buckets,
    slots: ArrayLike,
    slot_count: int,
    *,
    learned: Components | None = None,
    inflation: float = 1.0,
) -> SlotMeans | None:
    """Shrunk means of all slots; None without records or components.

    slots: (T,) whole numbers in [0, slot_count). learned: of these buckets and slots (default: computed). inflation: >= 1,
    of dependence between buckets (dependence.py); multiplies V_s, as far as a slot's visits have that many buckets in a row.
    """
    index = _checked_slots(slots, buckets.n.size, slot_count)
    known = components(buckets, index) if learned is None else learned
    if known is None:
        return None
    n = buckets.n.astype(np.float64)
    records = np.bincount(index, n, slot_count)
    seen = records > 0
    size = np.where(seen, records, 1.0)
    mean = np.zeros(slot_count)
    for _ in range(2):  # the second pass repairs the rounding of the first
        mean = mean + np.bincount(index, n * (buckets.mean - mean[index]), slot_count) / size
    variance = known.within / size + known.between * np.bincount(index, n**2, slot_count) / size**2
    return _shrunk(mean, _capped(inflation, index, slot_count) * variance, seen, records.astype(np.float64))


def slot_counts(
    counts: ArrayLike, slots: ArrayLike, slot_count: int, *, dispersion: float, inflation: float = 1.0
) -> SlotMeans | None:
    """Expected count of a bucket in each slot, shrunk; None without buckets.

    counts: (T,), how much arrived, in the order of time, empty buckets included. dispersion: alpha of variance.count_dispersion. V_s =
    (mu + alpha mu^2) / T_s, with one event more at the common mean in mu, so that a slot where nothing arrived yet
    is not certain to be empty.
    """
    y = np.asarray(counts, dtype=np.float64)
    index = _checked_slots(slots, y.size, slot_count)
    if not ((y >= 0) & np.isfinite(y)).all() or not dispersion >= 0:
        raise ValueError("counts and dispersion need to be 0 or more")
    if not y.size:
        return None
    buckets = np.bincount(index, minlength=slot_count)
    total = np.bincount(index, y, slot_count)
    size = np.maximum(buckets, 1)
    common = y.mean() or 1 / y.size
    guess = (total + 1) / (size + 1 / common)
    variance = (guess + dispersion * guess**2) / size
    return _shrunk(
        total / size,
        _capped(inflation, index, slot_count) * variance,
        buckets > 0,
        buckets.astype(np.float64),
    )


def _shrunk(
    mean: FloatArray, variance: FloatArray, seen: NDArray[np.bool_], size: FloatArray
) -> SlotMeans | None:
    if not seen.any():
        return None
    x, v = mean[seen], variance[seen]
    if not v.all():  # nothing varies within slots: they are what they are
        m = float((size[seen] * x).sum() / size[seen].sum())
        spread = float(((x - m) ** 2).mean())
        error = np.where(seen, 0.0, np.sqrt(spread))
        return SlotMeans(np.where(seen, mean, m), error, np.asarray(m), np.asarray(spread))
    w = 1 / v
    centre = (w * x).sum() / w.sum()
    scale = w.sum() - (w**2).sum() / w.sum()
    excess = (w * (x - centre) ** 2).sum() - (x.size - 1)
    spread = max(0.0, float(excess / scale)) if x.size > 1 else 0.0
    w = 1 / (v + spread)
    m = float((w * x).sum() / w.sum())
    variance_m = float(1 / w.sum())
    pull = np.where(seen, spread / (spread + np.where(seen, variance, 1.0)), 0.0)
    own = np.where(seen, pull * variance, spread)
    shrunk = np.where(seen, m + pull * (mean - m), m)
    return SlotMeans(shrunk, np.sqrt(own + (1 - pull) ** 2 * variance_m), np.asarray(m), np.asarray(spread))


def _capped(inflation: float, index: IntArray, slot_count: int) -> FloatArray:
    """Per slot, at most its buckets per visit: what is common to a day inflates an hour by its own buckets only."""
    if not inflation >= 1:
        raise ValueError(f"inflation {inflation}")
    begins = index[np.flatnonzero(np.diff(index, prepend=-1))]
    visits = np.maximum(np.bincount(begins, minlength=slot_count), 1)
    return np.clip(np.bincount(index, minlength=slot_count) / visits, 1.0, inflation)


def _checked_slots(slots: ArrayLike, size: int, slot_count: int) -> IntArray:
    index = np.asarray(slots, dtype=np.int64)
    if index.shape != (size,) or (size and (index.min() < 0 or index.max() >= slot_count)):
        raise ValueError(f"expected {size} slots in [0, {slot_count})")
    return index


def _local(times: IntArray, zone: tzinfo) -> tuple[IntArray, IntArray, IntArray]:
    """Weekday (Monday is 0), hour and a number of the date, in the zone."""
    quarters, index = np.unique(times // _QUARTER_SECONDS, return_inverse=True)
    moments = [datetime.fromtimestamp(quarter * _QUARTER_SECONDS, tz=zone) for quarter in quarters.tolist()]
    parts = np.array(
        [(moment.weekday(), moment.hour, moment.toordinal()) for moment in moments], dtype=np.int64
    ).reshape(-1, 3)
    weekday, hour, date = parts[index.reshape(times.shape)].transpose(-1, *range(times.ndim))
    return weekday, hour, date
