from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.db.models import Q

from feedback.models import Direction, QualityMetric
from monitoring.models.channel import Channel
from monitoring.monitors import registry
from monitoring.monitors.kind import Detector, InvalidParameters, Metric, Unwatchable
from monitoring.slices import dimensions

MAX_SPLIT = 3
BUDGET_DAYS = 30


class Severity(models.TextChoices):
    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class MonitorState(models.TextChoices):
    ACTIVE = "active"
    PAUSED = "paused"


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def active(self) -> Self:
        return self.filter(state=MonitorState.ACTIVE)

    def due(self, now: datetime) -> Self:
        return self.active().filter(due_at__lte=now)


class Monitor(models.Model):
    """A question that is asked of one metric for as long as it stands: is it worse than it may be?"""

    name = models.CharField(max_length=150, unique=True, help_text="As it should read in an alert.")
    description = models.TextField(blank=True, help_text="Why this is watched, for whoever is woken by it.")
    kind = models.CharField(max_length=32, choices=registry.choices, default="slo_guard")
    metric = models.CharField(max_length=64, help_text="Key of a quality metric.")
    where = models.JSONField(
        default=dict,
        blank=True,
        help_text="Watch only these records, for example {“model”: “gpt-4”}. {}: all records.",
    )
    split_by = ArrayField(
        models.CharField(max_length=128),
        default=list,
        blank=True,
        size=MAX_SPLIT,
        help_text="Watch each combination of these by itself, for example variant, language. Empty: all together.",
    )
    max_slices = models.PositiveSmallIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="At most this many combinations are watched by themselves, those beyond together as “other”. "
        "The budget is split equally over all of them, so a new combination never breaks the promise.",
    )
    parameters = models.JSONField(default=dict, blank=True)
    alarms_per_30_days = models.FloatField(
        "false alarms in 30 days",
        default=1.0,
        validators=[MinValueValidator(1e-6), MaxValueValidator(1000)],
        help_text="The promise: while nothing is worse than allowed, this monitor raises at most this many alarms in "
        "30 days on average, however often it looks and however much traffic there is. Less means calmer and slower.",
    )
    severity = models.CharField(max_length=16, choices=Severity.choices, default=Severity.ERROR)
    resolve_after_buckets = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1)],
        help_text="An incident is over after this many good judgements in a row. No data never ends it.",
    )
    recovery_n_min = models.PositiveIntegerField(
        "records per judgement",
        default=20,
        validators=[MinValueValidator(2)],
        help_text="Buckets with fewer records wait for the next one before they are judged.",
    )
    hold_seconds = models.PositiveIntegerField(
        default=300, help_text="The good judgements must cover at least this many seconds."
    )
    channels = models.ManyToManyField(Channel, blank=True, related_name="monitors", help_text="Who is told.")
    runbook_url = models.CharField(
        "runbook URL",
        max_length=1000,
        blank=True,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="What to do, for whoever is on call.",
    )
    state = models.CharField(
        max_length=16, choices=MonitorState.choices, default=MonitorState.PAUSED, editable=False
    )
    started_at = models.DateTimeField(
        null=True, editable=False, help_text="Evidence from before this is never used."
    )
    watermark_at = models.DateTimeField(
        null=True, editable=False, help_text="Buckets before this were checked."
    )
    due_at = models.DateTimeField(null=True, editable=False, help_text="When the next check is due.")
    checked_at = models.DateTimeField(null=True, editable=False)
    check_row_count = models.IntegerField(
        default=0, editable=False, help_text="Buckets that the last check saw."
    )
    check_error = models.CharField(
        max_length=500, blank=True, editable=False, help_text="Empty after a good check."
    )
    failure_count = models.IntegerField(default=0, editable=False, help_text="Failed checks in a row.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MonitorQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(alarms_per_30_days__gt=0), name="monitor_budget_positive"),
            models.CheckConstraint(condition=Q(max_slices__gte=1), name="monitor_max_slices_positive"),
            models.CheckConstraint(
                condition=Q(resolve_after_buckets__gte=1, recovery_n_min__gte=2),
                name="monitor_recovery_has_evidence",
            ),
            models.CheckConstraint(
                condition=~Q(state=MonitorState.ACTIVE)
                | Q(started_at__isnull=False, watermark_at__isnull=False, due_at__isnull=False),
                name="monitor_active_has_start",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(state=MonitorState.ACTIVE), name="monitor_due")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def detector_count(self) -> int:
        """How many detectors share the budget: one for each slice and one for the pooled rest."""
        return self.max_slices + 1 if self.split_by else 1

    @property
    def budget_per_second(self) -> float:
        """False alarms that one slice may raise per second; see triageops.stats.change.step."""
        return self.alarms_per_30_days / self.detector_count / (BUDGET_DAYS * 86_400)

    def detector(self, definition: QualityMetric | None) -> Detector:
        """Raises LookupError, InvalidParameters and Unwatchable: the definition may have changed since this was saved."""
        kind = registry.kind_named(self.kind)
        return kind.read(self.parameters).detector(metric_of(self.metric, definition))

    def clean(self) -> None:
        errors: dict[str, str] = {}
        known = dimensions()
        if not isinstance(self.where, dict) or not all(
            isinstance(value, str) for value in self.where.values()
        ):
            errors["where"] = "This must be an object of names and texts, such as {“model”: “gpt-4”}."
        elif unknown := [name for name in self.where if name not in known]:
            errors["where"] = f"“{unknown[0]}” is not one of: {', '.join(known)}."
        if unknown := [name for name in self.split_by or () if name not in known]:
            errors["split_by"] = f"“{unknown[0]}” is not one of: {', '.join(known)}."
        elif len(set(self.split_by or ())) < len(self.split_by or ()):
            errors["split_by"] = "Name each of them once."
        elif len({*self.split_by, *self.where} & set(settings.SLICE_ATTRIBUTES)) > 1:
            errors["split_by"] = "Rollups are kept for one attribute at a time: use one of them."
        errors |= self._refusals()
        if errors:
            raise ValidationError(errors)

    def _refusals(self) -> dict[str, str]:
        """What the kind has against the metric or the parameters, by field."""
        definition = QualityMetric.objects.filter(pk=self.metric).first()
        if definition is None:
            return {"metric": f"No quality metric is called “{self.metric}”."}
        try:
            self.detector(definition)
        except LookupError as error:
            return {"kind": str(error)}
        except Unwatchable as error:
            return {"metric": str(error)}
        except InvalidParameters as error:
            return {f"parameters.{name}": message for name, message in error.errors.items()}
        return {}


def metric_of(key: str, definition: QualityMetric | None) -> Metric:
    """What a monitor kind may know of a metric; one that nobody defined has neither bounds nor a direction."""
    if definition is None:
        return Metric(key)
    is_higher_better = {Direction.HIGHER: True, Direction.LOWER: False}.get(Direction(definition.direction))
    return Metric(key, definition.unit, definition.bounds, is_higher_better)
