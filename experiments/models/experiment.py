import secrets
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from experiments.assignment import BASIS_POINTS
from experiments.definition import (
    KEY_PATTERN,
    in_basis_points,
    in_percent,
    valid_key,
    validate_effect,
    validate_schema,
    validate_targeting,
)
from experiments.models.layer import Layer


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
    REVIEW = "review", "in review"
    SCHEDULED = "scheduled", "scheduled"
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    HALTED = "halted", "halted"
    STOPPED = "stopped", "stopped"
    SHIPPED = "shipped", "shipped"
    ARCHIVED = "archived", "archived"


NOT_STARTED = (State.DRAFT, State.REVIEW, State.SCHEDULED)
UNDER_WAY = (State.RUNNING, State.PAUSED, State.HALTED)
ENDED = (State.STOPPED, State.SHIPPED, State.ARCHIVED)


RESERVED_KEYS = frozenset({"assign", "import"})
"""They stand where a key stands in addresses."""


class Design(models.TextChoices):
    ALWAYS_VALID = "always_valid", "always valid: stop whenever you like"
    GROUP_SEQUENTIAL = "group_sequential", "group sequential: fewer units, with a planned sample"
    BANDIT = "bandit", "bandit: traffic follows the better variant, no claims"


class Correction(models.TextChoices):
    HOLM = "holm", "Holm"
    E_BH = "e_bh", "e-BH"


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def running(self) -> Self:
        return self.filter(state=State.RUNNING)

    def under_way(self) -> Self:
        return self.filter(state__in=UNDER_WAY)

    def served(self) -> Self:
        """Those that clients may ask for: all but archived ones."""
        return self.exclude(state=State.ARCHIVED)


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
        on_delete=models.PROTECT,
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
    unit_attribute = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="Which attribute of the caller's context holds the unit, e.g. clinic_id. "
        "Empty: OFREP's targetingKey, or “id” in GrowthBook's SDKs.",
    )
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    coverage_bp = models.IntegerField(
        default=BASIS_POINTS,
        validators=in_basis_points,
        verbose_name="coverage",
        help_text="Share of all units that take part; the others get the control's config and are not counted.",
    )
    targeting = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_targeting],
        help_text="Who may take part, in GrowthBook's condition language, e.g. "
        '{"language": {"$in": ["en", "es"]}}. {}: everybody.',
    )
    layer = models.ForeignKey(
        Layer,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="experiments",
        help_text="Experiments of one layer never share a unit. Empty: independent of all others.",
    )
    layer_share_bp = models.IntegerField(
        default=BASIS_POINTS,
        validators=[MinValueValidator(1), MaxValueValidator(BASIS_POINTS)],
        verbose_name="share of the layer",
        help_text="How much of the layer it takes when it starts.",
    )
    obeys_holdout = models.BooleanField(
        default=True,
        verbose_name="leaves the holdout alone",
        help_text="Units of the global holdout never take part.",
    )
    design = models.CharField(max_length=20, choices=Design.choices, default=Design.ALWAYS_VALID)
    alpha = models.FloatField(
        default=0.05,
        validators=[MinValueValidator(0.0001), MaxValueValidator(0.2)],
        verbose_name="error rate",
        help_text="Chance of claiming any difference where there is none, over all looks.",
    )
    correction = models.CharField(
        max_length=8,
        choices=Correction.choices,
        default=Correction.HOLM,
        help_text="How claims about several variants and metrics share the error rate.",
    )
    minimum_sample = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(25)],
        help_text="Units in each variant before anything is concluded.",
    )
    planned_sample = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(50)],
        help_text="Units in all variants together at which it is planned to end; the page “Power” helps.",
    )
    minimum_effect = models.FloatField(
        null=True,
        blank=True,
        validators=[validate_effect],
        verbose_name="smallest effect of interest",
        help_text="Of the primary metric, in its own unit; what would be worth acting on.",
    )
    minimum_days = models.PositiveSmallIntegerField(
        default=7, help_text="Days before anything ships; a week sees every weekday once."
    )
    planned_end_at = models.DateTimeField(
        null=True, blank=True, help_text="When a decision is expected (UTC)."
    )
    starts_at = models.DateTimeField(
        null=True, blank=True, help_text="When it starts by itself, once scheduled (UTC)."
    )
    stops_at = models.DateTimeField(null=True, blank=True, help_text="When it stops by itself (UTC).")
    requires_review = models.BooleanField(
        default=False,
        help_text="Somebody other than the requester must approve the start, every change of variants, weights and coverage, "
        "forced units, and shipping.",
    )
    auto_ship = models.BooleanField(
        default=False, help_text="Stop and ship by itself when the decision is to ship."
    )
    config_schema = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_schema],
        help_text="A JSON Schema (2020-12) that every variant's config must fit. Empty: any object.",
    )
    bandit_floor_bp = models.IntegerField(
        default=500,
        validators=in_basis_points,
        verbose_name="least share of a variant",
        help_text="Of a bandit: no variant gets less, so that it can still win.",
    )
    bandit_hours = models.PositiveSmallIntegerField(
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(720)],
        verbose_name="hours between new weights",
        help_text="Of a bandit. Each change is an epoch of its own.",
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.DRAFT, editable=False)
    epoch = models.IntegerField(default=0, editable=False, help_text="Number of the current epoch; 0: none.")
    shipped_variant = models.CharField(max_length=128, blank=True, default="", editable=False)
    approved_version = models.IntegerField(
        null=True, editable=False, help_text="The version that a reviewer approved."
    )
    review_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
    )
    started_at = models.DateTimeField(null=True, editable=False)
    stopped_at = models.DateTimeField(null=True, editable=False)
    version = models.IntegerField(default=1, editable=False, help_text="Grows by one with every change.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        permissions: ClassVar = [("approve_experiment", "Can approve experiments and changes of others")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(key__regex=KEY_PATTERN), name="experiment_key_is_valid"),
            models.CheckConstraint(
                condition=Q(coverage_bp__range=(0, BASIS_POINTS)), name="experiment_coverage_in_basis_points"
            ),
            models.CheckConstraint(
                condition=Q(state__in=NOT_STARTED, started_at=None, stopped_at=None)
                | Q(state__in=UNDER_WAY, started_at__isnull=False, stopped_at=None)
                # A comparison with NULL is neither true nor false, and a check lets that pass.
                | Q(
                    state__in=(State.STOPPED, State.SHIPPED),
                    started_at__isnull=False,
                    stopped_at__isnull=False,
                    stopped_at__gte=F("started_at"),
                )
                | Q(state=State.ARCHIVED, started_at=None, stopped_at=None)
                | Q(
                    state=State.ARCHIVED,
                    started_at__isnull=False,
                    stopped_at__isnull=False,
                    stopped_at__gte=F("started_at"),
                ),
                name="experiment_times_fit_states",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.SHIPPED) | ~Q(shipped_variant=""),
                name="experiment_shipped_says_what",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    def clean(self) -> None:
        if self.key in RESERVED_KEYS:
            raise ValidationError({"key": f"“{self.key}” is a word of the API; choose another key."})

    @property
    def coverage_in_percent(self) -> str:
        return in_percent(self.coverage_bp)

    @property
    def is_draft(self) -> bool:
        return self.state == State.DRAFT

    @property
    def is_running(self) -> bool:
        return self.state == State.RUNNING

    @property
    def is_under_way(self) -> bool:
        return self.state in UNDER_WAY
