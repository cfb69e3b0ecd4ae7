"""What the product knows about its own watching."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

CANARY_METRIC = "triageops_canary"
"""Made-up values; whoever counts or shows what people watch leaves out monitors of this metric."""

PLANTED = Q(monitor__metric=CANARY_METRIC) & ~Q(signal="check")
"""Incidents that were planted, to be excluded wherever people are shown or told what is wrong. Not those which say that the
product itself is blind, although they are the canary's too."""


class SelfCheck(models.Model):
    """When the checks were last looked after (one row)."""

    name = models.CharField(max_length=16, primary_key=True, default="self-check", editable=False)
    watched_at = models.DateTimeField()
    steady_since = models.DateTimeField(
        help_text="Since then without a break: before that, the whole product was at rest, and no check was late."
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(name="self-check"), name="self_check_one_row")
        ]

    def __str__(self) -> str:
        return "the self-check"


class Canary(models.Model):
    """Where the daily planted drift is on its way from the rollups to a channel (one row)."""

    name = models.CharField(max_length=16, primary_key=True, default="canary", editable=False)
    recorded_at = models.DateTimeField(null=True, help_text="Start of the last bucket that has values.")
    due_at = models.DateTimeField(help_text="When the next drift is to be planted.")
    planted_at = models.DateTimeField(
        null=True, help_text="Start of the first drifted bucket; empty: none is planted."
    )
    found_at = models.DateTimeField(null=True, help_text="When the last planted drift had been delivered.")
    seconds_to_detect = models.FloatField(
        null=True, help_text="From the start of that drift to its delivery."
    )

    class Meta:
        verbose_name_plural = "canary"
        constraints: ClassVar = [models.CheckConstraint(condition=Q(name="canary"), name="canary_one_row")]

    def __str__(self) -> str:
        return "the canary"
