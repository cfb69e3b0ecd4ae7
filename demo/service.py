"""A made-up LLM service that answers health-triage questions: its models, its patients and what is said of its answers.

Everything about an answer follows from its id, time, patient and arm, so the same call gives the same facts, byte for
byte. No text of a question or an answer exists here; there is nothing to keep back.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EXPERIMENT = "llm_model_ab_test"
ENDPOINT = "/triage"
JUDGE = {"evaluator_kind": "llm_judge", "evaluator_name": "triage-judge", "evaluator_version": "3"}
CLINICIAN = {"evaluator_kind": "human", "evaluator_name": "clinician-review", "evaluator_version": "1"}

FEEDBACK_SHARE = 0.08
REVIEWED_SHARE = 0.03
CACHED_SHARE = 0.12
FAILED_SHARE = 0.006


@dataclass(frozen=True)
class Model:
    """One of the models. Prices are dollars for 1 000 tokens; latency_seconds is the median of an uncached answer."""

    key: str
    provider: str
    helpfulness: float
    groundedness: float
    latency_seconds: float
    input_price: float
    output_price: float


MODELS = {
    model.key: model
    for model in (
        Model("gpt-4", "openai", 0.870, 0.92, 2.3, 0.03, 0.06),
        Model("claude-2", "anthropic", 0.855, 0.91, 1.7, 0.008, 0.024),
        Model("llama2-70b", "self-hosted", 0.840, 0.88, 0.9, 0.0007, 0.0009),
    )
}
CONTROL = "gpt-4"
WORSE = "llama2-70b"
WORSE_HELPFULNESS = 0.60

LANGUAGES = {"en": 0.60, "es": 0.22, "de": 0.10, "fr": 0.08}
CHANNELS = {"web": 0.7, "app": 0.3}
COMMENTS = {
    ("en", "positive"): ("Clear and calm, thank you.", "I knew what to do next.", "Quick and to the point."),
    ("en", "negative"): ("Too general.", "I had to ask twice.", "It did not answer what I asked."),
    ("es", "positive"): ("Muy claro, gracias.", "Me ayudó a decidir."),
    ("es", "negative"): ("Demasiado general.", "Tuve que preguntar dos veces."),
    ("de", "positive"): ("Klar und hilfreich.", "Gut erklärt, danke."),
    ("de", "negative"): ("Zu allgemein.", "Das war nicht meine Frage."),
    ("fr", "positive"): ("Clair et rassurant.", "Très utile, merci."),
    ("fr", "negative"): ("Trop général.", "Ce n'était pas ma question."),
}


@dataclass(frozen=True)
class Arm:
    """What a unit was given: a model, and the variant that it stands for; variant None: not part of the experiment."""

    model: str
    variant: str | None

    @classmethod
    def of(cls, decision: dict[str, Any]) -> "Arm":
        """From the answer of POST /experiments/{key}/assign."""
        model = str(decision["config"].get("model") or decision["variant"] or CONTROL)
        return cls(model, decision["variant"] if decision["in_experiment"] else None)


@dataclass
class Case:
    """One answer of the service and what was said of it later, each as the API takes it."""

    response: dict[str, Any]
    quality: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)


def patient(number: int) -> str:
    return f"patient-{number:04d}"


def case(response_id: str, *, at: datetime, unit: str, arm: Arm, is_worse: bool = False) -> Case:
    """What happens when one patient asks."""
    random = Random(response_id)
    language = _chosen(Random(unit), LANGUAGES)
    channel = _chosen(random, CHANNELS)
    is_cached, is_failed = random.random() < CACHED_SHARE, random.random() < FAILED_SHARE
    response = _response(
        random, MODELS.get(arm.model, MODELS[CONTROL]), is_cached=is_cached, is_failed=is_failed
    )
    response |= {
        "response_id": response_id,
        "request_id": f"req-{response_id}",
        "occurred_at": _iso(at),
        "endpoint": ENDPOINT,
        "unit": unit,
        "attributes": {"language": language, "channel": channel},
    }
    if arm.variant is not None:
        response |= {"experiment": EXPERIMENT, "variant": arm.variant}
    found = Case(response)
    model = MODELS.get(arm.model, MODELS[CONTROL])
    target = WORSE_HELPFULNESS if is_worse and model.key == WORSE else model.helpfulness
    helpfulness, groundedness = _score(random, target), _score(random, model.groundedness)
    is_reviewed, is_missed = (
        random.random() < REVIEWED_SHARE,
        random.random() < 0.02 + (0.08 if is_worse else 0),
    )
    opinion = _opinion(random, helpfulness, language)
    if is_failed:
        return found
    found.quality.append(
        {
            "response_id": response_id,
            "occurred_at": _iso(at + timedelta(seconds=2)),
            **JUDGE,
            "metrics": {"helpfulness": helpfulness, "groundedness": groundedness},
        }
    )
    if is_reviewed:
        metrics = {"under_triage": int(is_missed)}
        found.quality.append(
            {"response_id": response_id, "occurred_at": _iso(at), **CLINICIAN, "metrics": metrics}
        )
    if opinion is not None:
        given_at = at + timedelta(seconds=float(opinion.pop("after_seconds")))
        found.feedback.append(
            {
                "response_id": response_id,
                "occurred_at": _iso(given_at),
                "user_id": unit,
                "source": channel,
                **opinion,
            }
        )
    return found


def _response(random: Random, model: Model, *, is_cached: bool, is_failed: bool) -> dict[str, Any]:
    input_tokens = max(40, round(random.gauss(320, 90)))
    output_tokens = max(20, round(random.gauss(190, 60)))
    latency = random.lognormvariate(0.0, 0.35) * (0.02 if is_cached else model.latency_seconds)
    price = (input_tokens * model.input_price + output_tokens * model.output_price) / 1_000
    answer: dict[str, Any] = {
        "model": model.key,
        "provider": model.provider,
        "input_tokens": input_tokens,
        "cache_hit": is_cached,
        "latency_seconds": round(latency, 4),
    }
    if is_failed:
        return answer | {"status": "error", "error_type": "upstream_timeout", "latency_seconds": 30.0}
    return answer | {
        "output_tokens": output_tokens,
        "cost": 0.0 if is_cached else round(price, 6),
        "finish_reason": "stop",
    }


def _score(random: Random, mean: float) -> float:
    """In [0, 1], with standard deviation of about 0.1."""
    return round(random.betavariate(12 * mean, 12 * (1 - mean)), 4)


def _opinion(random: Random, helpfulness: float, language: str) -> dict[str, Any] | None:
    """What the patient thinks, in some 8 of 100 cases: the better the answer, the likelier a thumb up."""
    speaks, liking, rates, says = (random.random() for _ in range(4))
    after_seconds = random.uniform(5, 45)
    wording = random.random()
    if speaks >= FEEDBACK_SHARE:
        return None
    likes = 1 / (1 + 2.718281828 ** (-14 * (helpfulness - 0.68)))
    kind = "positive" if liking < 0.96 * likes else "negative" if liking > 0.96 * likes + 0.04 else "neutral"
    opinion: dict[str, Any] = {"feedback_type": kind, "after_seconds": after_seconds}
    if rates < 0.6:
        opinion["rating"] = {"positive": 4 + (rates < 0.35), "neutral": 3, "negative": 1 + (rates < 0.35)}[
            kind
        ]
    comments = COMMENTS.get((language, kind), ())
    if says < 0.25 and comments:
        opinion["comment"] = comments[int(wording * len(comments))]
    return opinion


def _chosen(random: Random, shares: dict[str, float]) -> str:
    return random.choices(list(shares), list(shares.values()))[0]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
