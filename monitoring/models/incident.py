from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from monitoring.models.canary import PLANTED
from monitoring.models.monitor import Monitor, Severity


class IncidentState(models.TextChoices):
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RECOVERING = "recovering"
    RESOLVED = "resolved"


class Resolution(models.TextChoices):
    RECOVERED = "recovered", "it is well again"
    FIXED = "fixed", "somebody fixed it"
    EXPECTED = "expected", "the change was expected"
    FALSE_POSITIVE = "false_positive", "it was a false alarm"
    MONITOR_CHANGED = "monitor_changed", "the monitor was changed"
    BASELINE = "baseline", "accepted as the new baseline"
    RESUMED = "resumed", "the experiment was resumed"
    STOPPED = "stopped", "the experiment was stopped"


class Signal(models.TextChoices):
    DRIFT = "drift", "lasting change"
    ANOMALY = "anomaly", "single bucket"
    CHECK = "check", "the check itself"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        return self.exclude(state=IncidentState.RESOLVED)

    def genuine(self) -> Self:
        """Without those that the canary's planted drift opened: nothing is wrong then."""
        return self.exclude(PLANTED)

    def resolved(self) -> Self:
        return self.filter(state=IncidentState.RESOLVED)

    def of_monitors(self) -> Self:
        return self.filter(monitor__isnull=False)

    def of_experiments(self) -> Self:
        return self.exclude(experiment="")


class Incident(models.Model):
    """One real change for the worse, from its discovery until it is over: found by a monitor, or a halted experiment."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    monitor = models.ForeignKey(Monitor, null=True, on_delete=models.PROTECT, related_name="incidents")
    # A key, as responses carry it: an experiment's key is fixed once it has started.
    experiment = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text="Key of the experiment that was halted.",
    )
    experiment_event = models.BigIntegerField(
        null=True, help_text="Number of the experiment's change that opened it: the halt."
    )
    evidence = models.JSONField(
        default=dict,
        db_default={},
        help_text="What it was based on when it was opened; a trigger refuses to change it.",
    )
    slice_key = models.TextField()
    labels = models.JSONField(default=dict)
    signal = models.CharField(
        max_length=16, choices=Signal.choices, default=Signal.DRIFT, db_default=Signal.DRIFT.value
    )
    title = models.CharField(max_length=300)
    severity = models.CharField(max_length=16, choices=Severity.choices)
    state = models.CharField(max_length=16, choices=IncidentState.choices, default=IncidentState.FIRING)
    onset_at = models.DateTimeField(help_text="When it seems to have begun.")
    opened_at = models.DateTimeField(help_text="When it was found.")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolution = models.CharField(max_length=32, choices=Resolution.choices, blank=True)
    effect = models.JSONField(
        default=dict,
        help_text="current, level, difference with its 95 % interval (low, high), and n, since the onset.",
    )
    alarm_count = models.IntegerField(default=1, help_text="Alarms of the detector while it was open.")
    version = models.IntegerField(
        default=1, help_text="Grows with every event; of two writers the later one loses."
    )

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["monitor", "slice_key"],
                condition=~Q(state=IncidentState.RESOLVED),
                name="incident_one_open_per_slice",
            ),
            models.UniqueConstraint(
                fields=["experiment", "slice_key"],
                condition=~Q(state=IncidentState.RESOLVED) & ~Q(experiment=""),
                name="incident_one_open_per_experiment",
            ),
            models.UniqueConstraint(fields=["experiment_event"], name="incident_once_per_halt"),
            models.CheckConstraint(
                condition=Q(monitor__isnull=False, experiment="")
                | Q(monitor__isnull=True) & ~Q(experiment=""),
                name="incident_of_a_monitor_or_an_experiment",
            ),
            models.CheckConstraint(
                condition=Q(state=IncidentState.RESOLVED, resolved_at__isnull=False) & ~Q(resolution="")
                | ~Q(state=IncidentState.RESOLVED) & Q(resolved_at__isnull=True, resolution=""),
                name="incident_resolved_says_when_and_why",
            ),
            models.CheckConstraint(
                condition=~Q(state=IncidentState.ACKNOWLEDGED) | Q(acknowledged_at__isnull=False),
                name="incident_acknowledged_says_when",
            ),
            models.CheckConstraint(
                condition=Q(onset_at__lte=F("opened_at")), name="incident_onset_before_opening"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.state != IncidentState.RESOLVED


class EventKind(models.TextChoices):
    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    RECOVERING = "recovering"
    RELAPSED = "relapsed"
    ESCALATED = "escalated"
    NOTED = "noted", "alarm of a slice"
    RESOLVED = "resolved"


class IncidentEvent(models.Model):
    """One thing that happened to an incident; a trigger in the database refuses to change or remove it."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="events")
    seq = models.IntegerField()
    kind = models.CharField(max_length=32, choices=EventKind.choices)
    at = models.DateTimeField()
    # No constraint in the database: removing a person must not change what happened.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ("incident_id", "seq")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["incident", "seq"], name="incident_event_once_per_seq")
        ]

    def __str__(self) -> str:
        return f"{self.seq}. {self.kind}"
