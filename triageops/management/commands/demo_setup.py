"""What the demo needs and no client may make over REST: the experiment, metric definitions, a monitor, a channel."""

import json
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from experiments import drafts
from experiments import lifecycle as experiment_lifecycle
from experiments.assignment import BASIS_POINTS
from experiments.models import Experiment
from feedback.models import Direction, MetricKind, QualityMetric
from monitoring import lifecycle as monitor_lifecycle
from monitoring.models import Channel, MessageTemplate, Monitor, Severity

KEY = "llm_model_ab_test"
VARIANTS = {"gpt-4": 0.5, "claude-2": 0.3, "llama2-70b": 0.2}
CONTROL = "gpt-4"
HISTORY = timedelta(days=14)
METRICS = {
    "helpfulness": (
        MetricKind.BOUNDED, Direction.HIGHER, "How far the answer helps the patient to decide, as the judge sees it.",
    ),
    "groundedness": (
        MetricKind.BOUNDED, Direction.HIGHER, "How much of the answer is supported by the sources that were found.",
    ),
    "under_triage": (
        MetricKind.RATE, Direction.LOWER, "A clinician would have sent the patient to more urgent care.",
    ),
}  # fmt: skip
DEFINITION: dict[str, Any] = {
    "name": "Which model answers triage questions best",
    "hypothesis": "claude-2 helps as much as gpt-4 at half the cost; llama2-70b is a little worse and far cheaper.",
    "minimum_effect": 0.02,
    "planned_sample": 3_000,
    "variants": [
        {
            "key": key,
            "is_control": key == CONTROL,
            "weight_bp": round(share * BASIS_POINTS),
            "config": {"model": key, "temperature": 0.2},
        }
        for key, share in VARIANTS.items()
    ],
    "metrics": [
        {
            "key": "helpfulness",
            "name": "helpfulness",
            "role": "primary",
            "kind": "ratio",
            "source": "quality:helpfulness",
            "margin": 0.04,
        },
        {
            "key": "cost",
            "name": "cost per answer",
            "kind": "ratio",
            "source": "response:cost",
            "better": "lower",
        },
        {
            "key": "thumbs_up",
            "name": "thumbs-up among feedback",
            "kind": "ratio",
            "source": "feedback:positive",
        },
        {
            "key": "latency_p95",
            "name": "latency p95",
            "kind": "quantile",
            "quantile": 0.95,
            "source": "response:latency_seconds",
            "better": "lower",
        },
        {
            "key": "errors",
            "name": "error rate",
            "role": "guardrail",
            "kind": "ratio",
            "source": "response:error",
            "better": "lower",
            "margin": 0.02,
        },
    ],
}
MONITOR = "Helpfulness of every variant"
CHANNEL = "Receiver of the demo"
TEMPLATE = "Short words for the team"
TITLE = (
    "{{ incident.severity|upper }}: {{ incident.title }}{% if count != 1 %} ({{ count }} in all){% endif %}"
)
BODY = """{% for one in incidents %}{{ one.title }}, {{ one.state }} since {{ one.since }}. {{ one.effect_text }}
{% endfor %}"""


class Command(BaseCommand):
    help = "Make the demo's experiment, metrics, monitor and channel where they are missing. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--receiver", required=True, help="URL at which the demo listens for alerts.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.IS_DEMO:
            raise CommandError(
                "This is not the demo: it would mix made-up data with yours. See bin/up --demo."
            )
        now = timezone.now()
        with transaction.atomic():
            _define_metrics()
            experiment = _experiment(now)
            channel = _channel(options["receiver"])
            MessageTemplate.objects.get_or_create(name=TEMPLATE, defaults={"title": TITLE, "body": BODY})
            monitor = _monitor(channel, now)
        found = {
            "experiment_id": experiment.pk,
            "began_at": experiment.started_at and experiment.started_at.isoformat(),
            "monitor_id": monitor.pk,
            "secret": channel.secret,
        }
        self.stdout.write(json.dumps(found))


def _define_metrics() -> None:
    for key, (kind, direction, description) in METRICS.items():
        values: dict[str, Any] = {"kind": kind, "direction": direction, "description": description}
        values |= {"low": 0.0, "high": 1.0} if kind == MetricKind.BOUNDED else {}
        QualityMetric.objects.get_or_create(key=key, defaults=values)


def _experiment(now: datetime) -> Experiment:
    found = Experiment.objects.filter(key=KEY).first()
    if found is not None:
        return found
    # It began when the history begins that the demo is about to send.
    began_at = (now - HISTORY).replace(second=0, microsecond=0)
    draft = drafts.create(KEY, DEFINITION, by=None, now=began_at)
    return experiment_lifecycle.start(draft, by=None, now=began_at, reason="demo")


def _channel(url: str) -> Channel:
    # Each start of the demo listens on a port of its own.
    channel, _ = Channel.objects.update_or_create(name=CHANNEL, defaults={"kind": "webhook", "url": url})
    return channel


def _monitor(channel: Channel, now: datetime) -> Monitor:
    monitor, is_new = Monitor.objects.get_or_create(
        name=MONITOR,
        defaults={
            "description": "Below 0.8 patients start to call the clinic instead.",
            "metric": "helpfulness",
            "split_by": ["variant"],
            "is_whole_watched": False,
            "max_slices": 4,
            "parameters": {"level": 0.8, "margin": 0.02},
            "severity": Severity.CRITICAL,
        },
    )
    if is_new:
        monitor.channels.add(channel)
        monitor_lifecycle.start(monitor, now=now)
    return monitor
