from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from monitoring.models.channel import Channel
from monitoring.models.outbox import OutboxMessage


class ChannelHealth(models.Model):
    """How a channel's receiver behaves: its rate, its failures, and whether it is left alone for a while."""

    channel = models.OneToOneField(Channel, primary_key=True, on_delete=models.CASCADE, related_name="health")
    tokens = models.FloatField(default=0.0, help_text="Calls that may be made now (token bucket).")
    refilled_at = models.DateTimeField(null=True)
    failure_count = models.IntegerField(default=0, help_text="Failures since the last success.")
    closed_until = models.DateTimeField(
        null=True, help_text="Left alone until then, then one try decides (circuit breaker)."
    )
    busy_until = models.DateTimeField(
        null=True, help_text="A call is under way, of a kind that takes one after the other."
    )
    last_success_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    last_reason = models.CharField(max_length=500, blank=True, default="")
    resent_at = models.DateTimeField(
        null=True, help_text="When firing incidents were sent anew (Alertmanager)."
    )

    class Meta:
        verbose_name_plural = "channel health"

    def __str__(self) -> str:
        return f"health of {self.channel_id}"


class DeliveryAudit(models.Model):
    """What the last audit of deliveries found: one row."""

    name = models.CharField(max_length=16, primary_key=True, default="audit", editable=False)
    audited_at = models.DateTimeField()
    passed_at = models.DateTimeField(null=True)
    incident_count = models.IntegerField(default=0, help_text="Open incidents that were looked at.")
    findings = models.JSONField(default=list, help_text="What is not as it must be.")
    heartbeat_at = models.DateTimeField(null=True, help_text="When the dead-man's address was last reached.")
    heartbeat_reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(name="audit"), name="delivery_audit_one_row")
        ]

    def __str__(self) -> str:
        return self.name


class InboxSeen(models.Model):
    """Until when a person has read the inbox."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    seen_at = models.DateTimeField()
    last_message = models.ForeignKey(OutboxMessage, null=True, on_delete=models.SET_NULL, related_name="+")

    def __str__(self) -> str:
        return f"inbox of {self.user_id}"
