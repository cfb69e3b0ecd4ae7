"""Monitors that could be made of what came in: one for each thing that is worth it, with settings that suit it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback.models import Direction, MetricKind, QualityMetric
from feedback.shapes import RESERVED_METRICS
from feedback.stats import Usage
from monitoring import sources
from monitoring.foresight import Preview
from monitoring.models import CANARY_METRIC, ReferenceMode, Severity

MOST_VARIANTS = 10

_WHY = {
    "error": "Answers that fail help nobody; how often they fail is the first sign of an outage.",
    "latency_seconds": "Slow answers are abandoned; mean, spread and slowest part are watched at once.",
    "cost": "A prompt or a model that became dearer shows here before it shows on the bill.",
    "output_tokens": "Answers that become much longer or shorter often mean that a prompt or a model was changed.",
    "embedding_distance": "Questions that differ from those that answers were tested with need tests of their own.",
    "feedback:negative": "People say directly that answers became worse.",
    "feedback:rating": "People say directly how good answers are.",
    "feedback:coverage": "When fewer people say anything, all other numbers of feedback rest on others than before.",
}
_NOT_OWN = {*RESERVED_METRICS, CANARY_METRIC}
_PLAIN = {"output_tokens", "embedding_distance", "feedback:coverage"}
"""More or less of them is neither good nor bad by itself."""
_MOVING = {sources.VOLUME, "latency_seconds", "cost", "output_tokens", "feedback:coverage"}
"""Their level moves on for good reasons, so the reference moves along."""


@dataclass(frozen=True)
class Suggestion:
    """key: stable. settings: fields of the monitor. blocked: what has to be done first; empty when it can be created.

    preview, seen: filled in last, for all at once.
    """

    key: str
    name: str
    why: str
    settings: Mapping[str, Any]
    blocked: str = ""
    preview: Preview = field(default_factory=Preview)
    seen: str = ""

    @property
    def metric(self) -> str:
        return str(self.settings["metric"])

    @property
    def kind(self) -> str:
        return str(self.settings.get("kind", ""))


def candidates(
    used: Mapping[str, Usage], definitions: Mapping[str, QualityMetric], variants: int
) -> list[Suggestion]:
    drafts = [] if "error" not in used else [_volume()]
    for key in ("error", "latency_seconds", "cost"):
        drafts += [_standard(key, used[key], variants)] if key in used else []
    own = [used[key] for key in sorted(used) if key in definitions and key not in _NOT_OWN]
    known = [one for one in own if definitions[one.key].kind != MetricKind.DISCOVERED]
    drafts += [one for usage in known for one in _classified(usage, definitions[usage.key], variants)]
    if used.get("error") and used["error"].has_feedback:
        drafts += [
            _standard(f"feedback:{kind}", used["error"], variants)
            for kind in ("negative", "rating", "coverage")
        ]
    agreements = [key for key in sorted(used) if key.startswith(sources.AGREEMENT)]
    drafts += [_agreement(key, used[key], variants) for key in agreements]
    for key in ("output_tokens", "embedding_distance"):
        drafts += [_standard(key, used[key], variants)] if key in used else []
    return drafts + [_unclassified(one) for one in own if one not in known]


def _volume() -> Suggestion:
    why = (
        "When requests stay away or pile up, something in front of the model is broken; silence is found too."
    )
    return _draft(sources.VOLUME, "volume", {"side": "both"}, why, Severity.ERROR)


def _standard(key: str, usage: Usage, variants: int) -> Suggestion:
    metric = sources.source_named(key).metric
    kind = "rate" if metric.shape == "share" else "distribution"
    side = "both" if key in _PLAIN else "worse"
    severity = Severity.WARNING if key in _PLAIN else Severity.ERROR
    split = {} if key in _PLAIN else _split(usage, variants)
    return _draft(key, kind, {"side": side}, _WHY[key], severity, split)


def _classified(usage: Usage, definition: QualityMetric, variants: int) -> list[Suggestion]:
    metric = sources.metric_of(definition)
    split = _split(usage, variants)
    low, high = metric.bounds or (0.0, 0.0)
    if low < 0 < high and "triage" in metric.key:
        why = "A case taken for less urgent than it is does harm; under-triage is minded much sooner than over-triage."
        given = {"threshold": min(0.5, -low, high)}
        return [_draft(metric.key, "triage_error", given, why, Severity.CRITICAL, split)]
    if metric.shape == "share":
        why = f"{_words(definition)} It is 0 or 1 for each answer, so its share is watched."
        return [_draft(metric.key, "rate", {"side": "worse"}, why, Severity.ERROR, split)]
    why = f"{_words(definition)} Its mean, its spread and its tails are watched at once."
    side = "both" if metric.shape == "score" else "worse"
    return [_draft(metric.key, "distribution", {"side": side}, why, Severity.ERROR, split)]


def _agreement(key: str, usage: Usage, variants: int) -> Suggestion:
    judged = key.removeprefix(sources.AGREEMENT)
    why = f"“{judged}” decides only as long as it tracks what people say; this finds when it stops."
    return _draft(key, "rate", {"side": "worse"}, why, Severity.ERROR, _split(usage, variants))


def _unclassified(usage: Usage) -> Suggestion:
    why = "It was seen, but nobody has said yet what its values mean and which way is better."
    return Suggestion(usage.key, usage.key, why, {"metric": usage.key}, blocked="Classify it first.")


def _draft(
    metric: str,
    kind: str,
    parameters: Mapping[str, Any],
    why: str,
    severity: Severity,
    split: Mapping[str, Any] | None = None,
) -> Suggestion:
    title = sources.title_of(metric)
    name = f"{title} as usual"
    mode = ReferenceMode.TRAILING if metric in _MOVING else ReferenceMode.PINNED
    settings = {
        "kind": kind,
        "metric": metric,
        "parameters": dict(parameters),
        "severity": severity,
        "reference_mode": mode,
        **(split or {}),
    }
    return Suggestion(
        f"{metric}/{kind}", name if "_" in title else name[:1].upper() + name[1:], why, settings
    )


def _split(usage: Usage, variants: int) -> dict[str, Any]:
    """By variant, where an experiment runs and more than one variant answers."""
    if min(variants, usage.variant_count) < 2:
        return {}
    return {"split_by": ["variant"], "max_slices": min(MOST_VARIANTS, max(variants, usage.variant_count))}


def _words(definition: QualityMetric) -> str:
    better = {Direction.HIGHER: "higher is better", Direction.LOWER: "lower is better"}
    known = better.get(Direction(definition.direction), "neither way is better by itself")
    about = definition.description.strip().rstrip(".")
    return f"{about} ({known})." if about else f"A quality metric of which {known}."
