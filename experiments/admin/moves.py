"""The buttons that move an experiment from state to state: each shows what it does, asks, and calls one function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from experiments import lifecycle, overview, reviews
from experiments.admin import effects
from experiments.admin.changes import ASKED
from experiments.admin.opening import APPROVE, CHANGE, Admin, address, back, opened, person, render, tell
from experiments.admin.results import evidence_for_shipping
from experiments.forms import MoveForm, ScheduleForm, ShipForm
from experiments.lifecycle import Transition
from experiments.models import Experiment, State, Variant
from triageops.rest import Conflict, Problem

_CHECKED = frozenset({"start", "schedule", "request_review"})


@dataclass(frozen=True)
class Move:
    """One button. said: what the experiment is after it. question: what is asked before, with {} for the key."""

    transition: Transition
    run: Callable[..., Experiment]
    label: str
    icon: str
    effects: Callable[[Experiment, Sequence[Variant]], list[str]]
    said: str
    look: Literal["primary", "default", "danger"] = "default"
    form: type[MoveForm] = MoveForm
    permission: str = CHANGE
    question: str = ""

    def question_of(self, key: str) -> str:
        return (self.question or f"{self.label} {{}}?").format(key)

    @property
    def name(self) -> str:
        return self.transition.action


MOVES = (
    Move(lifecycle.APPROVE, lifecycle.approve, "Approve", "verified", effects.of_approval, "approved", "primary", permission=APPROVE),
    Move(lifecycle.START, lifecycle.start, "Start", "play_arrow", effects.of_start, "running", "primary"),
    Move(lifecycle.SCHEDULE, lifecycle.schedule, "Schedule", "schedule", effects.of_schedule, "scheduled", form=ScheduleForm),
    Move(lifecycle.REQUEST_REVIEW, lifecycle.request_review, "Request review", "rate_review", effects.of_review, "in review", question="Request a review of {}?"),
    Move(lifecycle.REVISE, lifecycle.back_to_draft, "Back to draft", "edit", effects.of_draft, "a draft again", question="Take {} back to draft?"),
    Move(lifecycle.PAUSE, lifecycle.pause, "Pause", "pause", effects.of_pause, "paused"),
    Move(lifecycle.RESUME, lifecycle.resume, "Resume", "play_arrow", effects.of_resume, "running", "primary"),
    Move(lifecycle.STOP, lifecycle.stop, "Stop", "stop", effects.of_stop, "stopped"),
    Move(lifecycle.SHIP, lifecycle.ship, "Ship", "rocket_launch", effects.of_ship, "shipped", "primary", ShipForm),
    Move(lifecycle.UNSHIP, lifecycle.unship, "Take back", "undo", effects.of_unship, "stopped", question="Take the shipped variant of {} back?"),
    Move(lifecycle.ARCHIVE, lifecycle.archive, "Archive", "archive", effects.of_archive, "archived"),
    Move(lifecycle.KILL, lifecycle.kill, "Kill switch", "emergency_home", effects.of_kill, "halted", "danger", question="Use the kill switch of {}?"),
)  # fmt: skip


@dataclass(frozen=True)
class Button:
    label: str
    icon: str
    href: str
    look: str


def buttons(experiment: Experiment, user: AbstractBaseUser | AnonymousUser) -> list[Button]:
    """The moves that the state allows, and that this person may make and that would not be refused."""
    names = {one.action for one in lifecycle.allowed(experiment.state)}
    found = [
        move
        for move in MOVES
        if move.name in names and user.has_perm(move.permission) and _is_open(move.name, experiment, user)  # type: ignore[union-attr]
    ]
    return [
        Button(one.label, one.icon, address(one.name, experiment), _look(one, experiment)) for one in found
    ]


def _look(move: Move, experiment: Experiment) -> str:
    """The next step is the loudest."""
    return "primary" if move.name == "request_review" and experiment.requires_review else move.look


def change_buttons(experiment: Experiment) -> list[Button]:
    """What can be changed while it is under way."""
    if not experiment.is_under_way:
        return []
    names = (
        ("weights", "Change weights", "balance"),
        ("coverage", "Change coverage", "open_in_full"),
        ("revise", "New version", "edit_note"),
    )
    return [Button(label, icon, address(name, experiment), "default") for name, label, icon in names]


def _is_open(name: str, experiment: Experiment, user: object) -> bool:
    is_approved = experiment.approved_version is not None
    if name in {"start", "schedule"}:
        return is_approved or not experiment.requires_review
    if name == "approve":
        return not is_approved and experiment.review_requested_by != user
    return True


def page(admin: Admin, request: HttpRequest, object_id: str, *, move: Move) -> HttpResponse:
    """Shows what the move does and asks; on POST does it."""
    experiment = opened(admin, request, object_id, move.permission)
    needs_reason = move.transition.needs_reason or (
        move.name == "resume" and experiment.state == State.HALTED
    )
    form = move.form(request.POST or None, experiment=experiment, needs_reason=needs_reason)
    if request.method == "POST" and form.is_valid():
        answer = _try(admin, request, experiment, form, move)
        if answer is not None:
            return answer
    elif experiment.state not in move.transition.sources:
        state = experiment.get_state_display()
        messages.error(request, f"The experiment is {state}; “{move.label}” is not possible.")
        return back(experiment)
    elif move.name == "approve" and experiment.review_requested_by == request.user:
        messages.error(request, "You asked for this review, so somebody else has to approve it.")
        return back(experiment)
    return _ask(admin, request, experiment, form, move)


def _ask(
    admin: Admin, request: HttpRequest, experiment: Experiment, form: MoveForm, move: Move
) -> HttpResponse:
    if move.name in _CHECKED:
        prefetch_related_objects([experiment], "metrics", "ramp")
    variants = list(experiment.variants.all())
    is_start = move.name in {"start", "schedule"}
    missing = lifecycle.missing_for_start(experiment, variants) if move.name in _CHECKED else []
    if is_start and experiment.requires_review and experiment.approved_version is None:
        missing.append("Nobody else has approved it, which its two-person rule asks for; request a review.")
    does = [] if missing else move.effects(experiment, variants)
    asks_another = reviews.asks_another(experiment, move.name)
    if asks_another:
        does.insert(0, "By the two-person rule this asks for it; somebody else has to approve it.")
    context: dict[str, Any] = {
        "move": move,
        "question": move.question_of(experiment.key),
        "button": "Ask for this change" if asks_another else move.label,
        "evidence": evidence_for_shipping(experiment) if move.name == "ship" else [],
        "missing": missing,
        "recommended": lifecycle.recommended_for_start(experiment) if is_start and not missing else [],
        "effects": does,
        "arms": overview.arms(variants),
        "form": form,
        "shown_fields": [field for field in form if field.name != "version"],
    }
    return render(admin, request, "move", experiment, move.label, **context)


def _try(
    admin: Admin, request: HttpRequest, experiment: Experiment, form: MoveForm, move: Move
) -> HttpResponse | None:
    """None: the person's input was refused, and is shown again."""
    # The version that the person saw; lifecycle refuses when it is not the current one.
    experiment.version = form.cleaned_data["version"]
    reason = form.cleaned_data["reason"]
    common = {"by": person(request), "now": timezone.now(), "reason": reason}
    try:
        if reviews.asks_another(experiment, move.name):
            reviews.request(experiment, move.name, form.arguments(), **common)
            said = ASKED
        else:
            move.run(experiment, **common, **form.arguments())
            said = f"The experiment {experiment.key} is {move.said}."
    except Conflict as refused:
        tell(request, refused)
        return back(experiment)
    except Problem as refused:
        known = refused.field if refused.field in form.fields else None
        form.add_error(known, " ".join(filter(None, (refused.detail, refused.fix))))
        return None
    admin.log_change(request, experiment, f"{move.label}. {reason}".strip())
    messages.success(request, said)
    return back(experiment)
