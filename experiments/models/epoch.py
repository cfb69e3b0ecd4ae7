from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from experiments.assignment import BASIS_POINTS
from experiments.definition import in_basis_points
from experiments.models.experiment import Experiment


class EpochKind(models.TextChoices):
    START = "start", "start"
    STICKY = "sticky", "new weights for newcomers"
    MINIMAL_MOVE = "minimal_move", "new weights, fewest moved"
    RERANDOMISE = "rerandomise", "dealt anew"
    REVISION = "revision", "new version of a variant"
    COVERAGE = "coverage", "new coverage"
    BANDIT = "bandit", "new weights of the bandit"
    RESUME = "resume", "resumed after a halt"


class AllocationEpoch(models.Model):
    """How units were dealt from one moment to the next; only its end is written later, once."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="epochs")
    number = models.IntegerField()
    phase = models.IntegerField(
        help_text="Epochs of one phase are analysed together, as strata; a new phase starts the analysis anew."
    )
    kind = models.CharField(max_length=16, choices=EpochKind.choices)
    salt = models.CharField(max_length=32)
    coverage_bp = models.IntegerField(validators=in_basis_points)
    weights = models.JSONField(help_text="Variant key -> basis points.")
    versions = models.JSONField(help_text="Variant key -> number of its version.")
    ranges = models.JSONField(help_text="Half-open ranges of buckets: [variant key, first, end].")
    filters = models.JSONField(
        default=list,
        help_text="Slots that a unit must have, of the holdout and the layer: {name, seed, ranges}.",
    )
    moved = models.JSONField(
        default=list,
        help_text="Ranges of buckets that were taken from an arm: [from, to, first, end]; to is empty when nobody got them.",
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ("experiment_id", "number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "number"], name="epoch_once_per_number"),
            models.UniqueConstraint(
                fields=["experiment"], condition=Q(ended_at=None), name="epoch_one_open_per_experiment"
            ),
            models.CheckConstraint(
                condition=Q(coverage_bp__range=(0, BASIS_POINTS)), name="epoch_coverage_in_basis_points"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("started_at")), name="epoch_times_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"epoch {self.number}"


class RampStep(models.Model):
    """One step of a slow start: when it is reached, the coverage grows to what it says."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="ramp")
    position = models.PositiveSmallIntegerField(default=0)
    coverage_bp = models.IntegerField(validators=in_basis_points, verbose_name="coverage")
    after_hours = models.FloatField(
        default=24, validators=[MinValueValidator(0)], help_text="Hours at the step before, at least."
    )
    after_units = models.PositiveIntegerField(
        default=0, help_text="Units exposed in every variant before this step, at least."
    )
    reached_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("experiment_id", "position")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["experiment", "position"], name="ramp_step_once_per_position"),
            models.CheckConstraint(
                condition=Q(coverage_bp__range=(0, BASIS_POINTS)), name="ramp_coverage_in_basis_points"
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.position + 1}"
