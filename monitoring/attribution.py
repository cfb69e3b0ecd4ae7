"""Which group explains a change: one variant, one model, one segment, or only another mix of traffic.

With w the share and m the mean of a group, 0 in the reference and 1 since the onset, the whole changes by

    sum_g w1 (m1 - m0)  +  sum_g (w1 - w0) (m0 - M0),

the first sum by what changed within groups, the second by the mix. A group that was not there before counts as if its mean
had been that of all. Volumes have no mean: a group explains what it has more or less of, counted with all that is there by
now. The change is that of all records, whatever dimension is looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from feedback.stats import EVERY_RESPONSE, ByDimension, Window, feedback_by_dimension, moments_by_dimension
from monitoring.slices import SMALLEST_NAMED_GROUP
from monitoring.sources import FEEDBACK, VOLUME, Source, feedback_kind
from triageops import wording

_MOST_GROUPS = 50
_ENOUGH = 0.5
_MORE_THAN_ITS_SHARE = 1.25
_OTHER_COVER = 0.1
_REST = "\0"
"""No value of a dimension: PostgreSQL keeps no text with it."""

Shares = Mapping[str, Mapping[str, Sequence[float]]]
"""Dimension -> value -> (n, mean)."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one group contributes, as a share of the whole change. before, after: means; of a volume, counts a day."""

    dimension: str
    value: str
    contribution: float
    share_before: float
    share_after: float
    before: float | None
    after: float
    n: int


@dataclass(frozen=True)
class Explanation:
    """change: of the whole. mix: by dimension, the part of the change that only the mix of traffic makes."""

    change: float
    parts: tuple[Part, ...]
    mix: Mapping[str, float]

    @property
    def best(self) -> Part | None:
        """The group that explains most, if it explains clearly more than its share of the records."""
        fitting = [
            part
            for part in self.parts
            if part.contribution >= _ENOUGH
            and part.contribution >= _MORE_THAN_ITS_SHARE * part.share_after
            and part.n >= SMALLEST_NAMED_GROUP
        ]
        return max(fitting, key=lambda part: part.contribution - part.share_after, default=None)

    @property
    def alike(self) -> list[Part]:
        """The best group, and those of other dimensions that explain as much: the same records by another name, perhaps."""
        best = self.best
        if best is None:
            return []
        others = (
            one
            for one in self.parts
            if one.dimension != best.dimension
            and one.n >= SMALLEST_NAMED_GROUP
            and one.contribution >= _MORE_THAN_ITS_SHARE * one.share_after
            and abs(one.contribution - best.contribution) < 0.02
        )
        return [best, *others][:3]

    @property
    def sentence(self) -> str:
        """For people."""
        best, verb = self.best, "rise" if self.change > 0 else "fall"
        if best is not None:
            share = wording.share(min(best.contribution, 1.0), 2)
            names = ", ".join(f"{one.dimension} = {one.value or '(none)'}" for one in self.alike)
            return f"{share} of the {verb} comes from {names}{' alike' if len(self.alike) > 1 else ''}."
        mixed = max(self.mix.items(), key=lambda pair: pair[1], default=("", 0.0))
        if mixed[1] >= _ENOUGH:
            share = wording.share(min(mixed[1], 1.0), 2)
            return f"{share} of the {verb} comes from another mix of traffic by {mixed[0]}, not from within its groups."
        return "No single group stands out: it changed in most of them alike." if self.parts else ""

    def as_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "change": self.change,
            "mix": dict(self.mix),
            "best": None if self.best is None else asdict(self.best),
            "parts": [asdict(part) for part in self.parts[:_MOST_GROUPS]],
        }


def shares_of(source: Source, where: Mapping[str, str], window: Window) -> dict[str, dict[str, list[float]]]:
    """n and mean of the largest groups of every dimension, as JSON; of a volume n in a day instead of n and mean."""
    days = max((window.end - window.start).total_seconds() / 86_400, 1e-9)
    found: dict[str, dict[str, list[float]]] = {}
    for dimension, groups in _read(source, where, window).items():
        largest = sorted(groups.items(), key=lambda pair: (-pair[1].n, pair[0]))[:_MOST_GROUPS]
        found[dimension] = {
            value: [moments.n, moments.n / days if source.metric.key == VOLUME else moments.mean]
            for value, moments in largest
        }
    return found


def explain(source: Source, where: Mapping[str, str], window: Window, before: Shares) -> Explanation:
    """The change from the reference to this window. Two queries, four for the coverage of feedback."""
    after = shares_of(source, where, window)
    is_volume = source.metric.key == VOLUME
    whole0, whole1 = _whole(before, is_volume=is_volume), _whole(after, is_volume=is_volume)
    if whole0 is None or whole1 is None or whole0.level == whole1.level:
        return Explanation(0.0, (), {})
    parts: list[Part] = []
    mix: dict[str, float] = {}
    for dimension, groups in after.items():
        known = before.get(dimension, {})
        # A dimension that the records are chosen by, or that has one value only, explains nothing.
        if dimension in where or len({*groups, *known}) < 2:
            continue
        # Nor does one that was not watched yet: what its groups were like is not known.
        cover0, cover1 = whole0.covered_by(known), whole1.covered_by(groups)
        if min(cover0, cover1) < _ENOUGH or abs(cover1 - cover0) > _OTHER_COVER:
            continue
        compared = _volume_parts if is_volume else _mean_parts
        own, mix[dimension] = compared(
            dimension, {**known, **whole0.rest(known)}, {**groups, **whole1.rest(groups)}, (whole0, whole1)
        )
        parts += [part for part in own if part.value != _REST]
    parts.sort(key=lambda part: (-part.contribution, part.dimension, part.value))
    return Explanation(whole1.level - whole0.level, tuple(parts), mix)


@dataclass(frozen=True)
class _Whole:
    """All records. level: their mean, or of a volume how many a day."""

    n: float
    level: float
    is_volume: bool

    def covered_by(self, groups: Mapping[str, Sequence[float]]) -> float:
        return sum(n for n, _ in groups.values()) / self.n

    def rest(self, groups: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
        """What none of these groups holds: records without the attribute, and groups too small to be kept."""
        n = self.n - sum(n for n, _ in groups.values())
        if n <= 0:
            return {}
        if self.is_volume:
            return {_REST: (n, self.level - sum(rate for _, rate in groups.values()))}
        return {_REST: (n, (self.n * self.level - sum(m * mean for m, mean in groups.values())) / n)}


def _whole(shares: Shares, *, is_volume: bool) -> _Whole | None:
    """From the dimension that holds most records: those of every response hold all, unless their groups are very many."""
    groups = max(
        (list(own.values()) for own in shares.values()), key=lambda own: sum(n for n, _ in own), default=[]
    )
    n = sum(n for n, _ in groups)
    if not n:
        return None
    if is_volume:
        return _Whole(n, sum(rate for _, rate in groups), is_volume=True)
    return _Whole(n, sum(n * mean for n, mean in groups) / n, is_volume=False)


def _mean_parts(
    dimension: str,
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    wholes: tuple[_Whole, _Whole],
) -> tuple[list[Part], float]:
    whole0, whole1 = wholes
    change = whole1.level - whole0.level
    parts, mix = [], 0.0
    for value in sorted({*before, *after}):
        n0, m0 = before.get(value, (0.0, whole0.level))
        n1, m1 = after.get(value, (0.0, m0))
        w0, w1 = n0 / whole0.n, n1 / whole1.n
        mix += (w1 - w0) * (m0 - whole0.level)
        if n1:
            contribution = w1 * (m1 - m0) / change
            parts.append(
                Part(dimension, value, contribution, w0, w1, m0 if value in before else None, m1, int(n1))
            )
    return parts, mix / change


def _volume_parts(
    dimension: str,
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    wholes: tuple[_Whole, _Whole],
) -> tuple[list[Part], float]:
    rate0, rate1 = (whole.level for whole in wholes)
    parts = []
    for value in sorted({*before, *after}):
        n0, r0 = before.get(value, (0.0, 0.0))
        n1, r1 = after.get(value, (0.0, 0.0))
        share0, share1 = r0 / rate0 if rate0 else 0.0, r1 / rate1 if rate1 else 0.0
        contribution = (r1 - r0) / (rate1 - rate0)
        parts.append(Part(dimension, value, contribution, share0, share1, r0, r1, int(max(n0, n1))))
    return parts, 0.0


def _read(source: Source, where: Mapping[str, str], window: Window) -> ByDimension:
    key = source.metric.key
    if key.startswith(FEEDBACK):
        return feedback_by_dimension(feedback_kind(key), where, window, source.maturity)
    return moments_by_dimension(EVERY_RESPONSE if key == VOLUME else key, where, window)
