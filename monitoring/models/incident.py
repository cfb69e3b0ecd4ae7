from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from monitoring.models.canary import PLANTED
from monitoring.models.monitor import Monitor, Severity


class IncidentState(models.TextChoices):
    SUSPECT = "suspect"
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
    REPORTED_OVER = "reported_over", "its source says that it is over"
    FELL_SILENT = "fell_silent", "its source did not repeat it"
    FADED = "faded", "the suspicion passed"


class Signal(models.TextChoices):
    DRIFT = "drift", "lasting change"
    ANOMALY = "anomaly", "single bucket"
    CHECK = "check", "the check itself"
    REPORTED = "reported", "reported by another system"


class Source(models.TextChoices):
    """Who reported it, where neither a monitor nor an experiment did."""

    API = "api", "REST API"
    ALERTMANAGER = "alertmanager", "Alertmanager"
    PROMETHEUS = "prometheus", "Prometheus"
    SELF = "triageops", "TriageOps itself"


class Usefulness(models.TextChoices):
    USEFUL = "useful", "useful: somebody had to act"
    NOISE = "noise", "noise: nobody had to act"
    EXPECTED = "expected", "expected: it was known"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        """Told, or about to be; a suspicion is not."""
        return self.exclude(state__in=(IncidentState.RESOLVED, IncidentState.SUSPECT))

    def unresolved(self) -> Self:
        """Open ones and suspicions."""
        return self.exclude(state=IncidentState.RESOLVED)

    def genuine(self) -> Self:
        """Without those that the canary's planted drift opened: nothing is wrong then."""
        return self.exclude(PLANTED)

    def told(self) -> Self:
        """Without suspicions and those that passed: nobody heard of them."""
        return self.exclude(state=IncidentState.SUSPECT).exclude(resolution=Resolution.FADED)

    def resolved(self) -> Self:
        return self.filter(state=IncidentState.RESOLVED)

    def of_monitors(self) -> Self:
        return self.filter(monitor__isnull=False)

    def of_experiments(self) -> Self:
        return self.exclude(experiment="")

    def reported(self) -> Self:
        return self.exclude(source="")


class Incident(models.Model):
    """One real change for the worse, from its discovery until it is over: found by a monitor, a halted experiment, or reported."""

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
    source = models.CharField(
        max_length=16,
        choices=Source.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Who reported it; empty: a monitor or an experiment's guardrail found it.",
    )
    reported_by = models.CharField(
        max_length=150, blank=True, default="", db_default="", help_text="The key that reported it."
    )
    annotations = models.JSONField(
        default=dict, db_default={}, help_text="summary, description, runbook_url and link, as reported."
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
    acknowledged_until = models.DateTimeField(
        null=True,
        help_text="Then it fires again, unless it is over. Empty: the acknowledgement does not end.",
    )
    hold_until = models.DateTimeField(
        null=True, help_text="While it recovers: resolved then, unless it comes back before."
    )
    expected_until = models.DateTimeField(
        null=True,
        help_text="Its source repeats it until it is over; resolved when it was not repeated by then.",
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
    usefulness = models.CharField(
        max_length=16, choices=Usefulness.choices, blank=True, default="", db_default=""
    )
    judged_at = models.DateTimeField(null=True)
    judged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
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
            models.UniqueConstraint(
                fields=["source", "slice_key"],
                condition=~Q(state=IncidentState.RESOLVED) & ~Q(source=""),
                name="incident_one_open_per_report",
            ),
            models.CheckConstraint(
                condition=Q(monitor__isnull=False, experiment="", source="")
                | Q(monitor__isnull=True, source="") & ~Q(experiment="")
                | Q(monitor__isnull=True, experiment="") & ~Q(source=""),
                name="incident_has_one_origin",
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
        indexes: ClassVar = [
            models.Index(fields=["state"], condition=~Q(state="resolved"), name="incident_unresolved"),
            # The last of the same thing, whether it is over or not.
            models.Index(fields=["source", "slice_key", "-id"], name="incident_of_the_same"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.state not in {IncidentState.RESOLVED, IncidentState.SUSPECT}

    @property
    def is_onset_known(self) -> bool:
        """A report without an onset begins when it comes."""
        return not self.is_reported or self.onset_at < self.opened_at

    @property
    def is_reported(self) -> bool:
        return self.source != ""


class EventKind(models.TextChoices):
    SUSPECTED = "suspected"
    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged", "acknowledgement ended"
    RECOVERING = "recovering"
    RELAPSED = "relapsed"
    ESCALATED = "escalated", "became worse"
    NOTED = "noted", "alarm of a slice"
    FLAGGED = "flagged"
    UNFLAGGED = "unflagged", "flag removed"
    REMINDED = "reminded"
    STEPPED = "stepped", "next ones told"
    REROUTED = "rerouted", "told late"
    UNDELIVERED = "undelivered", "a channel could not be told"
    COMMENTED = "commented"
    JUDGED = "judged"
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
    actor = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Who did it, as written at that time: a user name, an API key, another system. Empty: the product.",
    )
    details = models.JSONField(default=dict)
    hash = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of this event and the hash before it (monitoring/history/chain.py). Empty: older than the chain.",
    )

    class Meta:
        ordering = ("incident_id", "seq")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["incident", "seq"], name="incident_event_once_per_seq")
        ]

    def __str__(self) -> str:
        return f"{self.seq}. {self.kind}"
