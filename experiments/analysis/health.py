"""Whether the numbers of a look may be trusted: split, crossovers, fallbacks, configs, feedback, maturity, weekdays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from django.db import connection

from experiments.analysis import inference
from experiments.analysis.question import Question
from experiments.analysis.sums import FEEDBACK_RATE, Sums
from experiments.models import Exclusion
from triageops.stats.compare import contrast, estimate
from triageops.stats.exact import Srm, srm
from triageops.wording import count, number, plural, share

Level = Literal["ok", "look", "harm", "none"]
"""none: there is nothing yet, or nothing at all, to check."""

CROSSOVER_LIMIT = 0.01
FALLBACK_LIMIT = 0.01
_FEEDBACK_ALPHA = 0.001


@dataclass(frozen=True)
class Check:
    """One question about the data. blocks: no decision while it stands."""

    name: str
    level: Level
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        return self.level == "harm"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "level": self.level, "sentence": self.sentence, "numbers": dict(self.numbers),
        }  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """Of one arm in one epoch: units by exclusion (empty: analysed), and sums over the analysed ones."""

    variant_id: int
    epoch: int
    exclusion: str
    units: int
    responses: int
    fallbacks: int
    drifted: int


def counted(asked: Question) -> list[Counted]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT variant_id, epoch, exclusion, count(*), coalesce(sum(response_count), 0)::bigint,"
            " coalesce(sum(fallback_count), 0)::bigint, coalesce(sum(drift_count), 0)::bigint"
            " FROM experiments_exposedunit WHERE experiment_id = %s AND phase = %s GROUP BY 1, 2, 3",
            [asked.experiment.pk, asked.phase],
        )
        return [Counted(*row) for row in cursor.fetchall()]


def checks(asked: Question, rows: Sequence[Counted], sums: Sums | None) -> list[Check]:
    found = [
        split(asked, rows),
        crossovers(rows),
        fallbacks(asked, rows),
        drift(asked, rows),
        unattributed(asked),
        whole_week(asked),
    ]
    if sums is not None:
        found.insert(4, feedback_rate(asked, sums))
    maturity = immature(asked)
    return [*found, maturity] if maturity is not None else found


def split(asked: Question, rows: Sequence[Counted]) -> Check:
    """The sequential test for a sample ratio mismatch, over the epochs of the phase."""
    arms = [variant.pk for variant in asked.variants]
    epochs = []
    for epoch in asked.epochs:
        counts = [
            sum(
                row.units
                for row in rows
                if row.variant_id == arm and row.epoch == epoch.number and row.exclusion in _SPLIT
            )
            for arm in arms
        ]
        if sum(counts):
            epochs.append((counts, [epoch.weights.get(variant.key, 0) for variant in asked.variants]))
    if not epochs:
        return Check("split", "none", "No unit was exposed yet.")
    found = srm(epochs)
    numbers = {
        "log_e": found.log_e if math.isfinite(found.log_e) else None,
        "p": found.p,
        "observed": {variant.key: n for variant, n in zip(asked.variants, found.observed, strict=True)},
        "expected": {variant.key: n for variant, n in zip(asked.variants, found.expected, strict=True)},
    }
    return Check("split", *_said_of_split(asked, found), numbers)


# Who is excluded for another reason was excluded alike in all arms; a crossover is not, so it counts where it began.
_SPLIT = ("", Exclusion.CROSSOVER)


def _said_of_split(asked: Question, found: Srm) -> tuple[Level, str]:
    if not found.is_mismatch:
        strength = number(math.exp(min(found.log_e, 700.0)))
        return "ok", f"The split is what the weights promise (e = {strength}; 1 000 would be an alarm)."
    if found.worst_arm is None:
        return "harm", "The split is not what the weights promise."
    key = asked.variants[found.worst_arm].key
    seen, planned = found.observed[found.worst_arm], found.expected[found.worst_arm]
    return (
        "harm",
        f"the split is not what the weights promise: {key} has {count(seen)} units instead of {count(planned)}. "
        "Find out which units are missing before you believe any number.",
    )


def crossovers(rows: Sequence[Counted]) -> Check:
    crossed = sum(row.units for row in rows if row.exclusion == Exclusion.CROSSOVER)
    total = sum(row.units for row in rows)
    part = crossed / total if total else 0.0
    others = {
        str(exclusion): sum(row.units for row in rows if row.exclusion == exclusion)
        for exclusion in Exclusion
    }
    level: Level = "harm" if part > CROSSOVER_LIMIT and crossed > 5 else "look" if crossed else "ok"
    if not total:
        return Check(
            "crossovers", "none", "No unit was exposed yet.", {"count": 0, "share": 0.0, "excluded": others}
        )
    said = (
        f"{plural(crossed, 'unit was', 'units were')} seen in two variants ({share(part)}) and left out."
        if crossed
        else "No unit was seen in two variants."
    )
    return Check("crossovers", level, said, {"count": crossed, "share": part, "excluded": others})


def fallbacks(asked: Question, rows: Sequence[Counted]) -> Check:
    n, responses = sum(row.fallbacks for row in rows), sum(row.responses for row in rows)
    part = n / responses if responses else 0.0
    if not responses or not any("model" in variant.config for variant in asked.variants):
        said = "There is no response yet." if not responses else "No variant's config names a model."
        return Check("served as assigned", "none", said, {"count": 0, "share": 0.0})
    level: Level = "look" if part > FALLBACK_LIMIT else "ok"
    said = (
        f"{share(part)} of responses came from another model than the variant's; they count for the variant."
        if n
        else "Every response came from the model that its variant names."
    )
    return Check("served as assigned", level, said, {"count": n, "share": part})


def drift(asked: Question, rows: Sequence[Counted]) -> Check:
    n, responses = sum(row.drifted for row in rows), sum(row.responses for row in rows)
    part = n / responses if responses else 0.0
    if not n and not _has_hashes(asked):
        said = "No response says with which config it was made: send config_hash with it."
        return Check("config unchanged", "none", said, {"count": 0, "share": 0.0})
    said = (
        f"{share(part)} of responses were made with another config than the variant had."
        if n
        else "No response was made with another config than its variant's."
    )
    return Check("config unchanged", "look" if n else "ok", said, {"count": n, "share": part})


def _has_hashes(asked: Question) -> bool:
    """Whether any of the last responses of the units seen last carries a config_hash."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM (
                    SELECT unit FROM experiments_exposedunit
                    WHERE experiment_id = %s AND phase = %s ORDER BY id DESC LIMIT 50
                ) AS recent
                CROSS JOIN LATERAL (
                    SELECT config_hash FROM feedback_response
                    WHERE unit = recent.unit AND unit <> '' AND experiment = %s
                    ORDER BY occurred_at DESC LIMIT 1
                ) AS r WHERE r.config_hash <> ''
            )
            """,
            [asked.experiment.pk, asked.phase, asked.experiment.key],
        )
        return bool(cursor.fetchone()[0])


def feedback_rate(asked: Question, sums: Sums) -> Check:
    """Does the share of answers with feedback differ? What feedback says is biased then."""
    arms = {variant.key: sums.of[FEEDBACK_RATE.key].get(variant.pk, ()) for variant in asked.variants}
    width = len(sums.epochs)
    if any(len(cells) != width for cells in arms.values()):
        return Check("feedback rate", "none", "Not every variant has units yet.")
    found = estimate(arms, "ratio", is_adjusted=False)
    worst: tuple[float, str, float] | None = None
    for variant in asked.treatments:
        compared = contrast(found, variant.key, asked.control.key)
        if compared is None or not inference.is_ready(compared, is_proportion=False):
            continue
        n = compared.n_treatment + compared.n_control
        plan = asked.plan(
            FEEDBACK_RATE.key,
            variant.key,
            se=inference.tested_se(compared),
            n=n,
            planned_n=asked.planned_pair(n, sums.unit_count),
            alpha=_FEEDBACK_ALPHA,
        )
        one = inference.finding(compared, plan)
        if one.log_e >= -math.log(_FEEDBACK_ALPHA) and (worst is None or one.log_e > worst[0]):
            worst = (one.log_e, variant.key, compared.effect)
    rates = {key: arm.value for key, arm in found.arms.items()}
    if not any(rates.values()):
        return Check("feedback rate", "none", "No response got feedback yet.", {"rates": rates})
    if worst is None:
        return Check("feedback rate", "ok", "All variants get feedback equally often.", {"rates": rates})
    said = f"{worst[1]} gets feedback on {number(100 * worst[2])} points more or fewer of its answers than the control"
    return Check(
        "feedback rate",
        "look",
        f"{said}: shares of feedback are biased, ratios per response are not.",
        {"rates": rates},
    )


def immature(asked: Question) -> Check | None:
    """Units whose window is not over yet, of the metric that waits longest; None when no metric waits."""
    days = max((metric.window_days or 0 for metric in asked.metrics), default=0)
    if not days:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE exposed_at > %s), count(*) FROM experiments_exposedunit"
            " WHERE experiment_id = %s AND phase = %s AND exclusion = ''",
            [asked.now - timedelta(days=days), asked.experiment.pk, asked.phase],
        )
        young, total = cursor.fetchone()
    said = f"{count(young)} of {count(total)} units have not had their {days} days yet; they wait, alike in all variants."
    return Check("mature", "ok", said, {"immature": young, "units": total, "days": days})


def unattributed(asked: Question) -> Check:
    rows = dict(asked.experiment.unattributed.values_list("reason", "count"))
    n = sum(rows.values())
    if not n:
        return Check("attributed", "ok", "Every response could be attributed.", {"reasons": {}})
    reasons = ", ".join(f"{reason}: {count(number_)}" for reason, number_ in sorted(rows.items()))
    return Check(
        "attributed",
        "look",
        f"{plural(n, 'response', 'responses')} could not be attributed ({reasons}).",
        {"reasons": rows},
    )


def whole_week(asked: Question) -> Check:
    started = asked.experiment.started_at or asked.now
    days = (asked.now - started) / timedelta(days=1)
    least = asked.experiment.minimum_days
    said = f"{min(int(days), least)} of {least} days."
    return Check("whole week", "ok" if days >= least else "look", said, {"days": days, "least": least})
