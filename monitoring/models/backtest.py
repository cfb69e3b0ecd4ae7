from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from uuid_utils.compat import uuid7

from monitoring.models.monitor import Monitor


class BacktestState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (BacktestState.WAITING, BacktestState.RUNNING)


class BacktestQuerySet(models.QuerySet["Backtest"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def done(self) -> Self:
        return self.filter(state=BacktestState.DONE)


class Backtest(models.Model):
    """One replay of the past: when a monitor, with these settings, would have raised an alarm."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="backtests")
    question = models.JSONField(help_text="The settings that were tried; see monitoring.questions.")
    changes = models.JSONField(
        default=dict,
        help_text="Those of the settings that differed from the ones in force when it was asked for.",
    )
    is_change = models.BooleanField(default=False, help_text="Yes: the settings differ from those in force.")
    state = models.CharField(max_length=16, choices=BacktestState.choices, default=BacktestState.WAITING)
    progress = models.FloatField(default=0.0, help_text="From 0 to 1.")
    report = models.JSONField(default=dict)
    error = models.CharField(max_length=500, blank=True)
    asked_at = models.DateTimeField()
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = BacktestQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["monitor"],
                condition=models.Q(state__in=[state.value for state in UNFINISHED]),
                name="backtest_one_at_a_time",
            ),
            # It takes a processor for half a minute; checks have to go on beside it.
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state=BacktestState.RUNNING),
                name="backtest_one_running",
            ),
        ]

    def __str__(self) -> str:
        return f"backtest of {self.asked_at:%Y-%m-%d %H:%M}"

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED
