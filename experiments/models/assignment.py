from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from experiments.definition import UNIT_MAX
from experiments.models.experiment import Experiment


class Assignment(models.Model):
    """The variant that one unit got when it was first seen; written once.

    `generation` is the number of the epoch that dealt this unit anew (a new salt, or a minimal move of its bucket), 1 as
    long as none did. It follows from the unit's bucket, so that racing processes agree about it, and the constraint
    lets one of them write.
    """

    # One foreign key on (experiment, variant), made in the migration, stands for both.
    experiment = models.ForeignKey(
        Experiment, on_delete=models.PROTECT, related_name="assignments", db_constraint=False, db_index=False
    )
    unit = models.CharField(
        max_length=UNIT_MAX, help_text="Pseudonymous id of the user, conversation, case …"
    )
    variant = models.ForeignKey(
        "experiments.Variant", on_delete=models.PROTECT, related_name="assignments", db_constraint=False
    )
    bucket = models.FloatField(help_text="The unit's number in [0, 1).")
    assigned_at = models.DateTimeField()
    epoch = models.IntegerField(db_default=1, default=1, help_text="The epoch in which it was assigned.")
    generation = models.IntegerField(db_default=1, default=1)

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            # Unit first: the same index finds one unit's variant, and all experiments of one unit.
            models.UniqueConstraint(
                fields=["unit", "experiment", "generation"], name="assignment_once_per_generation"
            ),
            models.CheckConstraint(condition=~Q(unit=""), name="assignment_unit_is_not_empty"),
            models.CheckConstraint(
                condition=Q(bucket__gte=0, bucket__lt=1), name="assignment_bucket_in_range"
            ),
        ]

    def __str__(self) -> str:
        return self.unit


class ForcedVariantQuerySet(models.QuerySet["ForcedVariant"]):
    def standing(self) -> Self:
        return self.filter(removed_at=None)


class ForcedVariant(models.Model):
    """A named unit that gets a chosen variant whatever its bucket, and is left out of every analysis."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="forced")
    unit = models.CharField(max_length=UNIT_MAX, help_text="Exactly as clients send it.")
    variant = models.ForeignKey("experiments.Variant", on_delete=models.CASCADE, related_name="forced")
    reason = models.CharField(max_length=200, blank=True, help_text="E.g. “test account of the clinic”.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)

    objects = ForcedVariantQuerySet.as_manager()

    class Meta:
        ordering = ("experiment_id", "unit", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["experiment", "unit"], condition=Q(removed_at=None), name="forced_once_per_unit"
            ),
            models.CheckConstraint(condition=~Q(unit=""), name="forced_unit_is_not_empty"),
        ]

    def __str__(self) -> str:
        return self.unit
