"""A field for records that are chosen by labels."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class LabelsField(forms.CharField):
    """`name = value`, one a line, read as a mapping."""

    def prepare_value(self, value: Any) -> Any:
        return (
            "\n".join(f"{name} = {text}" for name, text in value.items())
            if isinstance(value, dict)
            else value
        )

    def to_python(self, value: Any) -> Any:
        labels: dict[str, str] = {}
        for line in filter(None, map(str.strip, (value or "").splitlines())):
            name, sign, text = line.partition("=")
            if not sign or not name.strip():
                raise ValidationError(f"“{line}” is not of the form name = value.")
            if name.strip() in labels:
                raise ValidationError(f"“{name.strip()}” is there twice.")
            labels[name.strip()] = text.strip()
        return labels

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True
