"""The buttons of a monitor's page, with what each asks before: the next step is the loudest."""

import dataclasses
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action
from unfold.enums import ActionVariant

from monitoring.admin.dialogs import in_page
from monitoring.admin.monitor_dialogs import BaselineForm, ConfirmForm, monitor_of
from monitoring.admin.monitor_moves import MOVES, Move, accept, ask_backtest, redirect
from monitoring.admin.states import learns
from monitoring.models import Monitor, MonitorState
from monitoring.questions import FIELDS, question_of

_PRIMARY = {
    MonitorState.LEARNING: "backtest",
    MonitorState.BACKTESTED: "activate",
    MonitorState.PAUSED: "resume",
    MonitorState.STALE: "accept_baseline",
}


def allowed(monitor: Monitor, actions: list[UnfoldAction]) -> list[UnfoldAction]:
    """The buttons that its state allows, the next step as the loudest."""
    names = _names(monitor)
    primary = _PRIMARY.get(MonitorState(monitor.state))
    return [
        dataclasses.replace(one, variant=ActionVariant.PRIMARY) if _name(one) == primary else one
        for one in actions
        if _name(one) in names
    ]


def _name(one: UnfoldAction) -> str:
    return one.path.replace("-", "_")


def _names(monitor: Monitor) -> set[str]:
    can_accept = {"accept_baseline"} if learns(monitor) and monitor.reference_id else set()
    must_learn = {"learn_now"} if learns(monitor) and not _is_learnt(monitor) else set()
    found: set[str] = {
        MonitorState.LEARNING: {"backtest", "activate_untried"} | must_learn,
        MonitorState.BACKTESTED: {"backtest", "activate"},
        MonitorState.ACTIVE: {"backtest", "pause"} | can_accept,
        MonitorState.STALE: {"backtest", "pause"} | can_accept,
        MonitorState.PAUSED: {"backtest", "resume"} | can_accept,
    }[MonitorState(monitor.state)]
    return found


def _is_learnt(monitor: Monitor) -> bool:
    known, present = monitor.reference, question_of(monitor)
    return known is not None and all(known.question.get(name) == present[name] for name in FIELDS)


def _button(
    name: str, run: Callable[..., HttpResponse], label: str, icon: str, dialog: dict[str, Any]
) -> Any:
    run.__name__ = name
    return in_page(
        action(
            run,
            description=label,
            url_path=name.replace("_", "-"),
            icon=icon,
            permissions=["change"],
            dialog=dialog,
        )
    )


def _moving(move: Move) -> Any:
    def run(admin: Any, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
        return move.run(admin, request, monitor_of(object_id), form.cleaned_data.get("reason", ""))

    dialog = {
        "title": move.question,
        "description": move.does,
        "form_class": move.form,
        "form_submit_text": move.label,
    }
    return _button(move.name, run, move.label, move.icon, dialog)


def _backtest(admin: Any, request: HttpRequest, form: ConfirmForm, object_id: str) -> HttpResponse:
    return redirect(ask_backtest(admin, request, monitor_of(object_id)))


def _accept(admin: Any, request: HttpRequest, form: BaselineForm, object_id: str) -> HttpResponse:
    return accept(admin, request, form)


BACKTEST_DIALOG = {
    "title": "Try it out on the past?",
    "description": "The last weeks are replayed with the present settings: when it would have raised an alarm, and how long it "
    "takes to find shifts that are put into the numbers. Nothing is changed, and nobody is told.",
    "form_class": ConfirmForm,
    "form_submit_text": "Backtest",
}
BASELINE_DIALOG = {
    "title": "Accept what is seen now as the new baseline?",
    "description": "For a change that is here to stay, such as a new model; not for waiting until a failure is mended.",
    "form_class": BaselineForm,
    "form_submit_text": "Accept",
}

BUTTONS = {
    "backtest": _button("backtest", _backtest, "Backtest", "history", BACKTEST_DIALOG),
    "accept_baseline": _button(
        "accept_baseline", _accept, "Accept as new baseline", "task_alt", BASELINE_DIALOG
    ),
    **{move.name: _moving(move) for move in MOVES},
}
