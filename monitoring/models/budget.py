from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from monitoring.models.monitor import Monitor


class FleetBudget(models.Model):
    """How many false alarms all monitors together may raise (one row)."""

    name = models.CharField(max_length=16, primary_key=True, default="fleet", editable=False)
    alarms_per_30_days = models.FloatField(
        "false alarms in 30 days",
        default=1.0,
        validators=[MinValueValidator(1e-3), MaxValueValidator(1000)],
        help_text="Over all monitors that have no number of their own. It is split among them, whatever their count: more "
        "monitors make each a little slower, never the whole louder.",
    )
    whole_share = models.FloatField(
        default=0.5,
        validators=[MinValueValidator(0.01), MaxValueValidator(1)],
        help_text="For all records together.",
    )
    slice_share = models.FloatField(
        default=0.3,
        validators=[MinValueValidator(0.01), MaxValueValidator(1)],
        help_text="For slices by one dimension.",
    )
    deep_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.01), MaxValueValidator(1)],
        help_text="For slices by several.",
    )

    class Meta:
        verbose_name = "budget of false alarms"
        verbose_name_plural = "budget of false alarms"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(name="fleet"), name="fleet_budget_one_row"),
            models.CheckConstraint(condition=Q(alarms_per_30_days__gt=0), name="fleet_budget_positive"),
        ]

    def __str__(self) -> str:
        return "the budget of all monitors"


class BudgetEntry(models.Model):
    """What one monitor was allowed on one day, and what it raised."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="budget_entries")
    day = models.DateField()
    expected = models.FloatField(
        default=0.0, help_text="Largest number of false alarms that is promised on average."
    )
    alarm_count = models.IntegerField(default=0)
    signal_count = models.IntegerField(default=0, help_text="Of single buckets.")
    inhibited_count = models.IntegerField(
        default=0, help_text="Noted on the incident of all records together."
    )

    class Meta:
        ordering = ("-day", "monitor_id")
        verbose_name_plural = "budget entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["monitor", "day"], name="budget_entry_once_per_day")
        ]

    def __str__(self) -> str:
        return f"{self.monitor_id} on {self.day}"
