"""What people said of incidents, counted; and what to do where too much of it is noise.

Precision: useful / (useful + noise). What was expected counts as neither: it was right, and nobody needed it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from monitoring.models import Monitor, Severity, Usefulness
from monitoring.monitors.registry import kind_named
from triageops import wording
from triageops.stats.interval import Interval, wilson

NOISE_LIMIT = 0.3
"""A suggestion is made when at least this share is noise, by the lower end of its 95 % interval."""

LEAST_JUDGED = 5
MARGIN, ROUTE = "margin", "route"


@dataclass(frozen=True)
class Judgements:
    useful: int = 0
    noise: int = 0
    expected: int = 0

    @property
    def judged(self) -> int:
        return self.useful + self.noise + self.expected

    @property
    def deciding(self) -> int:
        return self.useful + self.noise

    @property
    def precision(self) -> float | None:
        return self.useful / self.deciding if self.deciding else None

    @property
    def interval(self) -> Interval | None:
        """Of the precision, 95 % (Wilson)."""
        return wilson(self.useful, self.deciding)

    @property
    def is_noisy(self) -> bool:
        """Whether chance alone is no good explanation of the noise."""
        found = wilson(self.noise, self.deciding)
        return found is not None and self.deciding >= LEAST_JUDGED and found.low > NOISE_LIMIT

    def __add__(self, other: "Judgements") -> "Judgements":
        return Judgements(
            self.useful + other.useful, self.noise + other.noise, self.expected + other.expected
        )


NOTHING = Judgements()


@dataclass(frozen=True)
class Suggestion:
    """action: `margin` or `route`. cost: what it would have changed in the past; empty where that is not known."""

    action: str
    text: str
    cost: str = ""


def judgements_of(counts: Iterable[tuple[str, int]]) -> Judgements:
    found: dict[str, int] = defaultdict(int)
    for usefulness, n in counts:
        found[usefulness] += n
    return Judgements(found[Usefulness.USEFUL], found[Usefulness.NOISE], found[Usefulness.EXPECTED])


def for_monitor(monitor: Monitor, judgements: Judgements, changes: Sequence[tuple[str, float]]) -> Suggestion:
    share = _noise_told(judgements)
    if has_margin(monitor):
        return Suggestion(MARGIN, f"Raise the margin of this monitor: {share}.", _cost(changes))
    return Suggestion(ROUTE, f"Change the route of this monitor, for example to a daily digest: {share}.", "")


def has_margin(monitor: Monitor) -> bool:
    """Whether its kind has one: how much of a change is nobody's concern."""
    try:
        kind = kind_named(monitor.kind)
    except LookupError:
        return False
    names = (one.name for one in fields(cast("Any", kind)))
    return any(name == "margin" or name.startswith("ignore_") for name in names)


def _noise_told(judgements: Judgements) -> str:
    found = wilson(judgements.noise, judgements.deciding)
    low = found.low if found else 0.0
    return (
        f"{judgements.noise} of {judgements.deciding} judged incidents were noise, "
        f"a share of at least {wording.share(low, 2)} (95 %)"
    )


def _cost(changes: Sequence[tuple[str, float]]) -> str:
    """What the sizes of the judged incidents say about a larger margin; empty where they say nothing."""
    noise = [size for usefulness, size in changes if usefulness == Usefulness.NOISE]
    useful = [size for usefulness, size in changes if usefulness == Usefulness.USEFUL]
    if not noise:
        return ""
    if not useful:
        return f"None was called useful; the largest change that was noise was {wording.number(max(noise))}."
    smallest = min(useful)
    below = sum(size < smallest for size in noise)
    if not below:
        return "By size alone, noise and useful incidents cannot be told apart: a margin would cost useful ones too."
    return (
        f"{below} of the {len(noise)} that were noise were smaller changes than every useful one, the smallest of which was "
        f"{wording.number(smallest)}: a margin between them would have cost none that was useful."
    )


def for_channel(counts: Sequence[tuple[str, str, int]]) -> Suggestion | None:
    """The severity with the most noise that is credible; critical ones are never moved to a digest."""
    noisy: dict[str, Judgements] = {}
    for severity in (Severity.INFO, Severity.WARNING, Severity.ERROR):
        found = judgements_of((usefulness, n) for one, usefulness, n in counts if one == severity)
        if found.is_noisy:
            noisy[severity] = found
    if noisy:
        worst = max(noisy, key=lambda one: noisy[one].noise)
        what = {"info": "infos", "warning": "warnings", "error": "errors"}[worst]
        text = f"Change the route: send its {what} to a digest. {_noise_told(noisy[worst])}."
        return Suggestion(ROUTE, text, _saved(noisy[worst]))
    whole = judgements_of((usefulness, n) for _, usefulness, n in counts)
    if whole.is_noisy:
        return Suggestion(ROUTE, f"Change what is routed here: {_noise_told(whole)}.")
    return None


def _saved(judgements: Judgements) -> str:
    """What a digest would have changed in the past."""
    later = f"{wording.plural(judgements.useful, 'useful one')} would have come with the digest, later"
    return f"{wording.plural(judgements.noise, 'message')} of noise would have disturbed nobody; {later}."
