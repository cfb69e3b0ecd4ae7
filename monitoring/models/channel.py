from typing import Self

from django.core.exceptions import ValidationError
from django.db import models

from monitoring.channels import registry
from monitoring.channels.webhook import InvalidSecret, key_of, new_secret
from monitoring.targets import BlockedTarget, target_of


class ChannelQuerySet(models.QuerySet["Channel"]):
    def enabled(self) -> Self:
        return self.filter(is_enabled=True)

    def taking_experiments(self) -> Self:
        return self.filter(takes_experiments=True)


class Channel(models.Model):
    """One place where alerts go."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=32, choices=registry.choices)
    url = models.CharField(
        "URL",
        max_length=2000,
        help_text="Where messages are posted. Whoever knows it can post there: treat it as secret.",
    )
    secret = models.CharField(
        max_length=120,
        blank=True,
        default=new_secret,
        help_text="Signs what a webhook receives (Standard Webhooks). Give it to the receiver, and to nobody else.",
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
        errors = {}
        try:
            target_of(self.url)
        except BlockedTarget as error:
            errors["url"] = str(error)
        try:
            if "secret" in registry.fields_of(registry.kind_named(self.kind)):
                key_of(self.secret)
        except InvalidSecret as error:
            errors["secret"] = str(error)
        except LookupError as error:
            errors["kind"] = str(error)
        if errors:
            raise ValidationError(errors)
