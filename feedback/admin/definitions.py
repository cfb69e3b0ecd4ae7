"""Quality metrics: what a name means, said by a person."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Case, IntegerField, Value, When
from django.http import HttpRequest
from django.utils.safestring import SafeString

from feedback.models import MetricKind, QualityMetric
from triageops import wording
from triageops.admin import NoDeleteAdmin, Tone, badge


class QualityMetricForm(forms.ModelForm[QualityMetric]):
    class Meta:
        model = QualityMetric
        fields = ("key", "kind", "direction", "unit", "low", "high", "good_from", "description")
        help_texts: ClassVar = {
            "key": "The name under which clients send it, such as “helpfulness”.",
            "kind": "Decides how it is summed up and what may be sent: a rate takes 0 and 1 only.",
            "direction": "Which way is better. Alerts and results read it; “neither” never raises harm.",
        }

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        low, high = found.get("low"), found.get("high")
        if found.get("kind") == MetricKind.BOUNDED:
            for name, value in (("low", low), ("high", high)):
                if value is None and name not in self.errors:
                    self.add_error(name, "A bounded score needs both bounds.")
            if low is not None and high is not None and low >= high:
                self.add_error("high", f"Must be larger than the smallest value, {wording.number(low)}.")
        else:
            for name in ("low", "high"):
                if found.get(name) is not None:
                    self.add_error(name, "Only a bounded score has bounds; leave this empty.")
        self._check_good_from(found)
        return found

    def _check_good_from(self, found: dict[str, Any]) -> None:
        line, low, high = found.get("good_from"), found.get("low"), found.get("high")
        if found.get("kind") == MetricKind.RATE:
            low, high = 0.0, 1.0
        if line is not None and low is not None and high is not None and not low <= line <= high:
            self.add_error(
                "good_from", f"Must lie within the bounds, {wording.number(low)} to {wording.number(high)}."
            )


@admin.register(QualityMetric)
class QualityMetricAdmin(NoDeleteAdmin):
    form = QualityMetricForm
    list_display = ("key", "classified", "better", "unit", "low", "high", "description")
    list_filter = ("kind", "direction")
    search_fields = ("key",)

    # What waits for a person comes first.
    ordering = (
        Case(When(kind=MetricKind.DISCOVERED, then=Value(0)), default=Value(1), output_field=IntegerField()),
        "key",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: QualityMetric | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()

    @admin.display(description="kind", ordering="kind")
    def classified(self, metric: QualityMetric) -> SafeString | str:
        if metric.kind == MetricKind.DISCOVERED:
            return badge("classify", Tone.LOOK)
        return MetricKind(metric.kind).label

    @admin.display(description="better", ordering="direction")
    def better(self, metric: QualityMetric) -> str:
        return metric.get_direction_display()
