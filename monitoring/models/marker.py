from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from monitoring.slices import dimensions


class MarkerKind(models.TextChoices):
    DEPLOY = "deploy"
    MAINTENANCE = "maintenance"
    HOLIDAY = "holiday"


_LONGEST = timedelta(days=7)
_LONGEST_HOLIDAY = timedelta(days=31)
"""Longer ones are slips of the pen, and nothing would be found while they last."""


class MarkerQuerySet(models.QuerySet["Marker"]):
    def between(self, start: datetime, end: datetime) -> Self:
        """That overlap this time."""
        return self.filter(starts_at__lt=end, ends_at__gt=start)


class Marker(models.Model):
    """Something that is known to have happened: what it covers is no evidence, for or against anything."""

    kind = models.CharField(max_length=16, choices=MarkerKind.choices)
    name = models.CharField(
        max_length=200, help_text="As it should read in a plot, for example “release 4.2”."
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Buckets of time that overlap it do not count.")
    where = models.JSONField(
        default=dict,
        blank=True,
        help_text="Only monitors of these records, for example {“endpoint”: “/triage”}. {}: all monitors.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    objects = MarkerQuerySet.as_manager()

    class Meta:
        ordering = ("-starts_at",)
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(starts_at__lt=F("ends_at")), name="marker_starts_before_end")
        ]
        indexes: ClassVar = [models.Index(fields=["ends_at"], name="marker_ends_at")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        errors = {}
        if None not in (self.starts_at, self.ends_at) and (refusal := self._refusal_of_length()):
            errors["ends_at"] = refusal
        known = dimensions()
        if not isinstance(self.where, dict) or not all(
            isinstance(value, str) for value in self.where.values()
        ):
            errors["where"] = "This must be an object of names and texts, such as {“model”: “gpt-4”}."
        elif unknown := [name for name in self.where if name not in known]:
            errors["where"] = f"“{unknown[0]}” is not one of: {', '.join(known)}."
        if errors:
            raise ValidationError(errors)

    def _refusal_of_length(self) -> str:
        length = self.ends_at - self.starts_at
        longest = _LONGEST_HOLIDAY if self.kind == MarkerKind.HOLIDAY else _LONGEST
        if length <= timedelta(0):
            return "It has to end after it begins."
        if length > longest:
            return (
                f"A marker of this kind lasts at most {longest.days} days, because nothing is found under it. To watch nothing for "
                "longer, pause the monitors."
            )
        return ""

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Whether all records with these labels are among those it is about: a deploy of one model must not blind the rest."""
        return all(labels.get(name) == value for name, value in self.where.items())
