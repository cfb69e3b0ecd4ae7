from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from monitoring.models.monitor import Monitor, ReferenceMode


class Reference(models.Model):
    """One version of what is usual for a monitor; a trigger in the database refuses to change it."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="references")
    version = models.IntegerField()
    mode = models.CharField(max_length=16, choices=ReferenceMode.choices)
    start_at = models.DateTimeField()
    end_at = models.DateTimeField()
    made_at = models.DateTimeField()
    # No constraint in the database: removing a person must not change what happened.
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was made.")
    question = models.JSONField(default=dict, help_text="What the monitor asked when it was learnt.")
    n = models.BigIntegerField()
    bucket_count = models.IntegerField()
    longest_gap_seconds = models.FloatField(default=0.0, help_text="Longest time without records in it.")
    shares = models.JSONField(
        default=dict, help_text="n and mean of each value of each dimension, to explain a change by."
    )

    class Meta:
        ordering = ("-version",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["monitor", "version"], name="reference_once_per_version"),
            models.CheckConstraint(condition=Q(start_at__lt=F("end_at")), name="reference_start_before_end"),
        ]

    def __str__(self) -> str:
        return f"version {self.version}"


class ReferenceSlice(models.Model):
    """What is usual in one slice."""

    reference = models.ForeignKey(Reference, on_delete=models.CASCADE, related_name="slices")
    key = models.TextField()
    labels = models.JSONField(default=dict)
    learnt = models.JSONField(help_text="monitoring.monitors.learnt")
    n = models.BigIntegerField()
    mean = models.FloatField(null=True)
    sd = models.FloatField(null=True)
    histogram = models.JSONField(default=dict, help_text="Name of bins -> bin -> count, of the whole window.")
    bucket_n = models.FloatField(help_text="Median records of a bucket that has any.")
    sight = models.JSONField(
        default=dict, help_text="Smallest change up and down that is found within a day on average."
    )

    class Meta:
        ordering = ("key",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["reference", "key"], name="reference_slice_once")
        ]

    def __str__(self) -> str:
        return self.key
