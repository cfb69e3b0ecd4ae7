"""Experiments with metrics and facts, for tests of exposures and analysis."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from experiments import audit, lifecycle
from experiments.audit import Change
from experiments.models import Experiment, ExperimentMetric
from feedback import ingest
from feedback.models import ApiKey
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape
from feedback.tables import FEEDBACK, QUALITY_RECORDS, RESPONSES
from tests.experiments.factories import NOW, draft

POSITIVE: dict[str, Any] = {
    "key": "positive",
    "name": "positive share",
    "role": "primary",
    "kind": "ratio",
    "source": "feedback:positive",
}
COST: dict[str, Any] = {
    "key": "cost",
    "name": "cost per answer",
    "kind": "ratio",
    "source": "response:cost",
    "better": "lower",
}
ERRORS: dict[str, Any] = {
    "key": "errors",
    "name": "error rate",
    "role": "guardrail",
    "kind": "ratio",
    "source": "response:error",
    "better": "lower",
}
LATENCY: dict[str, Any] = {
    "key": "p95",
    "name": "latency p95",
    "kind": "quantile",
    "source": "response:latency_seconds",
    "better": "lower",
    "quantile": 0.95,
}
RED_FLAGS: dict[str, Any] = {
    "key": "red_flags",
    "name": "red flags",
    "role": "guardrail",
    "kind": "rare",
    "source": "quality:red_flag",
    "better": "lower",
}


def defined(
    metrics: Sequence[dict[str, Any]], weights: dict[str, int] | None = None, **changes: Any
) -> Experiment:
    """A draft with these metrics, in their order."""
    with transaction.atomic():
        arms = {"a": 5_000, "b": 5_000} if weights is None else weights
        experiment = draft(arms, next(iter(arms)), **changes)
        for position, metric in enumerate(metrics):
            ExperimentMetric.objects.create(experiment=experiment, position=position, **metric)
        audit.write(Change(experiment), "edit", by=None, now=NOW, reason="", before={})
    return experiment


def running(
    metrics: Sequence[dict[str, Any]],
    weights: dict[str, int] | None = None,
    started_at: datetime = NOW,
    **changes: Any,
) -> Experiment:
    return lifecycle.start(defined(metrics, weights, **changes), by=None, now=started_at)


def api_key() -> ApiKey:
    key = ApiKey(name="facts", scopes=["responses:write"])
    key.take_secret(ApiKey.new_secret())
    key.save()
    return key


class Facts:
    """Responses and what is said of them, stored at once."""

    def __init__(self, experiment: Experiment | None, now: datetime = NOW) -> None:
        self.experiment, self.now, self.key = experiment, now, api_key()
        self.number = 0

    def respond(
        self, unit: str, variant: str = "a", *, after: timedelta = timedelta(minutes=1), **values: Any
    ) -> str:
        """One response; its id."""
        self.number += 1
        response_id = values.pop("response_id", f"r-{self.number}")
        shape = ResponseShape(
            response_id=response_id,
            experiment=values.pop("experiment", self.experiment.key if self.experiment else ""),
            variant=variant,
            unit=unit,
            occurred_at=self.now + after,
            **values,
        )
        ingest.record_many(RESPONSES, [shape], self.key.pk, self.now + after)
        return str(response_id)

    def respond_many(self, shapes: Sequence[ResponseShape]) -> None:
        for start in range(0, len(shapes), 5_000):
            ingest.record_many(RESPONSES, list(shapes[start : start + 5_000]), self.key.pk, self.now)

    def opine(self, response_id: str, feedback_type: Any = "positive", **values: Any) -> None:
        shape = FeedbackShape(
            response_id=response_id,
            feedback_type=feedback_type,
            user_id=values.pop("user_id", "someone"),
            occurred_at=self.now,
            **values,
        )
        ingest.record_many(FEEDBACK, [shape], self.key.pk, self.now)

    def judge(self, response_id: str, **metrics: float | None) -> None:
        shape = QualityShape(
            response_id=response_id, evaluator_kind="code", evaluator_name="judge", metrics=metrics
        )
        ingest.record_many(QUALITY_RECORDS, [shape], self.key.pk, self.now)
