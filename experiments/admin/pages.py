"""Pages beside the definition: how units were dealt, who is forced, what was changed, how clients ask."""

import json
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from experiments import forcing, reviews
from experiments.admin.changes import ASKED, summary
from experiments.admin.differences import differences, named
from experiments.admin.opening import CHANGE, Admin, back, opened, person, render, tell
from experiments.forms import ForceForm, MoveForm
from experiments.models import AllocationEpoch, Experiment, ExperimentEvent
from experiments.overview import Arm, arms_of, control_key
from experiments.sdk_payload import inexpressible
from triageops.rest import Problem

PER_PAGE = 30
_DECIDING = frozenset({"request_change", "approve_change", "refuse_change"})


@dataclass(frozen=True)
class Dealt:
    """One epoch with the pieces of its bar."""

    epoch: AllocationEpoch
    arms: list[Arm]


@dataclass(frozen=True)
class Told:
    """One line of the audit."""

    event: ExperimentEvent
    who: str
    what: str
    changes: list[str]


def epochs(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment = opened(admin, request, object_id)
    control = control_key(list(experiment.variants.all()))
    rows = experiment.epochs.select_related("by").order_by("-number")
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("p"))
    dealt = [Dealt(epoch, arms_of(epoch.weights, control)) for epoch in shown]
    return render(admin, request, "epochs", experiment, "Epochs", dealt=dealt, shown=shown, here="epochs")


def audit(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment = opened(admin, request, object_id)
    rows = experiment.events.select_related("by", "api_key")
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("p"))
    told = [
        Told(
            event,
            _who(event),
            named(event.action),
            [*_asked_for(event), *differences(event.before, event.after)],
        )
        for event in shown
    ]
    return render(admin, request, "audit", experiment, "Audit", told=told, shown=shown, here="audit")


def _who(event: ExperimentEvent) -> str:
    if event.api_key is not None:
        return f"API key {event.api_key.name}"
    return str(event.by or "the system")


def _asked_for(event: ExperimentEvent) -> list[str]:
    """The change that a request or its decision is about; empty for any other event, and for what is not known any more."""
    evidence = event.evidence if isinstance(event.evidence, dict) else {}
    action, arguments = evidence.get("action"), evidence.get("arguments")
    if not isinstance(action, str) or not isinstance(arguments, dict):
        return []
    if event.action not in _DECIDING or action not in reviews.ACTIONS:
        return []
    try:
        return [summary(action, arguments)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def forced(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Who is forced; adding and removing are posted here."""
    may_change = request.user.has_perm(CHANGE)
    experiment = opened(admin, request, object_id, CHANGE if request.method == "POST" else "")
    is_removal = "remove" in request.POST
    form = ForceForm(request.POST if request.POST and not is_removal else None, experiment=experiment)
    if is_removal:
        return _unforce(admin, request, experiment)
    if request.method == "POST" and form.is_valid():
        answer = _force(admin, request, experiment, form)
        if answer is not None:
            return answer
    rows = experiment.forced.standing().select_related("variant", "by")
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("p"))
    context = {"form": form, "shown": shown, "may_change": may_change, "here": "forced"}
    return render(admin, request, "forced", experiment, "Forced units", **context)


def _force(
    admin: Admin, request: HttpRequest, experiment: Experiment, form: ForceForm
) -> HttpResponse | None:
    given = form.cleaned_data
    experiment.version = given["version"]
    unit, variant = given["unit"], given["variant"]
    common = {"by": person(request), "now": timezone.now(), "reason": given["reason"]}
    try:
        if reviews.asks_another(experiment, "force"):
            reviews.request(experiment, "force", {"unit": unit, "variant": variant}, **common)
            said = ASKED
        else:
            forcing.force(experiment, unit, variant, **common)
            said = f"{unit} gets {variant}, and is not analysed."
    except Problem as refused:
        form.add_error(None, " ".join(filter(None, (refused.detail, refused.fix))))
        return None
    admin.log_change(request, experiment, f"Force a unit to {variant}.")
    messages.success(request, said)
    return back(experiment, "forced")


def _unforce(admin: Admin, request: HttpRequest, experiment: Experiment) -> HttpResponse:
    form = MoveForm(request.POST, experiment=experiment)
    unit = request.POST["remove"]
    try:
        experiment.version = form.cleaned_data["version"] if form.is_valid() else -1
        if reviews.asks_another(experiment, "unforce"):
            reviews.request(experiment, "unforce", {"unit": unit}, by=person(request), now=timezone.now())
            said = ASKED
        else:
            forcing.unforce(experiment, unit, by=person(request), now=timezone.now())
            said = f"{unit} is treated as any other unit; it stays out of the analysis."
    except Problem as refused:
        tell(request, refused)
    else:
        admin.log_change(request, experiment, "No longer force a unit.")
        messages.success(request, said)
    return back(experiment, "forced")


def ask(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """What a client sends, in each of the ways, to be copied."""
    experiment = opened(admin, request, object_id)
    forced = experiment.forced.standing().values_list("unit", flat=True)
    context: dict[str, Any] = {
        "key": experiment.key,
        "here": "ask",
        "attributes": _attributes(experiment),
        "inexpressible": inexpressible(list(experiment.epochs.order_by("number")), list(forced)),
    }
    return render(admin, request, "asking", experiment, "How clients ask", **context)


def _attributes(experiment: Experiment) -> str:
    """The context of a call, as JSON: the unit, and the attributes that the targeting reads."""
    named = [name for name in experiment.targeting if not name.startswith("$")]
    found = {"targetingKey": "user-1"} | dict.fromkeys(named, "...")
    if experiment.unit_attribute:
        found = {experiment.unit_attribute: "user-1"} | found
    return json.dumps({"context": found})
