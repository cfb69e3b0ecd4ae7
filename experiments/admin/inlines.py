"""What stands under an experiment: variants, metrics, ramp; forms in a draft, tables to read after."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import StackedInline, TabularInline

from experiments.definition import in_percent
from experiments.forms import MetricForm, MetricFormSet, RampForm, RampFormSet, VariantForm, VariantFormSet
from experiments.models import Experiment, ExperimentMetric, MetricType, RampStep, Role, Variant
from triageops.admin import ReadOnlyPermission
from triageops.wording import number, share


class VariantInline(TabularInline):
    hide_title = True
    model = Variant
    form = VariantForm
    formset = VariantFormSet
    fields = ("key", "is_control", "weight_bp", "config")
    template_after = "experiments/weights.html"

    class Media:
        js = ("experiments/weights.js", "experiments/presets.js")

    def get_extra(self, request: HttpRequest, obj: Experiment | None = None, **options: Any) -> int:
        return 2 if obj is None else 0


class VariantTable(ReadOnlyPermission, TabularInline):
    hide_title = True
    model = Variant
    formset = VariantFormSet
    extra = 0
    fields = ("key", "role", "weight", "version", "config")
    readonly_fields = ("role", "weight", "version")

    @admin.display(description="role")
    def role(self, variant: Variant) -> str:
        return "control" if variant.is_control else "variant"

    @admin.display(description="weight")
    def weight(self, variant: Variant) -> str:
        return variant.weight_in_percent


class MetricInline(StackedInline):
    model = ExperimentMetric
    form = MetricForm
    formset = MetricFormSet
    collapsible = True
    verbose_name = "metric"
    verbose_name_plural = "metrics"
    template_before = "experiments/presets.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("preset", "role"),
                    ("name", "key"),
                    ("source", "kind"),
                    ("per", "better"),
                    ("margin", "quantile"),
                    ("halts", "alpha"),
                    ("cap", "window_days"),
                    ("worth", "is_adjusted"),
                )
            },
        ),
    )

    def get_extra(self, request: HttpRequest, obj: Experiment | None = None, **options: Any) -> int:
        return 0


class MetricTable(ReadOnlyPermission, TabularInline):
    hide_title = True
    model = ExperimentMetric
    extra = 0
    verbose_name_plural = "metrics"
    fields = ("shown_name", "shown_role", "source", "shown_kind", "shown_better", "shown_margin", "notes")
    readonly_fields = fields

    def get_formset(self, request: HttpRequest, obj: Experiment | None = None, **options: Any) -> Any:
        return super().get_formset(request, obj, **{"formset": _ReadMetrics, **options})

    @admin.display(description="metric")
    def shown_name(self, metric: ExperimentMetric) -> str:
        return metric.name

    @admin.display(description="role")
    def shown_role(self, metric: ExperimentMetric) -> str:
        return metric.get_role_display()

    @admin.display(description="type")
    def shown_kind(self, metric: ExperimentMetric) -> str:
        if metric.kind == MetricType.QUANTILE and metric.quantile is not None:
            return f"quantile p{100 * metric.quantile:g}"
        per = f" of {metric.get_per_display()}" if metric.kind == MetricType.RATIO else ""
        return metric.get_kind_display().partition(":")[0] + per

    @admin.display(description="direction")
    def shown_better(self, metric: ExperimentMetric) -> str:
        return metric.get_better_display()

    @admin.display(description="margin")
    def shown_margin(self, metric: ExperimentMetric) -> str:
        return number(metric.margin) if metric.margin else "none"

    @admin.display(description="more")
    def notes(self, metric: ExperimentMetric) -> str:
        said = []
        if metric.role == Role.GUARDRAIL:
            said.append("halts" if metric.halts else "does not halt")
        if metric.alpha is not None:
            said.append(f"error rate {share(metric.alpha)}")
        if metric.cap is not None:
            said.append(f"capped at {number(metric.cap)}")
        if metric.window_days is not None:
            said.append(f"first {metric.window_days} days")
        if metric.worth is not None:
            said.append(f"one positive is worth ${number(metric.worth)}")
        return "; ".join(said)


class RampInline(TabularInline):
    hide_title = True
    model = RampStep
    form = RampForm
    formset = RampFormSet
    fields = ("coverage_bp", "after_hours", "after_units")
    verbose_name = "ramp step"
    verbose_name_plural = "ramp: the coverage grows by itself, when time, sample and guardrails allow it"

    def get_extra(self, request: HttpRequest, obj: Experiment | None = None, **options: Any) -> int:
        return 0


class RampTable(ReadOnlyPermission, TabularInline):
    hide_title = True
    model = RampStep
    formset = RampFormSet
    extra = 0
    verbose_name_plural = "ramp"
    fields = ("coverage", "after_hours", "after_units", "reached_at")
    readonly_fields = ("coverage", "reached_at")

    @admin.display(description="coverage")
    def coverage(self, step: RampStep) -> str:
        return in_percent(step.coverage_bp)


class _ReadMetrics(RampFormSet):
    """Rows to read need no presets."""

    def get_queryset(self) -> Any:
        return self.instance.metrics.all()
