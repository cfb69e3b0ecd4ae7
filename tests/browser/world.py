"""A week of a believable LLM service for pages to show: written through the product's own functions, rolled up once."""

from datetime import datetime, time, timedelta

import numpy as np

from experiments import allocation, drafts, layers, lifecycle
from experiments.models import Experiment, Layer
from feedback import ingest, rollups
from feedback.models import ALL_SCOPES, ApiKey, Direction, MetricKind, QualityMetric
from feedback.shapes import FeedbackShape, ResponseShape
from feedback.tables import FEEDBACK, RESPONSES
from monitoring import backtests, checks, incidents
from monitoring import lifecycle as monitoring_lifecycle
from monitoring.models import (
    Channel,
    Hours,
    Incident,
    InhibitRule,
    MaintenanceWindow,
    Marker,
    MessageTemplate,
    Monitor,
    MonitorSlice,
    Signal,
)
from monitoring.notifying import route_settings
from monitoring.quiet import silences
from monitoring.routing.matchers import parse
from triageops.observability import jobs

WEIGHTS = {"gpt-4": 5_000, "claude-2": 3_000, "llama2-70b": 2_000}
HELPFULNESS = {"gpt-4": 0.84, "claude-2": 0.80, "llama2-70b": 0.78}
COST = {"gpt-4": 0.021, "claude-2": 0.012, "llama2-70b": 0.002}
_EVERY = timedelta(minutes=6)
_BAD = timedelta(hours=6)


def api_key(now: datetime, name: str = "triage-api") -> ApiKey:
    key = ApiKey(name=name, scopes=list(ALL_SCOPES), last_used_at=now)
    key.take_secret(ApiKey.new_secret())
    key.save()
    return key


def helpfulness() -> None:
    """What the metric means; nobody has classified “groundedness” yet."""
    QualityMetric.objects.update_or_create(
        key="helpfulness",
        defaults={
            "kind": MetricKind.BOUNDED, "low": 0.0, "high": 1.0, "direction": Direction.HIGHER,
            "description": "How much the answer helps, as the judge sees it.",
        },
    )  # fmt: skip


def facts(key: ApiKey, now: datetime, days: float = 7.0) -> int:
    """Responses and feedback; llama2-70b gets much worse in the last six hours. The number of responses."""
    helpfulness()
    random = np.random.default_rng(7)
    count = int(timedelta(days=days) / _EVERY)
    responses: list[ResponseShape] = []
    feedback: list[FeedbackShape] = []
    for index in range(count):
        # More by day than by night, as patients are.
        at = now - _EVERY * (count - index)
        rate = 2.5 + 1.5 * np.sin((at.hour - 8) / 12 * np.pi)
        # Enough of the bad ones to be found, at whatever hour the tests run.
        for number in range(random.poisson(max(rate, 4.0) if now - at < _BAD else rate)):
            response = _response(random, f"r-{index}-{number}", at, now)
            responses.append(response)
            if random.random() < 0.09:
                feedback.append(_feedback(random, response, at))
    for chunk in range(0, len(responses), 5_000):
        ingest.record_many(RESPONSES, responses[chunk : chunk + 5_000], key.pk, now)
    ingest.record_many(FEEDBACK, feedback, key.pk, now)
    rollups.roll_up(now)
    return len(responses)


def _response(random: np.random.Generator, name: str, at: datetime, now: datetime) -> ResponseShape:
    variant = str(random.choice(list(WEIGHTS), p=[weight / 10_000 for weight in WEIGHTS.values()]))
    mean = HELPFULNESS[variant] - (0.55 if variant == "llama2-70b" and now - at < _BAD else 0.0)
    is_failed = random.random() < 0.006
    return ResponseShape(
        response_id=name,
        occurred_at=at,
        endpoint="/triage",
        model=variant,
        experiment="llm_model_ab_test",
        variant=variant,
        unit=f"user-{random.integers(400)}",
        input_tokens=int(random.integers(150, 600)),
        output_tokens=int(random.integers(40, 300)),
        latency_seconds=float(random.lognormal(0.0, 0.4)),
        cost=float(COST[variant] * random.lognormal(0.0, 0.2)),
        status="error" if is_failed else "success",
        error_type="timeout" if is_failed else "",
        attributes={"language": str(random.choice(["en", "es"], p=[0.8, 0.2])), "channel": "web"},
        metrics={
            "helpfulness": float(np.clip(random.normal(mean, 0.12), 0, 1)),
            "groundedness": float(random.beta(9, 1.2)),
        },
    )


def _feedback(random: np.random.Generator, response: ResponseShape, at: datetime) -> FeedbackShape:
    is_good = random.random() < response.metrics["helpfulness"]  # type: ignore[operator]
    return FeedbackShape(
        response_id=str(response.response_id),
        occurred_at=at,
        feedback_type="positive" if is_good else "negative",
        rating=int(random.integers(4, 6) if is_good else random.integers(1, 3)),
        comment="" if random.random() < 0.8 else "It answered what I asked.",
        user_id=response.unit,
        source="web",
    )


def orphan(key: ApiKey, now: datetime) -> None:
    """Feedback on a response that nobody has sent yet."""
    shape = FeedbackShape(
        response_id="not-seen-yet", occurred_at=now, feedback_type="negative", user_id="u", source="web"
    )
    ingest.record_many(FEEDBACK, [shape], key.pk, now)
    rollups.roll_up(now)


def experiment(now: datetime) -> Experiment:
    variants = [
        {
            "key": key,
            "is_control": position == 0,
            "weight_bp": weight_bp,
            "config": {"model": key, "temperature": 0.2},
        }
        for position, (key, weight_bp) in enumerate(WEIGHTS.items())
    ]
    definition = {"name": "Which model answers best", "variants": variants}
    draft = drafts.create("llm_model_ab_test", definition, by=None, now=now)
    running = lifecycle.start(draft, by=None, now=now - timedelta(days=5))
    for number in range(20):
        allocation.assign(running.key, f"user-{number}", now=now)
    return running


def monitor(started_at: datetime) -> Monitor:
    """Helpfulness of every variant, from `started_at` on, with one channel to tell."""
    helpfulness()
    made = Monitor.objects.create(
        name="Helpfulness of every variant",
        metric="helpfulness",
        split_by=["variant"],
        is_whole_watched=False,
        max_slices=3,
        parameters={"level": 0.7},
    )
    made.channels.add(
        Channel.objects.create(name="ops", kind="webhook", url="https://hooks.example.org/triage")
    )
    monitoring_lifecycle.start(made, now=started_at)
    return made


def incident(now: datetime) -> Incident:
    """One that is only a row, for pages that need no evidence behind it."""
    place = MonitorSlice.objects.create(
        monitor=monitor(now), key="variant=llama2-70b", labels={"variant": "llama2-70b"}
    )
    return incidents.open_or_note(
        place,
        title="helpfulness of llama2-70b is below 0.7",
        signal=Signal.DRIFT,
        severity="error",
        evidence={},
        onset_at=now - timedelta(minutes=110),
        effect={"current": 0.35, "level": 0.7, "difference": -0.35, "low": -0.4, "high": -0.3, "n": 96},
        log_evidence=3.1,
        now=now - timedelta(minutes=70),
    )


def found_incident(now: datetime) -> Incident:
    """What the real checks find in the facts, with all their evidence."""
    monitor(now - timedelta(hours=12))
    checks.run_due(now)
    return Incident.objects.get()


def release(now: datetime) -> Marker:
    """A marker to come."""
    start = now + timedelta(days=1)
    return Marker.objects.create(
        kind="deploy", name="release 4.2", starts_at=start, ends_at=start + timedelta(hours=1)
    )


def schedule(now: datetime) -> None:
    jobs.declare(
        {"roll-up": 10.0, "check-monitors": 60.0, "deliver-messages": 5.0, "clean-up": 86_400.0}, now=now
    )
    for name, age, rows in (("roll-up", 4, 1_204), ("check-monitors", 31, 212), ("deliver-messages", 2, 0)):
        at = now - timedelta(seconds=age)
        jobs.record(name=name, started_at=at, finished_at=at + timedelta(milliseconds=180), rows=rows)
    at = now - timedelta(hours=5)
    jobs.record(name="clean-up", started_at=at, finished_at=at + timedelta(seconds=3), rows=18)


def quiet(now: datetime) -> None:
    """What holds messages back: a silence, a maintenance window, a rule of inhibition."""
    silences.make(
        parse('variant="claude-2"'),
        starts_at=now,
        ends_at=now + timedelta(hours=2),
        comment="The new prompt is being rolled out.",
        created_by="ada",
        now=now,
    )
    MaintenanceWindow.objects.create(
        name="Restart of the database",
        repeats="weekly",
        weekdays="sat",
        start=time(22),
        duration_seconds=14_400,
        zone="Europe/Berlin",
        starts_at=now,
        created_by="ada",
    )
    InhibitRule.objects.create(
        name="The graver one",
        source_matchers=['severity="critical"'],
        target_matchers=['severity="warning"'],
        equal=["monitor"],
    )


def everything(now: datetime, days: float = 7.0) -> Incident:
    layer = Layer(key="triage", description="All that changes the answer to a patient.")
    layers.save(layer, by=None, now=now, reason="models and prompts collide")
    layers.hold_out(0, by=None, now=now)
    facts(api_key(now), now, days)
    experiment(now)
    schedule(now)
    found = found_incident(now)
    Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    route_settings.create({"name": "everything"})
    MessageTemplate.objects.create(name="short", title="{{ incident.title }}", body="{{ incident.summary }}")
    quiet(now)
    release(now)
    backtests.ask(Monitor.objects.get(), by=None, now=now)
    return found
