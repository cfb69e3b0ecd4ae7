from datetime import timedelta
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce

from monitoring.models.channel import Channel


class Hours(models.Model):
    """When somebody is on call: hours of the week in one zone."""

    name = models.CharField(max_length=100, unique=True)
    zone = models.CharField(max_length=64, default="UTC", help_text="For example Europe/Berlin.")
    ranges = models.CharField(
        max_length=500,
        help_text="For example “mon-fri 09:00-17:00, sat 10:00-12:00”; “22:00-06:00” is a night.",
    )

    class Meta:
        ordering: ClassVar = ("name",)
        verbose_name_plural = "hours"

    def __str__(self) -> str:
        return self.name


class Digest(models.TextChoices):
    NONE = "", "no: told one by one, or in groups"
    HOURLY = "hourly", "every hour"
    DAILY = "daily", "every day"
    WEEKLY = "weekly", "every Monday"


class Outside(models.TextChoices):
    SKIP = "skip", "the route does not count: the next one decides"
    WAIT = "wait", "messages wait until the hours begin"


class Route(models.Model):
    """A branch of the tree that says which channels are told of which incidents, and when; empty timing is inherited."""

    GROUP_WAIT: ClassVar = timedelta(seconds=30)
    GROUP_INTERVAL: ClassVar = timedelta(minutes=5)
    REPEAT_INTERVAL: ClassVar = timedelta(hours=3)

    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    position = models.PositiveIntegerField(
        default=0, help_text="Among its siblings: the first that matches decides."
    )
    name = models.CharField(max_length=100, unique=True)
    matchers = models.JSONField(
        default=list,
        blank=True,
        help_text='As Alertmanager writes them, for example severity="critical" and team=~"a|b". All must match.',
    )
    channels = models.ManyToManyField(Channel, blank=True, related_name="routes")
    tells_nobody = models.BooleanField(
        default=False,
        help_text="Takes what matches and tells nobody; otherwise empty channels are inherited.",
    )
    is_continuing = models.BooleanField(
        "continue", default=False, help_text="Go on with the next sibling although this one matched."
    )
    group_by = models.JSONField(
        null=True,
        blank=True,
        help_text="Labels; incidents that agree in them are told together. Empty: inherited.",
    )
    group_wait_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(3_600)],
        help_text="Of the first message of a group.",
    )
    group_interval_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Between two messages of a group.",
    )
    repeat_interval_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(30 * 86_400)],
        help_text="A reminder while nobody acknowledged it; 0: never.",
    )
    digest = models.CharField(max_length=16, choices=Digest.choices, blank=True, default="")
    digest_hour = models.PositiveSmallIntegerField(default=9, validators=[MaxValueValidator(23)])
    digest_zone = models.CharField(max_length=64, default="UTC")
    hours = models.ForeignKey(Hours, null=True, blank=True, on_delete=models.PROTECT, related_name="routes")
    outside = models.CharField(max_length=8, choices=Outside.choices, default=Outside.SKIP)
    version = models.PositiveIntegerField(
        default=1,
        db_default=1,
        editable=False,
        help_text="Of what people say of it: 1 more after each change.",
    )

    class Meta:
        ordering: ClassVar = ("position", "pk")
        constraints: ClassVar = [
            models.UniqueConstraint(
                Coalesce("parent", 0), condition=Q(parent__isnull=True), name="route_one_root"
            ),
            models.CheckConstraint(
                condition=~Q(parent__isnull=True) | Q(matchers=[]), name="route_root_matches_all"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class EscalationStep(models.Model):
    """Who is told next when nobody acknowledged, or nobody could be told."""

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    after_seconds = models.PositiveIntegerField(
        validators=[MinValueValidator(30), MaxValueValidator(7 * 86_400)],
        help_text="After its first message was to go, or it fired again.",
    )
    channels = models.ManyToManyField(Channel, related_name="+")

    class Meta:
        ordering: ClassVar = ("route_id", "number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["route", "number"], name="step_once_per_number")
        ]

    def __str__(self) -> str:
        return f"step {self.number}"
