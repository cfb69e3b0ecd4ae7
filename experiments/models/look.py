from typing import ClassVar

from django.db import models

from experiments.models.experiment import Experiment


class Decision(models.TextChoices):
    SHIP = "ship", "ship"
    CHEAPER = "cheaper", "not inferior and cheaper"
    HARMFUL = "harmful", "harmful"
    FUTILE = "futile", "futile"
    KEEP = "keep", "keep running"
    WAIT = "wait", "not enough data"


class SequentialPlan(models.Model):
    """What one comparison fixed at its first look and may not change after: tuning and planned information."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="plans")
    phase = models.IntegerField()
    metric = models.CharField(max_length=64)
    variant = models.CharField(max_length=128)
    alpha = models.FloatField()
    tau2 = models.FloatField(help_text="Of the mixture, in the metric's unit squared.")
    planned_information = models.FloatField()
    planned_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "phase", "metric", "variant"], name="plan_once")
        ]

    def __str__(self) -> str:
        return f"{self.metric} of {self.variant}"


class Look(models.Model):
    """One analysis of one experiment as it stood at a moment; written once."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="looks")
    phase = models.IntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField()
    unit_count = models.BigIntegerField()
    decision = models.CharField(max_length=16, choices=Decision.choices)
    variant = models.CharField(max_length=128, blank=True, help_text="Which variant the decision is about.")
    sentence = models.TextField(help_text="The decision with its reason.")
    health = models.JSONField(default=dict)
    segments = models.JSONField(default=list)

    class Meta:
        ordering = ("experiment_id", "-id")
        indexes: ClassVar = [models.Index(fields=["experiment", "phase", "-at"], name="look_at")]

    def __str__(self) -> str:
        return f"look of {self.experiment_id} at {self.at}"


class LookEstimate(models.Model):
    """One metric of one variant against the control in one look; of the control itself, its value alone."""

    look = models.ForeignKey(Look, on_delete=models.CASCADE, related_name="estimates")
    metric = models.CharField(max_length=64)
    variant = models.CharField(max_length=128)
    n = models.BigIntegerField()
    value = models.FloatField(null=True)
    value_low = models.FloatField(null=True, help_text="95 % interval of the value, for reading.")
    value_high = models.FloatField(null=True)
    effect = models.FloatField(null=True, help_text="Absolute difference from the control.")
    se = models.FloatField(null=True, help_text="Of the effect, for the test.")
    information = models.FloatField(null=True)
    log_e = models.FloatField(null=True)
    p_any = models.FloatField(null=True, help_text="Always valid: the smallest so far.")
    p_corrected = models.FloatField(null=True)
    low = models.FloatField(null=True, help_text="Of the confidence sequence.")
    high = models.FloatField(null=True)
    boundary = models.FloatField(
        null=True, help_text="|z| that a group sequential look needs; empty: no such look."
    )
    z = models.FloatField(null=True)
    verdict = models.CharField(max_length=16, blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ("look_id", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["look", "metric", "variant"], name="estimate_once_per_look")
        ]

    def __str__(self) -> str:
        return f"{self.metric} of {self.variant}"
