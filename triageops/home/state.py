"""Words and lists of the home page: what is wrong, what runs, what wants to be looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.urls import reverse

from experiments.models import Experiment, Variant
from feedback.models import MetricKind, QualityMetric
from monitoring.standing import Used
from triageops import charts, wording
from triageops.admin import Tone
from triageops.home.access import Access
from triageops.home.troubles import Troubles, sentence_of
from triageops.observability.admin import TONES
from triageops.observability.models import JobState, ScheduledJob

_MOST_NAMES = 3


@dataclass(frozen=True)
class Sentence:
    """The page's answer. `since` is shown in the reader's time, after the text."""

    text: str
    tone: Tone
    since: datetime | None = None
    address: str = ""


@dataclass(frozen=True)
class Hint:
    text: str
    address: str
    link: str


@dataclass(frozen=True)
class JobLine:
    """due_in: seconds until its next run."""

    job: ScheduledJob
    state: JobState
    due_in: float

    @property
    def is_bad(self) -> bool:
        return self.state not in {JobState.ON_TIME, JobState.TO_COME}

    @property
    def tone(self) -> Tone:
        return TONES[self.state]

    @property
    def word(self) -> str:
        if self.state != JobState.TO_COME:
            return self.state.label.lower()
        return f"first run in {wording.seconds(self.due_in)}" if self.due_in >= 1 else "first run due"


@dataclass(frozen=True)
class Arm:
    """One variant in the bar of shares; x and width in percent."""

    key: str
    colour: str
    share: str
    x: float
    width: float
    is_control: bool


@dataclass(frozen=True)
class Running:
    experiment: Experiment
    day: int
    arms: Sequence[Arm]


def job_lines(jobs: Iterable[ScheduledJob], now: datetime) -> list[JobLine]:
    return [JobLine(job, job.state(now), (job.next_run_at - now).total_seconds()) for job in jobs]


def sentence(found: Troubles, jobs: Sequence[JobLine], access: Access) -> Sentence:
    """What a manager can read aloud. Incidents first; then work that does not run, which hides incidents."""
    if not access.has_any:
        text = "There is nothing here that you may see yet. Ask whoever manages the users of TriageOps for permissions."
        return Sentence(text, Tone.NEUTRAL)
    if found.open_count:
        text, tone = sentence_of(found)
        first = found.first
        if first is None:
            return Sentence(text, tone, None, reverse("admin:monitoring_inbox"))
        address = reverse("admin:monitoring_incident_change", args=[first.incident.pk])
        return Sentence(text, tone, first.incident.opened_at, address)
    calm = "No open incidents" if access.incidents else ""
    if not access.jobs:
        return Sentence(
            f"{calm}." if calm else "Incidents and scheduled work are not among what you may see here.",
            Tone.NEUTRAL,
        )
    address = reverse("admin:observability_scheduledjob_changelist")
    if not jobs or all(line.job.started_at is None for line in jobs):
        return Sentence(
            "No scheduled work has run yet, so nothing is being watched.", Tone.LOOK, None, address
        )
    bad = [line for line in jobs if line.is_bad]
    if bad:
        head = f"{calm}, but not" if calm else "Not"
        return Sentence(f"{head} all scheduled work is well: {_names(bad)}.", Tone.LOOK, None, address)
    return Sentence(f"{calm}. All scheduled work on time.".removeprefix(". "), Tone.NEUTRAL)


def _names(lines: Sequence[JobLine]) -> str:
    names = ", ".join(f"{line.job.name} ({line.word})" for line in lines[:_MOST_NAMES])
    return names + (f" and {len(lines) - _MOST_NAMES} more" if len(lines) > _MOST_NAMES else "")


def hints(
    metrics: Sequence[QualityMetric],
    unmatched_count: int,
    jobs: Sequence[JobLine],
    *,
    has_incidents: bool,
) -> list[Hint]:
    """Small things to look at, beside the sentence."""
    found = []
    bad = [line for line in jobs if line.is_bad]
    if bad and has_incidents:
        # Without incidents the sentence itself says so.
        text = f"Not all scheduled work is well: {_names(bad)}."
        found.append(Hint(text, reverse("admin:observability_scheduledjob_changelist"), "Show"))
    discovered = [metric for metric in metrics if metric.kind == MetricKind.DISCOVERED]
    if discovered:
        address = reverse("admin:feedback_qualitymetric_changelist") + "?kind__exact=discovered"
        text = f"{wording.plural(len(discovered), 'metric name was', 'metric names were')} seen for the first time."
        found.append(Hint(text, address, "Classify"))
    if unmatched_count > 0:
        address = reverse("admin:feedback_feedback_changelist")
        text = f"{wording.plural(unmatched_count, 'piece', 'pieces')} of feedback waits for a response not seen yet."
        found.append(Hint(text, address, "Show feedback"))
    return found


def budget_line(used: Used | None) -> str:
    """budget: 0.3 of 1 false alarm used this month; empty while nothing is watched."""
    if used is None:
        return ""
    spent, whole = (f"{float(f'{number:.2g}'):g}" for number in (round(used.promised, 2), used.per_30_days))
    return f"budget: {spent} of {whole} false alarm{'' if whole == '1' else 's'} used this month"


def running(variants: Sequence[Variant], now: datetime) -> list[Running]:
    """Running experiments with their arms; `variants` come with their experiment, ordered by it."""
    found = []
    for experiment, group in groupby(variants, lambda variant: variant.experiment):
        arms = list(group)
        control = next((arm.key for arm in arms if arm.is_control), "")
        colours = charts.hues([arm.key for arm in arms], control)
        shown, x = [], 0.0
        for arm in arms:
            width = arm.weight_bp / 100
            shown.append(Arm(arm.key, colours[arm.key], arm.weight_in_percent, x, width, arm.is_control))
            x += width
        day = (now - experiment.started_at).days + 1 if experiment.started_at else 1
        found.append(Running(experiment, day, shown))
    return found
