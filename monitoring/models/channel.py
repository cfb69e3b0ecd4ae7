from typing import Self

from django.core.exceptions import ValidationError
from django.db import models

from monitoring.channels import registry
from monitoring.channels.sink import Sink
from monitoring.channels.webhook import new_secret
from monitoring.models.template import MessageTemplate

SETTINGS = ("url", "secret", "recipients")
"""What kinds of channels are made of; each has some of them."""


class ChannelQuerySet(models.QuerySet["Channel"]):
    def enabled(self) -> Self:
        return self.filter(is_enabled=True)

    def of_people(self) -> Self:
        """Without the product's own one, which tells nobody."""
        return self.exclude(kind=Sink.name)

    def taking_experiments(self) -> Self:
        return self.filter(takes_experiments=True)


class Channel(models.Model):
    """One place where alerts go."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=32, choices=registry.choices)
    url = models.CharField(
        "URL",
        max_length=2000,
        blank=True,
        help_text="Where messages are posted. Whoever knows it can post there: treat it as secret.",
    )
    secret = models.CharField(
        max_length=120,
        blank=True,
        default=new_secret,
        help_text="Signs what a webhook receives (Standard Webhooks). Give it to the receiver, and to nobody else.",
    )
    previous_secret = models.CharField(
        max_length=120,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Signs beside the present one until the receiver knows that.",
    )
    previous_secret_until = models.DateTimeField(null=True, editable=False)
    inbound_secret = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="PagerDuty: the secret of its webhook subscription, with which acknowledgements come back here.",
    )
    recipients = models.TextField(
        blank=True, default="", db_default="", help_text="E-mail addresses, separated by commas."
    )
    template = models.ForeignKey(
        MessageTemplate,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="channels",
        help_text="Own words for what this channel says. Empty: the built-in text.",
    )
    is_enabled = models.BooleanField(
        "enabled",
        default=True,
        help_text="Messages of a disabled channel wait for up to 24 hours, then are given up.",
    )
    takes_experiments = models.BooleanField(
        "halted experiments",
        default=True,
        db_default=True,
        help_text="Tell this channel when an experiment is halted.",
    )
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ChannelQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        try:
            mistakes = registry.mistakes(self.kind, {name: getattr(self, name) for name in SETTINGS})
        except LookupError as error:
            mistakes = {"kind": str(error)}
        if mistakes:
            raise ValidationError(mistakes)
