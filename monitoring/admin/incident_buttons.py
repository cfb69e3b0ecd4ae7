"""The buttons of an incident's page: exactly what its state allows, each with what it asks before."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from unfold.decorators import action
from unfold.enums import ActionVariant

from monitoring.admin import incident_moves as moves
from monitoring.admin.dialogs import dialog, in_page
from monitoring.admin.incident_dialogs import (
    AcknowledgeForm,
    CommentForm,
    ExtendForm,
    IncidentBaselineForm,
    JudgeForm,
    ResolveForm,
    SilenceForm,
)
from monitoring.admin.incident_page import can_accept
from monitoring.admin.monitor_buttons import BASELINE_DIALOG
from monitoring.models import Incident, IncidentState, Resolution


def allowed(incident: Incident) -> set[str]:
    """Names of the buttons; `active_flags` read, or asked for."""
    if incident.state == IncidentState.SUSPECT:
        return {"comment"}
    if not incident.is_open:
        return {"comment"} if incident.resolution == Resolution.FADED else {"comment", "judge"}
    found = {"comment", "judge", "silence", "resolve_halt" if incident.experiment else "resolve"}
    found |= {"acknowledge"} if incident.acknowledged_at is None else {"extend", "unacknowledge"}
    if can_accept(incident):
        found.add("accept_baseline")
    if moves.silence_of(incident) is not None:
        found = found - {"silence"} | {"end_silence"}
    return found


def _button(
    name: str,
    run: Callable[..., HttpResponse],
    label: str,
    icon: str,
    asked: dict[str, Any],
    permission: str = "act",
    variant: ActionVariant = ActionVariant.DEFAULT,
) -> Any:
    def named(*args: Any, **kwargs: Any) -> HttpResponse:
        return run(*args, **kwargs)

    named.__name__ = name
    made = action(
        named,
        description=label,
        url_path=name.replace("_", "-"),
        icon=icon,
        permissions=[permission],
        variant=variant,
        dialog=asked,
    )
    return in_page(made)


BUTTONS = {
    "acknowledge": _button(
        "acknowledge",
        moves.acknowledge,
        "Acknowledge",
        "front_hand",
        dialog(
            "Acknowledge this incident?",
            "It tells everybody who was told of it that you take care of it.",
            "Acknowledge",
            AcknowledgeForm,
        ),
        variant=ActionVariant.PRIMARY,
    ),
    "extend": _button(
        "extend",
        moves.acknowledge,
        "Acknowledge until …",
        "more_time",
        dialog(
            "How much longer?",
            "It is acknowledged for so long from now on; nobody is told.",
            "Save",
            ExtendForm,
        ),
    ),
    "unacknowledge": _button(
        "unacknowledge",
        moves.unacknowledge,
        "Take back",
        "undo",
        dialog(
            "Take the acknowledgement back?",
            "It fires again, and everybody who was told of it is told so.",
            "Take back",
        ),
    ),
    "silence": _button(
        "silence",
        moves.silence,
        "Silence",
        "notifications_off",
        dialog(
            "Silence this incident?",
            "Nobody is told news of it until then. Messages wait and are not lost: what is still true at the end is told "
            "once, with how long it was silenced.",
            "Silence",
            SilenceForm,
        ),
    ),
    "end_silence": _button(
        "end_silence",
        moves.end_silence,
        "End the silence",
        "notifications_active",
        dialog(
            "End the silence now?",
            "It ends for all incidents that it covers, and what is still true is told.",
            "End the silence",
        ),
    ),
    "resolve": _button(
        "resolve",
        moves.resolve,
        "Resolve",
        "task_alt",
        dialog(
            "Resolve this incident?",
            "Whoever was told that it began is told that it is over. The detector starts anew: if the metric is still "
            "worse than allowed, there will be another incident.",
            "Resolve",
            ResolveForm,
        ),
    ),
    "resolve_halt": _button(
        "resolve_halt",
        moves.resolve,
        "Resolve",
        "task_alt",
        dialog(
            "Resolve this incident without resuming the experiment?",
            "Whoever was told that it began is told that it is over, but the experiment stays halted. To resume it, go to "
            "the experiment's page and give a reason; the incident is then resolved by itself.",
            "Resolve",
            ResolveForm,
        ),
    ),
    "accept_baseline": _button(
        "accept_baseline",
        moves.accept,
        "Accept as new baseline",
        "task_alt",
        {**BASELINE_DIALOG, "form_class": IncidentBaselineForm},
        permission="accept",
    ),
    "comment": _button(
        "comment",
        moves.comment,
        "Comment",
        "comment",
        dialog(
            "Add a comment",
            "It is kept in the incident's log, which nobody can change, and is sent to nobody.",
            "Keep",
            CommentForm,
        ),
    ),
    "judge": _button(
        "judge",
        moves.judge,
        "Useful, noise or expected",
        "thumbs_up_down",
        dialog(
            "Was it right to tell of it?",
            "Judgements show how precise each monitor and channel is, and what could be changed.",
            "Judge",
            JudgeForm,
        ),
    ),
}
