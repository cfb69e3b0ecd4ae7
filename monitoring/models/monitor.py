from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.db.models import Q

from monitoring import sources
from monitoring.models.channel import Channel
from monitoring.monitors import registry
from monitoring.monitors.kind import InvalidParameters, Kind, Unwatchable
from monitoring.slices import ALL, dimensions

MAX_SPLIT = 3
BUDGET_DAYS = 30


class Severity(models.TextChoices):
    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class MonitorState(models.TextChoices):
    LEARNING = "learning"
    BACKTESTED = "backtested"
    ACTIVE = "active"
    PAUSED = "paused"
    STALE = "stale", "stale reference"


WATCHING = (MonitorState.ACTIVE, MonitorState.STALE)
"""States in which checks run: a reference that is old still says more than none."""


class ReferenceMode(models.TextChoices):
    PINNED = "pinned", "pinned: one stretch of time that stays"
    TRAILING = "trailing", "trailing: the last weeks, with a gap; it stands still while an incident is open"
    VARIANT = "variant", "variant: other records at the same time, such as the control"


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def active(self) -> Self:
        """Whose checks run."""
        return self.filter(state__in=WATCHING)

    def due(self, now: datetime) -> Self:
        return self.active().filter(due_at__lte=now)


class Monitor(models.Model):
    """A question that is asked of one metric for as long as it stands: is it worse than it may be?"""

    name = models.CharField(max_length=150, unique=True, help_text="As it should read in an alert.")
    description = models.TextField(blank=True, help_text="Why this is watched, for whoever is woken by it.")
    kind = models.CharField(max_length=32, choices=registry.choices, default="slo_guard")
    metric = models.CharField(
        max_length=80,
        help_text="A quality metric, one of what every response has (latency_seconds, cost, error, …), “volume”, "
        "“feedback:negative”, “feedback:positive”, “feedback:rating”, “feedback:coverage”, or “agreement:” and a metric.",
    )
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
    is_whole_watched = models.BooleanField(
        "watch all together too",
        default=True,
        db_default=False,
        help_text="Besides the combinations, watch all records together. While an incident of all is open, alarms of "
        "combinations are noted on it instead of telling the same thing again.",
    )
    parameters = models.JSONField(default=dict, blank=True)
    maturity_hours = models.FloatField(
        "age of responses",
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(24 * 30)],
        help_text="Feedback and batches come late, so responses are compared when all are this many hours old. Empty: 6 "
        "hours for feedback, 15 minutes for volume. Others ignore it.",
    )
    reference_mode = models.CharField(
        max_length=16,
        choices=ReferenceMode.choices,
        default=ReferenceMode.PINNED,
        db_default=ReferenceMode.PINNED.value,
        help_text="What is usual. A kind with a fixed level needs none.",
    )
    reference_start_at = models.DateTimeField(
        null=True, blank=True, help_text="Of a pinned reference. Empty: the days below, before now."
    )
    reference_end_at = models.DateTimeField(null=True, blank=True)
    reference_days = models.PositiveSmallIntegerField(
        default=28,
        db_default=28,
        validators=[MinValueValidator(1), MaxValueValidator(400)],
        help_text="Four weeks or more let it learn hours of the week, two weeks hours of the day.",
    )
    reference_gap_hours = models.PositiveSmallIntegerField(
        default=24,
        db_default=24,
        help_text="A trailing reference ends this long before now, so that a change is not learnt at once.",
    )
    control = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="Of a reference that is a variant: which records it is compared with, for example {“variant”: “gpt-4”}.",
    )
    stale_after_days = models.PositiveSmallIntegerField(
        default=90,
        db_default=90,
        help_text="A pinned reference older than this is called stale; it is still watched.",
    )
    reference = models.ForeignKey(
        "Reference", null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    learning_note = models.CharField(
        max_length=500,
        blank=True,
        db_default="",
        editable=False,
        help_text="What is missing before it can be watched.",
    )
    alarms_per_30_days = models.FloatField(
        "false alarms in 30 days",
        null=True,
        blank=True,
        default=None,
        validators=[MinValueValidator(1e-6), MaxValueValidator(1000)],
        help_text="Empty: a share of the budget of all monitors together. A number is a promise of its own, in addition "
        "to that: while nothing has changed, at most this many alarms in 30 days on average, however often it looks. "
        "Less means calmer and slower.",
    )
    weight = models.FloatField(
        default=1.0,
        db_default=1.0,
        validators=[MinValueValidator(0.01), MaxValueValidator(100)],
        help_text="How large its share of the common budget is, compared with the others.",
    )
    whole_alarms = models.FloatField(
        default=0.0, db_default=0.0, editable=False, help_text="In 30 days, of all records together."
    )
    slice_alarms = models.FloatField(
        default=0.0, db_default=0.0, editable=False, help_text="In 30 days, of each combination."
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
        max_length=16, choices=MonitorState.choices, default=MonitorState.LEARNING, editable=False
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
    last_row_at = models.DateTimeField(
        null=True, editable=False, help_text="Start of the last bucket that had records."
    )
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
                condition=~Q(state__in=[state.value for state in WATCHING])
                | Q(started_at__isnull=False, watermark_at__isnull=False, due_at__isnull=False),
                name="monitor_active_has_start",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="monitor_due_at")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_watching(self) -> bool:
        return self.state in WATCHING

    @property
    def has_whole(self) -> bool:
        """Whether all records together are a slice of their own."""
        return not self.split_by or self.is_whole_watched

    @property
    def slice_count(self) -> int:
        """How many combinations share the budget of slices: the named ones and the pooled rest."""
        return self.max_slices + 1 if self.split_by else 0

    def budget_per_second(self, key: str) -> float:
        """False alarms that one slice may raise per second; see triageops.stats.change.step."""
        alarms = self.whole_alarms if key == ALL and self.has_whole else self.slice_alarms
        return alarms / (BUDGET_DAYS * 86_400)

    @property
    def promised_alarms(self) -> float:
        """In 30 days, over all its slices."""
        return self.whole_alarms * self.has_whole + self.slice_alarms * self.slice_count

    @property
    def is_compared(self) -> bool:
        return self.reference_mode == ReferenceMode.VARIANT

    def kind_read(self) -> Kind:
        """Raises LookupError and InvalidParameters: the kind may have changed since this was saved."""
        return registry.kind_named(self.kind).read(self.parameters)

    @property
    def source(self) -> sources.Source:
        """Queries. Raises sources.UnknownSource."""
        hours = self.maturity_hours
        return sources.source_named(self.metric, None if hours is None else timedelta(hours=hours))

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
        errors |= self._refusals() | self._refusals_of_reference()
        if registry.is_rule(self.kind) and self.alarms_per_30_days is not None:
            errors["alarms_per_30_days"] = (
                "A fixed rule makes no promise, so it has no number of false alarms."
            )
        if errors:
            raise ValidationError(errors)

    def _refusals(self) -> dict[str, str]:
        """What the kind has against the metric or the parameters, by field."""
        try:
            self.kind_read().check(self.source.metric)
        except sources.UnknownSource as error:
            return {"metric": str(error)}
        except LookupError as error:
            return {"kind": str(error)}
        except Unwatchable as error:
            return {"metric": str(error)}
        except InvalidParameters as error:
            return {f"parameters.{name}": message for name, message in error.errors.items()}
        return {}

    def _refusals_of_reference(self) -> dict[str, str]:
        errors = {}
        start, end = self.reference_start_at, self.reference_end_at
        if start is not None and end is not None and start >= end:
            errors["reference_end_at"] = "The reference has to end after it begins."
        if self.is_compared and self.kind in {kind.name for kind in registry.KINDS if not kind.compares}:
            errors["reference_mode"] = "This kind cannot be compared with another variant."
        elif self.is_compared and (refusal := self._refusal_of_control()):
            errors["control"] = refusal
        return errors

    def _refusal_of_control(self) -> str:
        """Why nothing could be compared with these records; empty where it can."""
        known, control = dimensions(), self.control
        if not isinstance(control, dict) or not control:
            return "Say which records it is compared with, such as {“variant”: “gpt-4”}."
        if unknown := [name for name in control if name not in known]:
            return f"“{unknown[0]}” is not one of: {', '.join(known)}."
        if not all(isinstance(value, str) for value in control.values()):
            return "This must be an object of names and texts."
        if split := [name for name in self.split_by or () if name in control]:
            return f"It is split by “{split[0]}”, so only one of its combinations could be compared with this {split[0]}."
        where = self.where if isinstance(self.where, dict) else {}
        if all(where.get(name) == value for name, value in control.items()):
            return "These are the records that are watched; name others to compare them with."
        if len({*where, *control, *(self.split_by or ())} & set(settings.SLICE_ATTRIBUTES)) > 1:
            return (
                "Rollups are kept for one attribute at a time: use one of them, here and in what is watched."
            )
        return ""
