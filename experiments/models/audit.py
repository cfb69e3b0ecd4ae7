from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from experiments.models.experiment import Experiment
from feedback.models import ApiKey, CurrentTransactionId, TransactionIdField


class ExperimentEvent(models.Model):
    """One change of an experiment: who did what and why, with the state before and after; written once.

    A deferred trigger refuses a transaction that changes an experiment, or what belongs to it, without such a row.
    """

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    # Who is named here can be deactivated, not deleted: an audit without names is none.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Empty: an API key, or the system itself.",
    )
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    action = models.CharField(max_length=32)
    reason = models.TextField(blank=True)
    before = models.JSONField()
    after = models.JSONField()
    evidence = models.JSONField(
        default=dict, db_default={}, help_text="What a halt was based on, or what was asked for."
    )
    # Empty of what was written before there was this column.
    tx = TransactionIdField(null=True, db_default=CurrentTransactionId(), editable=False)  # type: ignore[misc]

    class Meta:
        ordering = ("-at", "-id")
        verbose_name = "change"
        verbose_name_plural = "audit"

    def __str__(self) -> str:
        return f"{self.action} {self.experiment_id}"


class Subject(models.TextChoices):
    LAYER = "layer", "layer"
    HOLDOUT = "holdout", "global holdout"


class SharedEvent(models.Model):
    """One change of what experiments share, a layer or the global holdout; written once.

    A deferred trigger refuses a transaction that changes one of them without such a row. It names the layer by its key,
    which never changes, and so outlives it.
    """

    subject = models.CharField(max_length=16, choices=Subject.choices)
    key = models.CharField(max_length=128)
    at = models.DateTimeField()
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
    tx = TransactionIdField(db_default=CurrentTransactionId(), editable=False)

    class Meta:
        ordering = ("-id",)
        indexes: ClassVar = [models.Index(fields=["subject", "key", "-id"], name="shared_event_of")]

    def __str__(self) -> str:
        return f"{self.action} {self.subject} {self.key}"


class ChangeRequest(models.Model):
    """A change of an experiment under the two-person rule: asked for by one, decided by another, once."""

    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="change_requests")
    action = models.CharField(max_length=32)
    arguments = models.JSONField()
    reason = models.TextField(blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    is_approved = models.BooleanField(null=True)
    # A trigger writes it: what was approved can be done in this transaction, so once.
    decided_tx = TransactionIdField(null=True, editable=False)  # type: ignore[misc]

    class Meta:
        ordering = ("-id",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=F("requested_by")) | Q(is_approved=False),
                name="change_approved_by_another",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None, decided_by=None, is_approved=None)
                | Q(decided_at__isnull=False, is_approved__isnull=False),
                name="change_decided_in_full",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.experiment_id}"
