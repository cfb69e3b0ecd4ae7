"""Changes of what is under way, in two steps: the numbers, then what they do and the question.

Under the two-person rule the second step asks somebody else for the change instead of making it. What else the rule covers,
shipping and forced units, is said here in the same words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from experiments import epochs, reviews
from experiments.admin import effects
from experiments.admin.opening import CHANGE, Admin, back, opened, person, render, tell
from experiments.definition import in_percent
from experiments.epochs import WEIGHT_KINDS
from experiments.forms import ConfigsForm, CoverageForm, KindForm, MoveForm, WeightsForm
from experiments.models import EpochKind, Experiment
from triageops.rest import Problem

EDIT, PREVIEW, CONFIRM = "edit", "preview", "confirm"
ASKED = "The change is asked for; somebody else has to approve it."

_WAYS = {
    EpochKind.STICKY: "Sticky: only newcomers",
    EpochKind.MINIMAL_MOVE: "Minimal move: as few as possible",
    EpochKind.RERANDOMISE: "Re-randomise: all dealt anew",
}


@dataclass(frozen=True)
class Way:
    """One way to change weights, with what it does to users."""

    kind: EpochKind
    title: str
    preview: epochs.Preview


def weights(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Step 1: new weights. Step 2: the three ways side by side, each with what it does."""
    experiment, refused = _open(admin, request, object_id)
    if refused is not None:
        return refused
    variants = list(experiment.variants.all())
    step = request.POST.get("step", EDIT)
    numbers = WeightsForm(request.POST or None, variants=variants)
    if step == EDIT or not numbers.is_valid():
        return _first(admin, request, experiment, numbers, "weights", "Change weights")
    wanted = numbers.cleaned_data["weights"]
    form = KindForm(request.POST if step == CONFIRM else None, experiment=experiment, kinds=WEIGHT_KINDS)
    if step == CONFIRM and form.is_valid():
        arguments = {"kind": form.cleaned_data["kind"], "weights": wanted}
        return _finish(admin, request, experiment, "change_weights", arguments, form)
    ways = [Way(kind, _WAYS[kind], epochs.preview(experiment, kind, wanted)) for kind in WEIGHT_KINDS]
    context = {
        "ways": ways,
        "chosen": form["kind"].value() or EpochKind.STICKY,
        "change": ", ".join(
            f"{one.key} {one.weight_in_percent} → {in_percent(wanted[one.key])}"
            for one in variants
            if wanted[one.key] != one.weight_bp
        ),
    }
    return _second(admin, request, experiment, numbers, form, "Change weights", **context)


def coverage(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment, refused = _open(admin, request, object_id)
    if refused is not None:
        return refused
    numbers = CoverageForm(request.POST or None, experiment=experiment)
    return _simple(
        admin,
        request,
        experiment,
        numbers,
        "change_coverage",
        "Change coverage",
        lambda cleaned: {"coverage_bp": cleaned["coverage_bp"]},
    )


def revise(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """New configs: a new version of the variants that differ."""
    experiment, refused = _open(admin, request, object_id)
    if refused is not None:
        return refused
    numbers = ConfigsForm(
        request.POST or None, experiment=experiment, variants=list(experiment.variants.all())
    )
    return _simple(
        admin,
        request,
        experiment,
        numbers,
        "revise",
        "New version of a variant",
        lambda cleaned: {"configs": cleaned["configs"]},
    )


def _simple(
    admin: Admin,
    request: HttpRequest,
    experiment: Experiment,
    numbers: forms.Form,
    action: str,
    title: str,
    arguments_of: Callable[[dict[str, Any]], dict[str, Any]],
) -> HttpResponse:
    step = request.POST.get("step", EDIT)
    if step == EDIT or not numbers.is_valid():
        return _first(admin, request, experiment, numbers, action, title)
    arguments = arguments_of(numbers.cleaned_data)
    form = MoveForm(request.POST if step == CONFIRM else None, experiment=experiment)
    if step == CONFIRM and form.is_valid():
        return _finish(admin, request, experiment, action, arguments, form)
    context = {"effects": effects.of_change(experiment, action, arguments)}
    return _second(admin, request, experiment, numbers, form, title, **context)


def _open(admin: Admin, request: HttpRequest, object_id: str) -> tuple[Experiment, HttpResponse | None]:
    experiment = opened(admin, request, object_id, CHANGE)
    if experiment.is_under_way:
        return experiment, None
    state = experiment.get_state_display()
    messages.error(request, f"The experiment is {state}; this is only possible while it is under way.")
    return experiment, back(experiment)


def _first(
    admin: Admin, request: HttpRequest, experiment: Experiment, numbers: forms.Form, kind: str, title: str
) -> HttpResponse:
    if request.POST.get("step") == EDIT:
        # Back from the second step: the numbers as they were, without complaints.
        numbers.is_valid()
        numbers.errors.clear()
    return render(
        admin, request, "change_first", experiment, title, numbers=numbers, kind=kind, heading=title
    )


def _second(
    admin: Admin,
    request: HttpRequest,
    experiment: Experiment,
    numbers: forms.Form,
    form: MoveForm,
    title: str,
    **context: Any,
) -> HttpResponse:
    for field in numbers.fields.values():
        field.widget = field.hidden_widget()
    return render(
        admin,
        request,
        "change_second",
        experiment,
        title,
        numbers=numbers,
        form=form,
        heading=title,
        **context,
    )


def _finish(
    admin: Admin,
    request: HttpRequest,
    experiment: Experiment,
    action: str,
    arguments: Mapping[str, Any],
    form: MoveForm,
) -> HttpResponse:
    experiment.version = form.cleaned_data["version"]
    common = {"by": person(request), "now": timezone.now(), "reason": form.cleaned_data["reason"]}
    try:
        if reviews.asks_another(experiment, action):
            reviews.request(experiment, action, dict(arguments), **common)
            said = ASKED
        else:
            _do(experiment, action, arguments, common)
            said = f"Done: {summary(action, arguments)}."
    except Problem as refused:
        tell(request, refused)
        return back(experiment)
    admin.log_change(request, experiment, f"{action}. {form.cleaned_data['reason']}".strip())
    messages.success(request, said)
    return back(experiment)


def _do(experiment: Experiment, action: str, arguments: Mapping[str, Any], common: dict[str, Any]) -> None:
    if action == "change_weights":
        epochs.change_weights(experiment, EpochKind(arguments["kind"]), arguments["weights"], **common)
    elif action == "change_coverage":
        epochs.cover(experiment, arguments["coverage_bp"], **common)
    else:
        epochs.revise(experiment, arguments["configs"], **common)


def summary(action: str, arguments: Mapping[str, Any]) -> str:
    """The change in a few words."""
    if action == "change_weights":
        kind = _WAYS[EpochKind(arguments["kind"])].partition(":")[0].lower()
        return f"weights {epochs.describe_weights(arguments['weights'])} ({kind})"
    if action == "change_coverage":
        return f"coverage {in_percent(arguments['coverage_bp'])}"
    if action == "ship":
        return f"ship {arguments['variant']}"
    if action == "force":
        return f"{arguments['unit']} gets {arguments['variant']}"
    if action == "unforce":
        return f"{arguments['unit']} is no longer forced"
    return f"new config of {', '.join(arguments['configs'])}"
