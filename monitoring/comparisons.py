"""How far the records of now are from the reference: effect sizes, each beside what chance alone makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring import references
from monitoring.chart_cells import ChartCell, chart_cells
from monitoring.freezing import Frozen
from monitoring.gathering import gathered
from monitoring.models import Incident, Monitor, Reference, ReferenceSlice, Signal
from monitoring.monitors import learnt as learnts
from monitoring.monitors.learnt import TriageReference
from monitoring.monitors.reference import RateReference, ScoreReference
from monitoring.monitors.sample import Counts, Sample
from monitoring.slices import OTHER
from triageops.stats.bets_cells import Cells
from triageops.stats.divergence import Divergence, QuantilePair, ks, psi, quantiles, wasserstein
from triageops.stats.histogram import Histogram, bins_named

LENGTH = timedelta(hours=24)
LONGEST = timedelta(days=30)
BY_CHANCE = 0.05
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PSI_CELLS = 20
_RECORDS_PER_CELL = 10


@dataclass(frozen=True)
class Side:
    """Records of one stretch of time; n: those in the bins that are compared."""

    start_at: datetime
    end_at: datetime
    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Comparison:
    """Effect sizes, not tests: alarms come from evidence that piles up, whatever these say.

    psi, ks, wasserstein (in standard deviations of the reference): null_quantile is exceeded by chance alone one time in
    twenty, with records that are tied together as those of the reference are. Hours of the day are not set off against
    each other. is_since_onset: since the onset of the open incident, instead of the last 24 hours. is_compared: the
    reference is what another variant shows at the same time.
    """

    key: str
    labels: Mapping[str, str]
    is_since_onset: bool
    is_compared: bool
    current: Side
    reference: Side
    psi: Divergence | None
    ks: Divergence | None
    wasserstein: Divergence | None
    quantiles: tuple[QuantilePair, ...]
    cells: tuple[ChartCell, ...]


@dataclass(frozen=True)
class _Records:
    start_at: datetime
    end_at: datetime
    counts: Counts
    mean: float | None
    sd: float | None

    def histogram(self, name: str) -> Histogram:
        return Histogram(bins_named(name), self.counts.get(name, {}))

    def side(self, name: str) -> Side:
        return Side(self.start_at, self.end_at, self.histogram(name).n, self.mean, self.sd)


def compare(monitor: Monitor, key: str, now: datetime) -> Comparison | None:
    """None where the slice has no reference with a histogram, or no records in the same bins now. Reads rollups."""
    row = ReferenceSlice.objects.filter(reference=monitor.reference_id, key=key).first()
    if row is None or monitor.reference is None:
        return None
    onset_at = _onset_of(monitor, key)
    end = references.ripe_until(monitor, now)
    start = end - LENGTH if onset_at is None else max(onset_at, end - LONGEST)
    if not monitor.is_compared:
        # What the reference was learnt from is no news.
        start = max(start, monitor.reference.end_at)
    if start >= end:
        return None
    current = _read(monitor, row, monitor.where, start, end)
    usual = (
        _read(monitor, row, {**monitor.where, **monitor.control}, start, end)
        if monitor.is_compared
        else _learnt_from(monitor.reference, row)
    )
    name = _same_bins(current, usual)
    return None if name is None else _compared(row, name, current, usual, monitor, onset_at)


def _compared(
    row: ReferenceSlice,
    name: str,
    current: _Records,
    usual: _Records,
    monitor: Monitor,
    onset_at: datetime | None,
) -> Comparison:
    now, before = current.histogram(name), usual.histogram(name)
    worth = _worth(row)
    n_now, n_before = max(1.0, now.n * worth), max(1.0, before.n * worth)
    cells = Cells.of(before, max(2, min(_PSI_CELLS, int(min(n_now, n_before) / _RECORDS_PER_CELL))))
    return Comparison(
        key=row.key,
        labels=row.labels,
        is_since_onset=onset_at is not None,
        is_compared=monitor.is_compared,
        current=current.side(name),
        reference=usual.side(name),
        psi=psi(
            cells.counts(now),
            cells.counts(before),
            alpha=BY_CHANCE,
            n_current=n_now,
            n_reference=n_before,
        ),
        ks=ks(now, before, alpha=BY_CHANCE, n_current=n_now, n_reference=n_before),
        wasserstein=wasserstein(now, before, alpha=BY_CHANCE, n_current=n_now, n_reference=n_before),
        quantiles=quantiles(now, before, QUANTILES) or (),
        cells=chart_cells(now, before),
    )


def _onset_of(monitor: Monitor, key: str) -> datetime | None:
    rows = Incident.objects.open().filter(monitor=monitor, slice_key=key).exclude(signal=Signal.CHECK)
    return rows.values_list("onset_at", flat=True).first()


def _read(
    monitor: Monitor, row: ReferenceSlice, where: Mapping[str, str], start: datetime, end: datetime
) -> _Records:
    """What the slice shows now, without what a marker covers."""
    if row.key == OTHER:
        # Who else has a place decides who is pooled here.
        keys = ReferenceSlice.objects.filter(reference=row.reference_id).values_list("key", flat=True)
        buckets = monitor.source.past(where=where, split_by=monitor.split_by, start=start, end=end)
        found = [one for one in gathered(monitor, buckets, keys=keys) if one.key == OTHER]
        samples = list(found[0].samples) if found else []
    else:
        own = {name: text for name, text in row.labels.items() if name in monitor.split_by}
        buckets = monitor.source.past(where={**where, **own}, split_by=(), start=start, end=end)
        samples = [bucket.sample for bucket in buckets]
    frozen = Frozen.between(start, end)
    kept = [
        one
        for one in samples
        if not frozen.covers(datetime.fromtimestamp(one.at, tz=start.tzinfo), row.labels)
    ]
    pooled = Sample.merge(kept)
    mean = pooled.moments.mean if pooled.n else None
    return _Records(start, end, pooled.histogram, mean, pooled.moments.sd)


def _learnt_from(reference: Reference, row: ReferenceSlice) -> _Records:
    counts = {
        name: {int(index): count for index, count in own.items()} for name, own in row.histogram.items()
    }
    return _Records(reference.start_at, reference.end_at, counts, row.mean, row.sd)


def _same_bins(current: _Records, usual: _Records) -> str | None:
    """Those that hold most of what is there now; a metric whose bounds were changed has others than before."""
    shared = [name for name in current.counts if current.histogram(name).n and usual.histogram(name).n]
    return max(shared, key=lambda name: current.histogram(name).n, default=None)


def _worth(row: ReferenceSlice) -> float:
    """Of one record: those of one bucket may be alike, so that many say little more than few."""
    found = learnts.from_json(row.learnt)
    one = found.under if isinstance(found, TriageReference) else found
    if isinstance(one, ScoreReference):
        return one.usual[0].worth(row.bucket_n)
    return one.usual.worth(row.bucket_n) if isinstance(one, RateReference) else 1.0
