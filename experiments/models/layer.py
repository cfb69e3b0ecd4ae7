import secrets
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from experiments.assignment import BASIS_POINTS
from experiments.definition import KEY_PATTERN, in_basis_points, in_percent, valid_key


def new_salt() -> str:
    return secrets.token_hex(16)


class Layer(models.Model):
    """A set of experiments that exclude each other: every unit has one of 10 000 slots, each experiment some of them."""

    key = models.CharField(max_length=128, unique=True, validators=[valid_key])
    description = models.TextField(blank=True, help_text="What these experiments have in common.")
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("key",)
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(key__regex=KEY_PATTERN), name="layer_key_is_valid")
        ]

    def __str__(self) -> str:
        return self.key


class LayerSlotQuerySet(models.QuerySet["LayerSlot"]):
    def taken(self) -> Self:
        return self.filter(released_at=None)


class LayerSlot(models.Model):
    """A half-open range of a layer's slots that belongs to one experiment until it ends.

    An exclusion constraint, made in the migration, keeps two that are taken from sharing a slot.
    """

    layer = models.ForeignKey(Layer, on_delete=models.PROTECT, related_name="slots")
    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.PROTECT, related_name="layer_slots"
    )
    first = models.IntegerField()
    end = models.IntegerField()
    taken_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    objects = LayerSlotQuerySet.as_manager()

    class Meta:
        ordering = ("layer_id", "first")
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(first__gte=0, end__lte=BASIS_POINTS, first__lt=F("end")),
                name="layer_slot_in_order",
            )
        ]

    def __str__(self) -> str:
        return f"{self.first} to {self.end}"


class Holdout(models.Model):
    """The units that no experiment touches, so that all experiments together can be measured; one row."""

    key = models.CharField(max_length=16, unique=True, default="global", editable=False)
    share_bp = models.IntegerField(
        default=0,
        validators=in_basis_points,
        verbose_name="share of all units",
        help_text="Counts for experiments that start from now on; those under way keep what they started with.",
    )
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "global holdout"
        verbose_name_plural = "global holdout"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(key="global"), name="holdout_is_one"),
            models.CheckConstraint(
                condition=Q(share_bp__range=(0, BASIS_POINTS)), name="holdout_in_basis_points"
            ),
        ]

    def __str__(self) -> str:
        return f"{in_percent(self.share_bp)} of all units"
