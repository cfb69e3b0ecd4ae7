from typing import ClassVar, Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from monitoring.models.monitor import Monitor


class MonitorSliceQuerySet(models.QuerySet["MonitorSlice"]):
    def tracked(self) -> Self:
        return self.filter(is_tracked=True)


class MonitorSlice(models.Model):
    """What one monitor knows of one slice: the detector's evidence, and how far the way back is."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="slices")
    key = models.TextField()
    labels = models.JSONField(default=dict)
    is_tracked = models.BooleanField(
        default=True, help_text="No: the monitor was changed since it last saw this slice."
    )
    evidence = models.JSONField(default=dict)
    log_evidence = models.FloatField(null=True, help_text="Logarithm of the evidence; 0 is the alarm line.")
    recovery = models.JSONField(default=dict)
    bucket_at = models.DateTimeField(null=True, help_text="Start of the last bucket that was checked.")
    last_row_at = models.DateTimeField(null=True, help_text="Start of the last bucket that had records.")

    objects = MonitorSliceQuerySet.as_manager()

    class Meta:
        ordering = ("monitor_id", "key")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["monitor", "key"], name="slice_once_per_monitor")
        ]

    def __str__(self) -> str:
        return self.key


class DriftEvaluation(models.Model):
    """What one check saw in one closed bucket of one slice."""

    slice = models.ForeignKey(MonitorSlice, on_delete=models.CASCADE, related_name="evaluations")
    bucket_at = models.DateTimeField()
    n = models.BigIntegerField()
    mean = models.FloatField()
    m2 = models.FloatField()
    log_evidence = models.FloatField(
        null=True, help_text="Before an alarm resets it; empty: no evidence at all."
    )
    is_alarm = models.BooleanField(default=False)
    is_signal = models.BooleanField(
        default=False, db_default=False, help_text="One bucket alone was too much."
    )
    is_frozen = models.BooleanField(
        default=False, db_default=False, help_text="A marker covers it: no evidence."
    )
    expected = models.FloatField(null=True, help_text="What is usual in this bucket.")
    low = models.FloatField(null=True, help_text="Up to here, and from `high` on, it is called a change.")
    high = models.FloatField(null=True)

    class Meta:
        ordering = ("slice_id", "bucket_at")
        indexes: ClassVar = [BrinIndex(fields=["bucket_at"], name="evaluation_bucket_at")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["slice", "bucket_at"], name="evaluation_once_per_bucket")
        ]

    def __str__(self) -> str:
        return f"{self.slice_id} at {self.bucket_at}"
