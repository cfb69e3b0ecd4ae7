"""Changes that wait for a second person: what they would do, and the decision."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from experiments import reviews
from experiments.admin import effects
from experiments.admin.changes import summary
from experiments.admin.opening import APPROVE, CHANGE, Admin, address, back, opened, person, render, tell
from experiments.admin.results import evidence_for_shipping
from experiments.forms import MoveForm
from experiments.models import ChangeRequest, Experiment, State
from triageops.rest import Problem


@dataclass(frozen=True)
class Waiting:
    """One change that nobody has decided, as a person sees it."""

    asked: ChangeRequest
    summary: str
    href: str
    is_own: bool


def waiting(experiment: Experiment, request: HttpRequest) -> list[Waiting]:
    """Those that are open, oldest first; one query, none for experiments without the two-person rule."""
    if not experiment.requires_review or experiment.state in {State.DRAFT, State.ARCHIVED}:
        return []
    rows = experiment.change_requests.filter(decided_at=None).select_related("requested_by").order_by("pk")
    may = request.user.has_perm(APPROVE) or request.user.has_perm(CHANGE)
    page = address("decide", experiment)
    return [
        Waiting(
            one,
            summary(one.action, one.arguments),
            f"{page}?request={one.pk}" if may else "",
            one.requested_by == request.user,
        )
        for one in rows
    ]


def decide(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Approve or refuse one; who asked for it may only take it back."""
    experiment = opened(admin, request, object_id)
    asked = _asked(experiment, request.GET.get("request", ""))
    is_own = asked.requested_by == request.user
    if not request.user.has_perm(CHANGE if is_own else APPROVE):
        messages.error(request, "You may not approve changes; ask somebody who may.")
        return back(experiment)
    form = MoveForm(request.POST or None, experiment=experiment)
    if request.method == "POST" and form.is_valid():
        return _decide(admin, request, experiment, asked, form)
    context = {
        "asked": asked,
        "is_own": is_own,
        "effects": effects.of_change(experiment, asked.action, asked.arguments),
        "evidence": evidence_for_shipping(experiment, asked.arguments["variant"])
        if asked.action == "ship"
        else [],
        "summary": summary(asked.action, asked.arguments),
        "form": form,
    }
    return render(admin, request, "decide", experiment, "Decide a change", **context)


def _asked(experiment: Experiment, number: str) -> ChangeRequest:
    if not number.isdecimal() or len(number) > 18:
        raise Http404
    rows = experiment.change_requests.filter(decided_at=None).select_related("requested_by")
    found = rows.filter(pk=number).first()
    if found is None:
        raise Http404
    return found


def _decide(
    admin: Admin, request: HttpRequest, experiment: Experiment, asked: ChangeRequest, form: MoveForm
) -> HttpResponse:
    is_approved = request.POST.get("decision") == "approve"
    experiment.version = form.cleaned_data["version"]
    asked.experiment = experiment
    reason = form.cleaned_data["reason"]
    try:
        reviews.decide(asked, is_approved=is_approved, by=person(request), now=timezone.now(), reason=reason)
    except Problem as refused:
        tell(request, refused)
        return back(experiment)
    word = "Approved" if is_approved else "Refused"
    admin.log_change(
        request, experiment, f"{word}: {summary(asked.action, asked.arguments)}. {reason}".strip()
    )
    messages.success(request, f"{word}: {summary(asked.action, asked.arguments)}.")
    return back(experiment)
