from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from experiments.definition import UNIT_MAX
from experiments.models.experiment import Experiment
from feedback.models import TransactionIdField


class Exclusion(models.TextChoices):
    """Why a unit is not analysed; empty when it is."""

    CROSSOVER = "crossover", "seen in two variants"
    FORCED = "forced", "forced to a variant"
    MOVED = "moved", "moved by a change of weights"
    CARRIED = "carried", "exposed in an earlier phase"


class ExposedUnit(models.Model):
    """What is known of one unit in one phase since its first response: the sums that every analysis starts from.

    values and earlier hold two numbers a metric, sum and divisor, at 2 * slot and 2 * slot + 1 (experiments/outcomes.py).
    """

    experiment = models.ForeignKey(
        Experiment, on_delete=models.PROTECT, related_name="exposed", db_constraint=False, db_index=False
    )
    phase = models.IntegerField()
    unit = models.CharField(max_length=UNIT_MAX)
    variant = models.ForeignKey(
        "experiments.Variant", on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    epoch = models.IntegerField(help_text="The epoch in which it was assigned: its stratum.")
    exposed_at = models.DateTimeField(help_text="When its first response occurred.")
    last_at = models.DateTimeField()
    response_count = models.BigIntegerField(default=0)
    feedback_count = models.BigIntegerField(default=0, help_text="Responses with any feedback.")
    fallback_count = models.BigIntegerField(
        default=0, help_text="Responses of another model than the variant's config names."
    )
    drift_count = models.BigIntegerField(
        default=0, help_text="Responses made with another config than the variant's."
    )
    exclusion = models.CharField(max_length=16, choices=Exclusion.choices, blank=True)
    values = ArrayField(models.FloatField(), default=list)
    earlier = ArrayField(models.FloatField(), null=True, help_text="None: nothing before the exposure.")
    segments = models.JSONField(default=dict, help_text="Attributes of its first response.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "phase", "unit"], name="exposed_once_per_phase")
        ]

    def __str__(self) -> str:
        return self.unit


class ExposedValue(models.Model):
    """How many values of one metric of one exposed unit lie in one bin; kept for quantile metrics only."""

    exposed = models.ForeignKey(
        ExposedUnit, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    slot = models.SmallIntegerField()
    bin = models.IntegerField()
    n = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["exposed", "slot", "bin"], name="exposed_value_once_per_bin")
        ]


class Unattributed(models.Model):
    """Responses that name an experiment and cannot be counted in it, by the reason."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="unattributed")
    reason = models.CharField(max_length=32)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "reason"], name="unattributed_once_per_reason")
        ]


class ExposureCursor(models.Model):
    """How far the facts are in the exposed units (one row)."""

    name = models.CharField(max_length=16, primary_key=True)
    tx = TransactionIdField(help_text="All facts of transactions before this one are in.")
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
