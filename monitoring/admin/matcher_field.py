"""A field for matchers, written as Alertmanager writes them and kept in the shape of its API."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from monitoring.routing.matchers import InvalidMatcher, as_text, from_api, parse


class MatchersField(forms.CharField):
    def __init__(self, **options: Any) -> None:
        attrs = {
            "rows": 3,
            "spellcheck": "false",
            "placeholder": 'monitor="helpfulness", variant=~"claude-.*"',
        }
        options.setdefault("widget", UnfoldAdminTextareaWidget(attrs=attrs))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        try:
            return as_text(
                matcher
                for one in value
                for matcher in (parse(one) if isinstance(one, str) else [from_api(one)])
            )
        except InvalidMatcher:
            return "\n".join(map(str, value))

    def to_python(self, value: Any) -> Any:
        text = ",".join(filter(None, (line.strip().rstrip(",") for line in (value or "").splitlines())))
        try:
            return [one.as_api() for one in parse(text)]
        except InvalidMatcher as error:
            raise ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True
