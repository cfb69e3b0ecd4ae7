from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from monitoring.templating import texts


class MessageTemplate(models.Model):
    """The words of messages, written by an admin; a broken one is replaced by the built-in text, which says so."""

    name = models.CharField(max_length=100, unique=True)
    title = models.TextField(max_length=500, help_text="One line.")
    body = models.TextField(max_length=4000)
    updated_at = models.DateTimeField(auto_now=True)
    broken_reason = models.CharField(
        max_length=300, blank=True, default="", editable=False, help_text="Why it could not be used last."
    )
    broken_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        problems = texts.check(self.title, self.body)
        if problems:
            raise ValidationError({"body": problems})
