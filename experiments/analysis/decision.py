"""The decision of a look in words, with its reason. Pure: from estimates and health to one sentence.

Decisions rest on the absolute scale. Shipping by itself is never done unless the experiment says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from experiments.analysis.health import Check
from experiments.analysis.inference import SPENT_SHARE
from experiments.analysis.question import Estimate, Question
from experiments.analysis.wording import amount, between
from experiments.models import Better, Decision, ExperimentMetric, MetricType, Role
from triageops.stats.group_sequential import boundaries, conditional_power
from triageops.wording import count, plural

_HOPELESS = 0.1
_LATE_ENOUGH = 0.5


@dataclass(frozen=True)
class Decided:
    """variant: which one it is about; empty for none."""

    decision: Decision
    variant: str
    sentence: str


def decide(asked: Question, rows: Sequence[Estimate], checks: Sequence[Check], unit_count: int) -> Decided:
    """The decision, and after it what was accepted at a resume."""
    found = _decide(asked, rows, checks, unit_count)
    said = [found.sentence]
    losers = _losers_beside(asked, rows, found)
    if losers:
        said.append(f"{'; '.join(losers)}: take {'its' if len(losers) == 1 else 'their'} traffic away.")
    known = [
        said_of_harm(asked, metric, row).removesuffix(".")
        for metric in asked.metrics
        for row in rows
        if row.metric == metric.key and row.verdict == "accepted"
    ]
    if known:
        said.append(f"Accepted at the resume: {'; '.join(known)}.")
    return replace(found, sentence=" ".join(said))


def _losers_beside(asked: Question, rows: Sequence[Estimate], found: Decided) -> list[str]:
    """Arms that are shown to be worse on the primary metric, by more than its margin, beside the one that is decided about."""
    primary = next((metric for metric in asked.metrics if metric.role == Role.PRIMARY), None)
    if primary is None or asked.is_bandit or found.decision in {Decision.WAIT, Decision.HARMFUL}:
        return []
    return [
        f"{row.variant} is worse than {asked.control.key} on {primary.name}{_by(primary, row)}"
        for row in rows
        if row.metric == primary.key
        and row.variant not in {asked.control.key, found.variant}
        and claimed(row, primary) < 0
        and not _is_not_inferior(row, primary)
    ]


def _decide(asked: Question, rows: Sequence[Estimate], checks: Sequence[Check], unit_count: int) -> Decided:
    of = {(row.metric, row.variant): row for row in rows}
    harmed = _harmed(asked, of)
    if harmed is not None:
        return harmed
    primary = next((metric for metric in asked.metrics if metric.role == Role.PRIMARY), None)
    if primary is None:
        return Decided(Decision.KEEP, "", "Nothing is decided: the experiment has no primary metric.")
    if asked.is_bandit:
        return Decided(Decision.KEEP, "", _said_of_bandit(asked, of, primary))
    waiting = _waiting(asked, of, primary, unit_count)
    if waiting is not None:
        return waiting
    blocked = next((check for check in checks if check.blocks), None)
    if blocked is not None:
        return Decided(Decision.KEEP, "", f"No decision: {blocked.sentence}")
    return (
        _best(asked, of, primary)
        or _cheaper(asked, of, primary)
        or _worse(asked, of, primary)
        or _futile(asked, of, primary)
        or Decided(Decision.KEEP, "", _undecided(asked, of, primary, unit_count))
    )


def claimed(row: Estimate, metric: ExperimentMetric) -> int:
    """1 better, -1 worse, 0 nothing claimed."""
    sign = row.details.get("claimed", 0.0)
    return int(sign if metric.is_higher_better else -sign)


def _harmed(asked: Question, of: Mapping[tuple[str, str], Estimate]) -> Decided | None:
    for metric in asked.metrics:
        for variant in asked.treatments:
            row = of.get((metric.key, variant.key))
            if row is not None and row.verdict == "harm":
                return Decided(Decision.HARMFUL, variant.key, said_of_harm(asked, metric, row))
    return None


def said_of_harm(asked: Question, metric: ExperimentMetric, row: Estimate) -> str:
    """“claude-2 is worse than gpt-4 on error rate by 2.1 points (0.9 to 3.3), more than the margin of 0.5 points.”"""
    text = f"{row.variant} is worse than {asked.control.key} on {metric.name}{_by(metric, row)}"
    if metric.margin:
        text += f", more than the margin of {amount(metric.margin, metric)}"
    said = _said_of_news(metric, row)
    return f"{text}.{said}"


def _said_of_news(metric: ExperimentMetric, row: Estimate) -> str:
    """What is new after a halt that a person went on after."""
    known = row.details.get("accepted")
    among = row.details.get("is_new_among")
    if among == "since":
        since = row.details["since_resume"]
        return f" Units exposed since the resume show it by themselves: {amount(since['effect'], metric)}."
    if among == "all" and known is not None:
        return f" That is more than the {amount(abs(known), metric)} that were accepted at the resume."
    return ""


def _by(metric: ExperimentMetric, row: Estimate) -> str:
    if row.effect is None:
        return ""
    interval = between(row.low, row.high, metric, sign=math.copysign(1.0, row.effect))
    return f" by {amount(abs(row.effect), metric)}" + (f" ({interval})" if interval else "")


def _waiting(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric, unit_count: int
) -> Decided | None:
    least = asked.experiment.minimum_sample
    short = [
        variant.key
        for variant in asked.variants
        if variant.weight_bp and of[primary.key, variant.key].n < least
    ]
    if not short:
        return None
    sentence = f"Not enough data yet: {', '.join(short)} {'has' if len(short) == 1 else 'have'} fewer than {count(least)} units."
    ready_at = _reaches(asked, least * len(asked.variants), unit_count)
    return Decided(Decision.WAIT, "", sentence + (f" {ready_at}" if ready_at else ""))


def _reaches(asked: Question, wanted: int, unit_count: int) -> str:
    """When that many units will be there, at the pace so far."""
    started = asked.experiment.started_at
    if started is None or unit_count == 0 or wanted <= unit_count:
        return ""
    per_day = unit_count / max((asked.now - started) / timedelta(days=1), 1 / 24)
    days = math.ceil((wanted - unit_count) / per_day)
    return f"About {plural(days, 'more day', 'more days')} at this pace."


def _best(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric
) -> Decided | None:
    winners = [
        of[primary.key, variant.key]
        for variant in asked.treatments
        if claimed(of[primary.key, variant.key], primary) > 0
    ]
    if not winners:
        return None
    best = max(winners, key=lambda row: abs(row.effect or 0.0))
    text = f"{best.variant} is better than {asked.control.key} on {primary.name}{_by(primary, best)}"
    early = _too_early(asked)
    if early:
        return Decided(Decision.KEEP, best.variant, f"{text}. {early}")
    return Decided(Decision.SHIP, best.variant, f"Ship {best.variant}: it{text.removeprefix(best.variant)}.")


def _too_early(asked: Question) -> str:
    started = asked.experiment.started_at or asked.now
    ends = started + timedelta(days=asked.experiment.minimum_days)
    if asked.now >= ends:
        return ""
    days = math.ceil((ends - asked.now) / timedelta(days=1))
    return (
        f"Keep it running for {plural(days, 'more day', 'more days')}: it has not seen a whole week."
        if (asked.experiment.minimum_days == 7)
        else f"Keep it running for {plural(days, 'more day', 'more days')}, its least time."
    )


def _cheaper(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric
) -> Decided | None:
    cost = next(
        (
            metric
            for metric in asked.metrics
            if metric.source == "response:cost" and metric.better == Better.LOWER
        ),
        None,
    )
    if cost is None or not primary.margin:
        return None
    fitting = [
        variant.key
        for variant in asked.treatments
        if _is_not_inferior(of[primary.key, variant.key], primary)
        and (of[cost.key, variant.key].high or 0.0) < 0
    ]
    if not fitting:
        return None
    # The cheapest of those that are good enough.
    chosen = min(fitting, key=lambda key: of[cost.key, key].effect or 0.0)
    quality, price = of[primary.key, chosen], of[cost.key, chosen]
    text = f"{chosen} is {_said_of_quality(asked, primary, quality)} and cheaper{_by(cost, price)}"
    early = _too_early(asked)
    if early:
        return Decided(Decision.KEEP, chosen, f"{text}. {early}")
    return Decided(Decision.CHEAPER, chosen, f"{text}.")


def _said_of_quality(asked: Question, primary: ExperimentMetric, row: Estimate) -> str:
    """Within the margin, and where it is shown to be worse, by how much."""
    limit = f"the margin of {amount(primary.margin, primary)}"
    if claimed(row, primary) < 0:
        return f"worse than {asked.control.key} on {primary.name}{_by(primary, row)}, within {limit},"
    return f"not inferior to {asked.control.key} on {primary.name} (within {limit})"


def _is_not_inferior(row: Estimate, metric: ExperimentMetric) -> bool:
    if row.low is None or row.high is None:
        return False
    return row.low > -metric.margin if metric.is_higher_better else row.high < metric.margin


def _worse(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric
) -> Decided | None:
    losers = [
        of[primary.key, variant.key]
        for variant in asked.treatments
        if claimed(of[primary.key, variant.key], primary) < 0
    ]
    if len(losers) < len(asked.treatments):
        return None
    worst = max(losers, key=lambda row: abs(row.effect or 0.0))
    text = f"{worst.variant} is worse than {asked.control.key} on {primary.name}{_by(primary, worst)}."
    if len(losers) > 1:
        text = f"Every variant is worse than {asked.control.key} on {primary.name}; {text}"
    return Decided(Decision.HARMFUL, worst.variant, text)


def _futile(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric
) -> Decided | None:
    if not asked.experiment.planned_sample or primary.kind in {MetricType.QUANTILE, MetricType.RARE}:
        return None
    chances = [_chance(asked, of[primary.key, variant.key], primary) for variant in asked.treatments]
    if any(chance is None or chance >= _HOPELESS for chance in chances):
        return None
    best = max(chance for chance in chances if chance is not None)
    return Decided(
        Decision.FUTILE,
        "",
        f"Stopping loses little: as things stand, the chance to show any variant better than {asked.control.key} on "
        f"{primary.name} by the planned sample is {100 * best:.0f} %.",
    )


def _chance(asked: Question, row: Estimate, metric: ExperimentMetric) -> float | None:
    """Conditional power at the planned sample if the present trend goes on; None while it is early."""
    plan = asked.plans.get((row.metric, row.variant))
    if plan is None or row.z is None or row.information is None:
        return None
    fraction = row.information / plan.planned_information
    if fraction < _LATE_ENOUGH:
        return None
    if fraction >= 1:
        return 0.0
    final = boundaries([fraction, 1.0], SPENT_SHARE * plan.alpha)[-1]
    if final is None:
        return None
    return conditional_power(row.z if metric.is_higher_better else -row.z, fraction, final_bound=final)


def _undecided(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric, unit_count: int
) -> str:
    rows = [of[primary.key, variant.key] for variant in asked.treatments]
    leading = max(rows, key=lambda row: (row.effect or 0.0) * (1 if primary.is_higher_better else -1))
    said = "No decision yet."
    interval = between(leading.low, leading.high, primary)
    if leading.effect is not None and interval:
        said = (
            f"No decision yet: {leading.variant} differs from {asked.control.key} on {primary.name} by "
            f"{amount(leading.effect, primary)}, and anything from {interval} fits."
        )
    planned = asked.experiment.planned_sample
    pace = _reaches(asked, planned or 0, unit_count)
    if planned and unit_count >= planned:
        return f"{said} The planned sample of {count(planned)} units is reached."
    return f"{said} {pace.removesuffix('.')} until the planned sample.".replace("  ", " ") if pace else said


def _said_of_bandit(
    asked: Question, of: Mapping[tuple[str, str], Estimate], primary: ExperimentMetric
) -> str:
    known = [of[primary.key, variant.key] for variant in asked.variants]
    known = [row for row in known if row.value is not None]
    if not known:
        return "A bandit, without data yet. It claims nothing; it moves traffic."
    sign = 1 if primary.is_higher_better else -1
    best = max(known, key=lambda row: sign * (row.value or 0.0))
    return (
        f"A bandit: {best.variant} leads on {primary.name} with {amount(best.value, primary)}, and gets more of the "
        "traffic. It claims nothing."
    )


def next_steps(decision: Decision) -> str:
    """What to do about it."""
    return {
        Decision.SHIP: "Stop the experiment and ship the variant.",
        Decision.CHEAPER: "Stop the experiment and ship the cheaper variant.",
        Decision.HARMFUL: "Look at the evidence; change the variant, or stop the experiment.",
        Decision.FUTILE: "Stop it, or plan a larger sample in a new experiment.",
        Decision.KEEP: "Nothing to do now.",
        Decision.WAIT: "Wait for more units.",
    }[decision]
