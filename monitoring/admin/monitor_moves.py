"""What a person does with a monitor: each move calls one function, and says what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from monitoring import backtests, baselines, lifecycle
from monitoring.admin.monitor_dialogs import (
    REFUSALS,
    ActivateForm,
    BaselineForm,
    ConfirmForm,
    UntriedForm,
    text_of,
)
from monitoring.models import Monitor
from monitoring.tasks import wake_delivery
from triageops import wording


@dataclass(frozen=True)
class Move:
    """act: gets the monitor, the person, the time, and the reason. said: with {} for the monitor's name."""

    name: str
    label: str
    icon: str
    question: str
    does: str
    act: Callable[[Monitor, User, datetime, str], object]
    note: str
    said: str
    form: type[ConfirmForm] | type[ActivateForm] = ConfirmForm

    def run(self, admin: Any, request: HttpRequest, monitor: Monitor, reason: str) -> HttpResponse:
        return answer(
            admin,
            request,
            monitor,
            lambda by, now: self.act(monitor, by, now, reason),
            f"{self.note} {reason}",
            self.said.format(monitor),
        )


MOVES = (
    Move(
        "activate",
        "Activate",
        "play_arrow",
        "Activate this monitor?",
        "It watches from now on, with no evidence from before, and the channels that it has are told. The budget of false alarms "
        "is split anew over all monitors.",
        lambda monitor, by, now, why: lifecycle.activate(monitor, by=by, now=now, without_backtest=why),
        "Activated.",
        "“{}” watches from now on.",
        ActivateForm,
    ),
    Move(
        "activate_untried",
        "Activate without a backtest",
        "play_arrow",
        "Activate it without having tried it out?",
        "Nobody knows then how often it would have spoken in the last weeks, nor how soon it finds a change. The budget of "
        "false alarms is kept all the same, on its assumptions.",
        lambda monitor, by, now, why: lifecycle.activate(monitor, by=by, now=now, without_backtest=why),
        "Activated without a backtest.",
        "“{}” watches from now on.",
        UntriedForm,
    ),
    Move(
        "resume",
        "Resume",
        "play_arrow",
        "Resume this monitor?",
        "It watches from now on, with no evidence from before. Open incidents stay open.",
        lambda monitor, by, now, _: lifecycle.activate(
            monitor, by=by, now=now, without_backtest="resumed after a pause"
        ),
        "Resumed.",
        "“{}” watches from now on.",
    ),
    Move(
        "pause",
        "Pause",
        "pause",
        "Pause this monitor?",
        "Nothing is watched until it is resumed, and then with no evidence from before. Open incidents stay open. Its part of "
        "the budget goes to the others.",
        lambda monitor, by, now, _: lifecycle.pause(monitor),
        "Paused.",
        "“{}” is paused.",
    ),
    Move(
        "learn_now",
        "Learn now",
        "school",
        "Learn what is usual?",
        "From the stretch of time that the settings name. It does not watch by that.",
        lambda monitor, by, now, _: lifecycle.learn(monitor, by=by, reason="a person asked for it", now=now),
        "Learnt what is usual.",
        "What is usual for “{}” was learnt.",
    ),
)


def ask_backtest(
    admin: Any, request: HttpRequest, monitor: Monitor, question: dict[str, Any] | None = None
) -> str:
    """The address of the page to see next: the backtest's, or the monitor's when it was refused."""
    try:
        asked = backtests.ask(monitor, question=question, by=_person(request), now=timezone.now())
    except REFUSALS as refused:
        messages.error(request, text_of(refused))
        return reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    backtests.start(asked)
    admin.log_change(request, monitor, "Asked for a backtest.")
    messages.success(request, "A backtest was asked for; this page shows how far it is.")
    return reverse("admin:monitoring_backtest_change", args=[asked.pk])


def accept(admin: Any, request: HttpRequest, form: BaselineForm) -> HttpResponse:
    """Of a monitor, or asked for on the page of its incident."""
    given, monitor = form.cleaned_data, form.monitor
    over = wording.plural(len(form.incidents), "incident")
    return answer(
        admin,
        request,
        monitor,
        lambda by, now: baselines.accept_baseline(
            monitor,
            by=by,
            reason=given["reason"],
            start_at=given["start_at"],
            end_at=given["end_at"],
            now=now,
        ),
        f"Accepted a new baseline. {given['reason']}",
        f"This is usual for “{monitor}” from now on; {over} {'is' if len(form.incidents) == 1 else 'are'} over.",
    )


def answer(
    admin: Any,
    request: HttpRequest,
    monitor: Monitor,
    act: Callable[[User, datetime], object],
    note: str,
    said: str,
) -> HttpResponse:
    try:
        act(_person(request), timezone.now())
    except REFUSALS as refused:
        messages.error(request, text_of(refused))
    else:
        wake_delivery()
        admin.log_change(request, monitor, note.strip())
        messages.success(request, said)
    return redirect(reverse("admin:monitoring_monitor_change", args=[monitor.pk]))


def redirect(address: str) -> HttpResponse:
    return HttpResponse(headers={"HX-Redirect": address})


def _person(request: HttpRequest) -> User:
    """The admin lets nobody in who is not logged in."""
    user: Any = request.user
    return user
