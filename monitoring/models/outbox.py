from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from uuid_utils.compat import uuid7

from monitoring.models.channel import Channel
from monitoring.models.incident import Incident
from monitoring.models.route import Route


class MessageKind(models.TextChoices):
    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REMINDER = "reminder"
    TEST = "test"


class MessageStatus(models.TextChoices):
    PENDING = "pending"
    LEASED = "leased"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"


UNDECIDED = (MessageStatus.PENDING, MessageStatus.LEASED, MessageStatus.SUPPRESSED)
"""Not delivered, given up or dropped yet. Suppressed ones wait for the end of a silence."""


class OutboxMessageQuerySet(models.QuerySet["OutboxMessage"]):
    def undecided(self) -> Self:
        return self.filter(status__in=UNDECIDED)

    def waiting(self) -> Self:
        """Not tried yet, or to be tried again. Not IN: that fits neither of two partial indexes."""
        return self.filter(Q(status=MessageStatus.PENDING) | Q(status=MessageStatus.SUPPRESSED))

    def dead(self) -> Self:
        return self.filter(status=MessageStatus.DEAD)

    def ripe(self, now: datetime) -> Self:
        """Whose time has come, or whose worker was lost."""
        return self.filter(
            Q(status=MessageStatus.PENDING, not_before__lte=now)
            | Q(status=MessageStatus.LEASED, lease_until__lte=now),
            channel__is_enabled=True,
        )

    def due(self, now: datetime) -> Self:
        """Ripe, its trigger was told, and nothing earlier for the same incident and channel is undecided.

        News that is held back does not hold up an acknowledgement or end of what the channel has heard of.
        """
        earlier = OutboxMessage.objects.filter(
            incident=OuterRef("incident"), channel=OuterRef("channel"), seq__lt=OuterRef("seq")
        )
        heard = earlier.filter(_may_have_arrived(), kind=MessageKind.TRIGGER)
        passes = Q(Exists(heard), kind__in=(MessageKind.ACKNOWLEDGE, MessageKind.RESOLVE))
        before = Exists(earlier.filter(status__in=(MessageStatus.PENDING, MessageStatus.LEASED)))
        held = Exists(earlier.filter(status=MessageStatus.SUPPRESSED))
        return self.ripe(now).exclude(before).exclude(Q(held) & ~passes).exclude(_is_pointless())

    def ends_of_untold(self) -> Self:
        """What was dropped or refused with its beginning, and is still so."""
        return self.filter(
            Q(kind=MessageKind.RESOLVE, status__in=(MessageStatus.SUPERSEDED, MessageStatus.DEAD))
            | Q(
                kind=MessageKind.ACKNOWLEDGE,
                status=MessageStatus.SUPERSEDED,
                incident__acknowledged_at__isnull=False,
            )
        )

    def pointless(self) -> Self:
        """What follows a trigger that certainly did not arrive: nobody hears the end of a story without its beginning."""
        return self.filter(_is_pointless(), status=MessageStatus.PENDING)

    def expired(self, now: datetime) -> Self:
        return self.filter(status=MessageStatus.PENDING, expires_at__lte=now)


def _may_have_arrived() -> Q:
    doubtful = Exists(DeliveryAttempt.objects.filter(message=OuterRef("pk"), is_ambiguous=True))
    return Q(status=MessageStatus.DELIVERED) | Q(doubtful)


def _is_pointless() -> Q:
    """Follows triggers that certainly did not arrive, and none that did, may have, or may yet; a new trigger is a new try."""
    doubtful = Exists(DeliveryAttempt.objects.filter(message=OuterRef("pk"), is_ambiguous=True))
    triggers = OutboxMessage.objects.filter(
        incident=OuterRef("incident"),
        channel=OuterRef("channel"),
        seq__lt=OuterRef("seq"),
        kind=MessageKind.TRIGGER,
    )
    lost = triggers.filter(~doubtful, status__in=(MessageStatus.DEAD, MessageStatus.SUPERSEDED))
    heard = triggers.filter(Q(status__in=(MessageStatus.DELIVERED, *UNDECIDED)) | doubtful)
    return ~Q(kind=MessageKind.TRIGGER) & Exists(lost) & ~Exists(heard)


class OutboxMessage(models.Model):
    """One message for one channel, written in the transaction of what it tells; it is delivered later."""

    LIFETIME: ClassVar = timedelta(hours=24)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    incident = models.ForeignKey(Incident, null=True, on_delete=models.PROTECT, related_name="messages")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="messages")
    seq = models.IntegerField(help_text="Number of the incident's event that this tells.")
    kind = models.CharField(max_length=16, choices=MessageKind.choices)
    payload = models.JSONField(help_text="Frozen when it was written.")
    dedup_key = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=MessageStatus.choices, default=MessageStatus.PENDING)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it is not delivered.")
    attempt_count = models.IntegerField(default=0)
    route = models.ForeignKey(
        Route,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        # Routes are removed seldom, and this table is large.
        db_index=False,
        help_text="Which route chose the channel; empty: the monitor names it, or it takes halted experiments.",
    )
    because = models.CharField(
        max_length=300, blank=True, default="", db_default="", help_text="Why this channel is told."
    )
    step = models.SmallIntegerField(
        default=0, db_default=0, help_text="0: told at once; else the number of the escalation step."
    )
    group_key = models.CharField(
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text="Messages of one channel with the same key are told together.",
    )
    batch = models.UUIDField(
        null=True, help_text="Messages that were sent in one call: they are tried again in one call."
    )
    suppressed_since = models.DateTimeField(
        null=True, help_text="Since when it was held back, or would have been sent."
    )
    suppressed_by = models.CharField(max_length=300, blank=True, default="", db_default="")
    not_before = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="Given up when it is not delivered by then.")
    delivered_at = models.DateTimeField(null=True)

    objects = OutboxMessageQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "delivery"
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["incident", "channel", "seq"], name="message_once_per_incident_channel_seq"
            ),
            models.CheckConstraint(
                condition=Q(status=MessageStatus.LEASED, lease_until__isnull=False)
                | ~Q(status=MessageStatus.LEASED) & Q(lease_until__isnull=True),
                name="message_leased_has_end",
            ),
            models.CheckConstraint(
                condition=Q(status=MessageStatus.DELIVERED, delivered_at__isnull=False)
                | ~Q(status=MessageStatus.DELIVERED) & Q(delivered_at__isnull=True),
                name="message_delivered_says_when",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["not_before"], condition=Q(status__in=["pending", "leased"]), name="message_undecided"
            ),
            models.Index(fields=["channel", "group_key", "-not_before"], name="message_group_flush"),
            models.Index(
                fields=["channel", "-delivered_at"],
                condition=Q(kind="resolve", status="delivered"),
                name="message_ended",
            ),
            models.Index(fields=["batch"], condition=Q(batch__isnull=False), name="message_batch"),
            models.Index(fields=["channel"], condition=Q(status="suppressed"), name="message_suppressed"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.webhook_id}"

    @property
    def webhook_id(self) -> str:
        """The same in every attempt, so that a receiver can tell a repeat."""
        return f"msg_{self.id.hex}"


class AttemptOutcome(models.TextChoices):
    DELIVERED = "delivered"
    FAILED = "failed", "failed, tried again"
    REFUSED = "refused", "refused for good"
    LOST = "lost", "the worker was lost"


class DeliveryAttempt(models.Model):
    """One try to deliver a message, and what the receiver answered."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    started_at = models.DateTimeField()
    seconds = models.FloatField(null=True)
    together_count = models.IntegerField(
        default=1, db_default=1, help_text="How many messages were sent in this call."
    )
    outcome = models.CharField(max_length=16, choices=AttemptOutcome.choices)
    reason = models.CharField(max_length=500, blank=True)
    status_code = models.SmallIntegerField(null=True)
    answer = models.TextField(blank=True, help_text="The first 500 characters of the receiver's answer.")
    is_ambiguous = models.BooleanField(
        default=False, help_text="Yes: the receiver may have taken the message all the same."
    )

    class Meta:
        ordering = ("message_id", "number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "number"], name="attempt_once_per_number")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"
