from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from monitoring.models.channel import Channel
from monitoring.models.incident import Incident


class SilenceQuerySet(models.QuerySet["Silence"]):
    def active(self, now: datetime) -> Self:
        return self.filter(starts_at__lte=now, ends_at__gt=now)

    def pending(self, now: datetime) -> Self:
        return self.filter(starts_at__gt=now)

    def expired(self, now: datetime) -> Self:
        return self.filter(ends_at__lte=now)


class Silence(models.Model):
    """For some time nobody is told of incidents whose labels match; what is still true at its end is told then."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    matchers = models.JSONField(help_text="As Alertmanager's API writes them; all must match.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    comment = models.CharField(max_length=1000)
    created_by = models.CharField(max_length=200, help_text="As given: a person's name, or that of a key.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    ended_by = models.CharField(
        max_length=200, blank=True, default="", help_text="Who ended it before its time."
    )

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ("-id",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(ends_at__gte=F("starts_at")), name="silence_ends_after_it_starts"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["ends_at"], name="silence_end")]

    def __str__(self) -> str:
        return self.comment


class SilenceMirror(models.Model):
    """A silence as an Alertmanager knows it that we send to."""

    silence = models.ForeignKey(Silence, on_delete=models.CASCADE, related_name="mirrors")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="+")
    remote_id = models.CharField(max_length=100, blank=True, default="")
    mirrored_at = models.DateTimeField(
        null=True, help_text="Which state of the silence it has: updated_at then."
    )
    tried_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["silence", "channel"], name="silence_mirror_once")
        ]

    def __str__(self) -> str:
        return self.remote_id


class Repeats(models.TextChoices):
    ONCE = "once"
    WEEKLY = "weekly", "every week"
    MONTHLY = "monthly", "every month"


class MaintenanceWindow(models.Model):
    """A planned time of silence, once or again and again."""

    name = models.CharField(max_length=100, unique=True)
    matchers = models.JSONField(default=list, blank=True, help_text="Empty: everything.")
    repeats = models.CharField(max_length=16, choices=Repeats.choices, default=Repeats.ONCE)
    zone = models.CharField(max_length=64, default="UTC")
    weekdays = models.CharField(max_length=40, blank=True, default="", help_text="For example “sat, sun”.")
    month_day = models.SmallIntegerField(
        "day of the month", null=True, blank=True, help_text="1 to 31; −1 is the last day of the month."
    )
    start = models.TimeField(null=True, blank=True, help_text="In its zone.")
    duration_seconds = models.PositiveIntegerField(default=3_600)
    starts_at = models.DateTimeField(help_text="When it begins, or from when on it repeats.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="When it ends, or until when it repeats.")
    comment = models.CharField(max_length=1000, blank=True, default="")
    is_enabled = models.BooleanField("enabled", default=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ("name",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="window_ends_after_it_starts",
            )
        ]

    def __str__(self) -> str:
        return self.name


class InhibitRule(models.Model):
    """While an incident that matches the source is open, those that match the target and agree in `equal` are held back."""

    name = models.CharField(max_length=100, unique=True)
    source_matchers = models.JSONField(default=list)
    target_matchers = models.JSONField(default=list)
    equal = models.JSONField(default=list, blank=True)
    is_enabled = models.BooleanField("enabled", default=True)

    class Meta:
        ordering: ClassVar = ("name",)

    def __str__(self) -> str:
        return self.name


class Flag(models.TextChoices):
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    INHIBITED = "inhibited"
    FLAPPING = "flapping"
    NO_DATA = "no_data", "no data"


SUPPRESSING = (Flag.SILENCED, Flag.MAINTENANCE, Flag.INHIBITED)
"""Flags that hold messages back."""


class IncidentFlagQuerySet(models.QuerySet["IncidentFlag"]):
    def active(self) -> Self:
        return self.filter(ended_at__isnull=True)

    def suppressing(self) -> Self:
        return self.active().filter(kind__in=SUPPRESSING)


class IncidentFlag(models.Model):
    """Something beside its state that holds for an incident: who says so, why, since when and until when."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="flags")
    kind = models.CharField(max_length=16, choices=Flag.choices)
    # "silence:<uuid>", "window:<id>", "incident:<uuid>", or empty.
    cause = models.CharField(max_length=100, blank=True, default="")
    why = models.CharField(max_length=300)
    who = models.CharField(max_length=200, blank=True, default="")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text="When it ends at the latest, as far as known.")
    ended_at = models.DateTimeField(null=True)

    objects = IncidentFlagQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ("since", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["incident", "kind"], condition=Q(ended_at__isnull=True), name="flag_once_per_incident"
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
