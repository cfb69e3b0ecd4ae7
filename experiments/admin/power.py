"""How many units are needed, and how long that takes, from the product's own last 30 days."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from experiments import pictures, planning
from experiments.admin.opening import Admin, opened, render
from experiments.analysis.wording import amount, style_of
from experiments.forms import PowerForm
from experiments.models import Experiment, ExperimentMetric, Role
from experiments.planning import Plan, TooLittle
from triageops.rest import InvalidInput
from triageops.wording import count, number, plural, share, styled

_DESIGNS = {
    "fixed": "One look at the end",
    "group_sequential": "Group sequential: looks on the way, with a planned end",
    "always_valid": "Always valid: look and stop whenever you like",
}


def page(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment = opened(admin, request, object_id)
    metrics = [metric for metric in experiment.metrics.all() if metric.role != Role.GUARDRAIL]
    if not metrics:
        return render(admin, request, "power", experiment, "Power", here="power", is_empty=True)
    initial = {"metric": metrics[0].key, "effect": experiment.minimum_effect, "power": 80}
    form = PowerForm(request.GET if "metric" in request.GET else initial, metrics=metrics)
    context: dict[str, Any] = {"form": form, "here": "power"}
    if form.is_valid():
        metric = next(one for one in metrics if one.key == form.cleaned_data["metric"])
        context |= _found(experiment, metric, form.cleaned_data)
    return render(admin, request, "power", experiment, "Power", **context)


def _found(experiment: Experiment, metric: ExperimentMetric, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        found = planning.plan(
            experiment,
            metric,
            effect=asked["effect"],
            power=float(asked["power"]) / 100,
            now=timezone.now(),
        )
    except (TooLittle, InvalidInput) as refused:
        return {"refused": refused}
    return {
        "plan": found,
        "answer": _answer(experiment, metric, found),
        "chart": pictures.power_curve(found, metric),
        "rows": _rows(found),
        "note": planning.design_effect_note(metric),
        "seen": [
            ("Value now", styled(found.behaviour.value, style_of(metric))),
            ("Spread of one unit (sd)", number(found.behaviour.variance**0.5)),
            ("Units a day", number(found.behaviour.units_per_day)),
            ("Units looked at", count(found.behaviour.unit_count)),
            ("Error rate of one comparison", share(found.alpha)),
        ],
    }


def _answer(experiment: Experiment, metric: ExperimentMetric, found: Plan) -> str:
    if found.needed is None:
        return f"Say which difference of {metric.name} would be worth acting on, and this page says what it takes."
    units = planning.planned_units(found, experiment.design)
    difference = amount(found.needed.effect, metric)
    if units is None:
        return f"A bandit claims nothing; a test would need {count(found.needed.units.always_valid)} units to find {difference}."
    days = getattr(found.needed.days, experiment.design)
    return (
        f"To find a difference of {difference} in {metric.name} with {share(found.power)} power, this design needs about "
        f"{count(units)} units in all variants: {plural(days, 'day')} at the present pace."
    )


def _rows(found: Plan) -> list[tuple[str, str, str, str]]:
    """(design, units, days, times the fixed design)"""
    if found.needed is None:
        return []
    fixed = found.needed.units.fixed
    return [
        (
            title,
            count(getattr(found.needed.units, name)),
            plural(getattr(found.needed.days, name), "day"),
            f"{number(getattr(found.needed.units, name) / fixed)} ×",
        )
        for name, title in _DESIGNS.items()
    ]
