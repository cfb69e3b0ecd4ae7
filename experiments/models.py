import secrets
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, Deferrable, F, Func, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from experiments.assignment import BASIS_POINTS
from experiments.definition import (
    KEY_PATTERN,
    UNIT_MAX,
    in_basis_points,
    in_percent,
    valid_key,
    validate_config,
)


def new_salt() -> str:
    # Always the same length, so that no two pairs of salt and unit join to the same text.
    return secrets.token_hex(16)


class UnitKind(models.TextChoices):
    USER = "user", "user"
    CONVERSATION = "conversation", "conversation"
    CASE = "case", "patient case"
    CLINIC = "clinic", "clinic"
    OTHER = "other", "other"


class State(models.TextChoices):
    DRAFT = "draft", "draft"
    RUNNING = "running", "running"
    STOPPED = "stopped", "stopped"


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def running(self) -> Self:
        return self.filter(state=State.RUNNING)


class Experiment(models.Model):
    """A question put to users: which variant of the LLM service is better for them."""

    key = models.CharField(
        max_length=128,
        unique=True,
        validators=[valid_key],
        help_text="What clients ask for, e.g. “llm_model_ab_test”. Fixed once the experiment has started.",
    )
    name = models.CharField(max_length=200)
    hypothesis = models.TextField(
        blank=True, help_text="What you expect and why, written down before the first result is seen."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whom to ask.",
    )
    unit_kind = models.CharField(
        max_length=16,
        choices=UnitKind.choices,
        default=UnitKind.USER,
        help_text="What one unit is: everything of one unit gets the same variant.",
    )
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    coverage_bp = models.IntegerField(
        default=BASIS_POINTS,
        validators=in_basis_points,
        verbose_name="coverage",
        help_text="Share of all units that take part; the others get the control's config and are not counted.",
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.DRAFT, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    stopped_at = models.DateTimeField(null=True, editable=False)
    version = models.IntegerField(default=1, editable=False, help_text="Grows by one with every change.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(key__regex=KEY_PATTERN), name="experiment_key_is_valid"),
            models.CheckConstraint(
                condition=Q(coverage_bp__range=(0, BASIS_POINTS)), name="experiment_coverage_in_basis_points"
            ),
            models.CheckConstraint(
                condition=Q(state=State.DRAFT, started_at=None, stopped_at=None)
                | Q(state=State.RUNNING, started_at__isnull=False, stopped_at=None)
                # A comparison with NULL is neither true nor false, and a check lets that pass.
                | Q(
                    state=State.STOPPED,
                    started_at__isnull=False,
                    stopped_at__isnull=False,
                    stopped_at__gte=F("started_at"),
                ),
                name="experiment_times_fit_state",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def coverage_in_percent(self) -> str:
        return in_percent(self.coverage_bp)

    @property
    def is_draft(self) -> bool:
        return self.state == State.DRAFT

    @property
    def is_running(self) -> bool:
        return self.state == State.RUNNING


class VariantQuerySet(models.QuerySet["Variant"]):
    def counted(self) -> Self:
        """Each with `assigned_count`, the number of its units."""
        rows = Assignment.objects.filter(variant=OuterRef("pk")).order_by().values("variant")
        counts = rows.annotate(n=Count("*")).values("n")
        return self.annotate(assigned_count=Coalesce(Subquery(counts), 0))


class Variant(models.Model):
    """One arm of an experiment: the config that its units get; frozen when the experiment starts."""

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


class Assignment(models.Model):
    """The variant that one unit got when it was first seen; written once."""

    # One foreign key on (experiment, variant), made in the migration, stands for both.
    experiment = models.ForeignKey(
        Experiment, on_delete=models.PROTECT, related_name="assignments", db_constraint=False, db_index=False
    )
    unit = models.CharField(
        max_length=UNIT_MAX, help_text="Pseudonymous id of the user, conversation, case …"
    )
    variant = models.ForeignKey(
        Variant, on_delete=models.PROTECT, related_name="assignments", db_constraint=False
    )
    bucket = models.FloatField(help_text="The unit's number in [0, 1).")
    assigned_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            # Unit first: the same index finds one unit's variant, and all experiments of one unit.
            models.UniqueConstraint(fields=["unit", "experiment"], name="assignment_once_per_unit"),
            models.CheckConstraint(condition=~Q(unit=""), name="assignment_unit_is_not_empty"),
            models.CheckConstraint(
                condition=Q(bucket__gte=0, bucket__lt=1), name="assignment_bucket_in_range"
            ),
        ]

    def __str__(self) -> str:
        return self.unit


class ExperimentEvent(models.Model):
    """One change of an experiment: who did what and why, with the state before and after; written once."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    # Who is named here can be deactivated, not deleted: an audit without names is none.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Empty: the system itself.",
    )
    action = models.CharField(max_length=32)
    reason = models.TextField(blank=True)
    before = models.JSONField()
    after = models.JSONField()

    class Meta:
        ordering = ("-at", "-id")
        verbose_name = "change"
        verbose_name_plural = "audit"

    def __str__(self) -> str:
        return f"{self.action} {self.experiment_id}"
