from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from experiments.definition import KEY_PATTERN, valid_key, validate_margin, validate_source
from experiments.models.experiment import Experiment


class Role(models.TextChoices):
    PRIMARY = "primary", "primary: decides"
    SECONDARY = "secondary", "secondary: explains"
    GUARDRAIL = "guardrail", "guardrail: must not get worse"


class MetricType(models.TextChoices):
    PROPORTION = "proportion", "proportion: units with at least one"
    MEAN = "mean", "mean: sum of each unit"
    RATIO = "ratio", "ratio: mean of each answer, units as clusters"
    QUANTILE = "quantile", "quantile: p50 or p95 of answers"
    RARE = "rare", "rare event: units with at least one, exact test"


class Per(models.TextChoices):
    VALUE = "value", "each value that was recorded"
    RESPONSE = "response", "each response"


class Better(models.TextChoices):
    HIGHER = "higher", "higher is better"
    LOWER = "lower", "lower is better"


class ExperimentMetric(models.Model):
    """One number that an experiment is judged by: where it comes from, which way is better, and what role it plays."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="metrics")
    position = models.PositiveSmallIntegerField(default=0, editable=False)
    key = models.CharField(max_length=64, validators=[valid_key], help_text="E.g. “win_share”.")
    name = models.CharField(max_length=100, help_text="As people read it, e.g. “win share”.")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.SECONDARY)
    kind = models.CharField(
        max_length=16, choices=MetricType.choices, default=MetricType.RATIO, verbose_name="type"
    )
    source = models.CharField(
        max_length=80,
        validators=[validate_source],
        help_text="feedback:positive, feedback:negative, feedback:any, feedback:rating, response:latency_seconds, "
        "response:cost, response:error, response:input_tokens, response:output_tokens, response:cache_hit, "
        "quality:<metric>, or net_benefit.",
    )
    per = models.CharField(
        max_length=8, choices=Per.choices, default=Per.VALUE, help_text="Of a ratio: what it is divided by."
    )
    better = models.CharField(
        max_length=8, choices=Better.choices, default=Better.HIGHER, verbose_name="direction"
    )
    margin = models.FloatField(
        default=0.0,
        validators=[MinValueValidator(0), validate_margin],
        help_text="How much worse does not matter, in the metric's own unit: of a guardrail and of “not inferior”.",
    )
    cap = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Larger sums of one unit count as this much. Empty: as they are.",
    )
    window_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(90)],
        help_text="Only the first days after a unit's exposure, of units that had them in full. Empty: open.",
    )
    quantile = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(0.99)],
        help_text="Of a quantile metric: 0.5 or 0.95.",
    )
    worth = models.FloatField(
        null=True, blank=True, help_text="Of net_benefit: what one positive feedback is worth, in dollars."
    )
    is_adjusted = models.BooleanField(
        default=True,
        verbose_name="use earlier data (CUPED)",
        help_text="Take out what the unit was like in the 14 days before its exposure; narrows intervals.",
    )
    halts = models.BooleanField(
        default=True, help_text="Of a guardrail: halt the experiment when a variant is shown to be worse."
    )
    alpha = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0001), MaxValueValidator(0.2)],
        verbose_name="error rate",
        help_text="Of a guardrail, its own. Empty: the experiment's.",
    )

    class Meta:
        ordering = ("experiment_id", "position", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "key"], name="metric_key_once_per_experiment"),
            models.UniqueConstraint(
                fields=["experiment"], condition=Q(role=Role.PRIMARY), name="metric_one_primary"
            ),
            models.CheckConstraint(
                condition=Q(key__regex=KEY_PATTERN), name="experiment_metric_key_is_valid"
            ),
            models.CheckConstraint(
                condition=~Q(kind=MetricType.QUANTILE) | Q(quantile__gt=0, quantile__lt=1),
                name="metric_quantile_says_which",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_higher_better(self) -> bool:
        return self.better == Better.HIGHER

    def clean(self) -> None:
        errors: dict[str, str] = {}
        if self.kind == MetricType.QUANTILE:
            if self.quantile is None:
                errors["quantile"] = "Say which quantile, such as 0.95."
            if not self.source.startswith(("response:", "quality:")):
                errors["source"] = (
                    "A quantile is of a number of each response, such as response:latency_seconds."
                )
        if self.source == "net_benefit":
            if self.worth is None:
                errors["worth"] = "Say what one positive feedback is worth."
            if self.kind not in {MetricType.MEAN, MetricType.RATIO}:
                errors["kind"] = "A net benefit is a mean or a ratio."
        if errors:
            raise ValidationError(errors)
