from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Deferrable, F, Func, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from experiments.assignment import BASIS_POINTS
from experiments.definition import (
    KEY_PATTERN,
    config_hash,
    in_basis_points,
    in_percent,
    valid_key,
    validate_config,
)
from experiments.models.assignment import Assignment
from experiments.models.experiment import Experiment


class VariantQuerySet(models.QuerySet["Variant"]):
    def counted(self) -> Self:
        """Each with `assigned_count`, the number of its units."""
        rows = Assignment.objects.filter(variant=OuterRef("pk")).order_by().values("variant")
        counts = rows.annotate(n=Count("*")).values("n")
        return self.annotate(assigned_count=Coalesce(Subquery(counts), 0))


class Variant(models.Model):
    """One arm of an experiment: the config that its units get, and the share of units that come to it now."""

    experiment = models.ForeignKey(
        Experiment, on_delete=models.CASCADE, related_name="variants", db_index=False
    )
    key = models.CharField(max_length=128, validators=[valid_key], help_text="E.g. “gpt-4”.")
    # The order decides which buckets an arm has, so it is a total one.
    position = models.PositiveSmallIntegerField(default=0, editable=False)
    is_control = models.BooleanField(
        default=False, verbose_name="control", help_text="What the others are compared with; exactly one."
    )
    weight_bp = models.IntegerField(validators=in_basis_points, verbose_name="weight")
    config = models.JSONField(
        default=dict, blank=True, validators=[validate_config], help_text="Handed to the client as it is."
    )
    version = models.IntegerField(
        default=1,
        editable=False,
        help_text="Grows by one when the config of a started experiment is changed.",
    )

    assigned_count: int
    """Only of rows from `counted()`."""

    objects = VariantQuerySet.as_manager()

    class Meta:
        ordering = ("experiment_id", "position")
        constraints: ClassVar = [
            # Checked at the end, so that two variants can swap their keys.
            models.UniqueConstraint(
                fields=["experiment", "key"],
                deferrable=Deferrable.DEFERRED,
                name="variant_key_once_per_experiment",
            ),
            models.UniqueConstraint(
                fields=["experiment", "position"], name="variant_position_once_per_experiment"
            ),
            models.UniqueConstraint(
                fields=["experiment"], condition=Q(is_control=True), name="variant_one_control_per_experiment"
            ),
            # What the assignments' foreign key refers to, so that a variant of another experiment is impossible.
            models.UniqueConstraint(fields=["experiment", "id"], name="variant_with_experiment"),
            models.CheckConstraint(condition=Q(key__regex=KEY_PATTERN), name="variant_key_is_valid"),
            models.CheckConstraint(
                condition=Q(weight_bp__range=(0, BASIS_POINTS)), name="variant_weight_in_basis_points"
            ),
            models.CheckConstraint(
                condition=Exact(
                    Func(F("config"), function="jsonb_typeof", output_field=models.TextField()),
                    Value("object"),
                ),
                name="variant_config_is_object",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def weight_in_percent(self) -> str:
        return in_percent(self.weight_bp)

    @property
    def config_hash(self) -> str:
        return config_hash(self.config)


class VariantVersion(models.Model):
    """The config that one variant had from some moment on; written once."""

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="versions")
    number = models.IntegerField()
    config = models.JSONField()
    config_hash = models.CharField(max_length=16)
    created_at = models.DateTimeField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ("variant_id", "number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["variant", "number"], name="variant_version_once")
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
