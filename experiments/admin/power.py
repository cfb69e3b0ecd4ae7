"""How many units are needed, and how long that takes, from the product's own last 30 days."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from experiments import pictures, planning
from experiments.admin.opening import Admin, address, opened, render
from experiments.analysis.wording import amount, style_of
from experiments.forms import PowerForm
from experiments.models import Design, Experiment, ExperimentMetric, Role
from experiments.planning import Plan, TooLittle
from triageops.rest import InvalidInput
from triageops.wording import count, number, plural, share, styled

_DESIGNS = {
    "fixed": ("One look at the end", "The smallest sample, if nobody looks or stops before."),
    "group_sequential": ("Group sequential", "Looks on the way may end it early; it has a planned end."),
    "always_valid": ("Always valid", "Look and stop whenever you like; it may also go on."),
}
_FIELDS = ("metric", "effect", "power")
_LONGEST_DAYS = 3_650
_FEW_NEW = 0.1
"""Of the units that were seen, as many again in as many days."""


def page(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment = opened(admin, request, object_id)
    metrics = [metric for metric in experiment.metrics.all() if metric.role != Role.GUARDRAIL]
    if not metrics:
        return render(admin, request, "power", experiment, "Power", here="power", is_empty=True)
    effect = "" if experiment.minimum_effect is None else str(experiment.minimum_effect)
    asked = {"metric": metrics[0].key, "effect": effect, "power": "80"}
    asked |= {name: request.GET[name] for name in _FIELDS if name in request.GET}
    query = request.GET.copy()
    is_anew = bool(query.pop("anew", None))
    form = PowerForm(asked, metrics=metrics)
    context: dict[str, Any] = {"form": form, "here": "power"}
    if form.is_valid():
        metric = next(one for one in metrics if one.key == form.cleaned_data["metric"])
        context |= _found(experiment, metric, form, is_anew=is_anew)
    if is_anew:
        # Loading the page again must not compute again.
        return HttpResponseRedirect(f"{address('power', experiment)}?{query.urlencode()}")
    query["anew"] = "1"
    context["anew"] = f"?{query.urlencode()}"
    return render(admin, request, "power", experiment, "Power", **context)


def _found(
    experiment: Experiment, metric: ExperimentMetric, form: PowerForm, *, is_anew: bool
) -> dict[str, Any]:
    asked = form.cleaned_data
    try:
        found = planning.plan(
            experiment,
            metric,
            effect=asked["effect"],
            power=asked["power"] / 100,
            now=timezone.now(),
            is_anew=is_anew,
        )
    except InvalidInput as refused:
        form.add_error(refused.field, f"{refused.detail} {refused.fix}")
        return {}
    except TooLittle as refused:
        return {"refused": refused}
    seen = found.behaviour
    return {
        "plan": found,
        "answer": _answer(experiment, metric, found),
        "chart": pictures.power_curve(found, metric),
        "designs": _designs(experiment, found),
        "notes": [
            *planning.population_notes(experiment, seen.population),
            *_further_notes(experiment, metric, found),
        ],
        "seen": [
            ("Value now", styled(seen.value, style_of(metric))),
            (
                "Spread of one unit (sd)",
                f"{number(seen.variance**0.5)} ± {share(seen.variance_error / 2, 2)}",
            ),
            ("Units that count", f"{count(seen.reach[-1])} in {plural(round(seen.days), 'day')}"),
            ("New ones a day, at the end", number(seen.new_per_day)),
            ("Units looked at", count(seen.unit_count)),
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
        f"{plural(units, 'unit')} in all variants: {_duration(days)} at the present pace."
    )


def _designs(experiment: Experiment, found: Plan) -> list[dict[str, Any]]:
    """Side by side; empty without an effect."""
    needed = found.needed
    if needed is None:
        return []
    return [
        {
            "title": title,
            "explanation": explanation,
            "units": count(getattr(needed.units, name)),
            "duration": _duration(getattr(needed.days, name)),
            "times": number(getattr(needed.units, name) / needed.units.fixed),
            "is_own": name == experiment.design,
        }
        for name, (title, explanation) in _DESIGNS.items()
    ]


def _duration(days: int) -> str:
    return "more than ten years" if days > _LONGEST_DAYS else plural(days, "day")


def _further_notes(experiment: Experiment, metric: ExperimentMetric, found: Plan) -> list[str]:
    seen, needed = found.behaviour, found.needed
    notes = [planning.design_effect_note(metric)]
    in_days = f"In {plural(round(seen.days), 'day')} {count(seen.reach[-1])} units were seen"
    if seen.new_per_day * seen.days < _FEW_NEW * seen.reach[-1]:
        notes.append(
            f"{in_days}, and hardly any new ones come, {number(seen.new_per_day)} a day: a longer run finds hardly more."
        )
    elif needed is not None and needed.days.always_valid > seen.days:
        notes.append(
            f"{in_days}; from then on the pace is that of the new ones, {number(seen.new_per_day)} a day."
        )
    if needed is not None and experiment.design != Design.BANDIT:
        least = experiment.minimum_sample * len(experiment.variants.all())
        if needed.units.fixed < least:
            notes.append(f"The experiment concludes nothing before {count(least)} units, its minimum sample.")
        if needed.days.always_valid < experiment.minimum_days:
            notes.append(f"Nothing ships before {plural(experiment.minimum_days, 'day')}, its minimum.")
    return [note for note in notes if note]
