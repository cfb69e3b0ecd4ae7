"""How a monitor stands, in one or two words and a bar."""

import math
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from monitoring.models import Monitor, MonitorState
from monitoring.monitors import registry
from monitoring.problems import problem_of
from triageops import wording
from triageops.admin import Tone, badge

_TONES = {MonitorState.PAUSED: Tone.LOOK, MonitorState.STALE: Tone.LOOK}


def state_of(monitor: Monitor, *, has_incident: bool, now: datetime) -> SafeString:
    """What needs a person first."""
    if has_incident:
        return badge("incident open", Tone.HARM)
    if monitor.check_error and monitor.is_watching:
        return badge("check fails", Tone.HARM)
    problem = problem_of(monitor, now, monitor.started_at or now)
    if problem is not None:
        return badge(
            {"late": "check late", "silent": "no data"}.get(problem.trouble, "check fails"), Tone.LOOK
        )
    return badge(monitor.get_state_display(), _TONES.get(MonitorState(monitor.state), Tone.NEUTRAL))


def learns(monitor: Monitor) -> bool:
    """Whether it has a reference that can be learnt anew."""
    try:
        return registry.kind_named(monitor.kind).learns
    except LookupError:
        return False


def evidence_bar(log_evidence: float) -> SafeString:
    """The share of the alarm line."""
    share = math.exp(min(log_evidence, 0.0))
    return bar(share, "< 1 %" if share < 0.01 else wording.share(share, 2), is_harm=log_evidence >= 0)


def bar(width: float, text: str, *, is_harm: bool = False) -> SafeString:
    """width: from 0 to 1."""
    return format_html(
        '<span class="mo-share"><svg viewBox="0 0 48 8" aria-hidden="true" preserveAspectRatio="none">'
        '<rect class="mo-bar-ground" width="48" height="8" rx="2"/>'
        '<rect class="mo-bar{}" width="{}" height="8" rx="2"/></svg>{}</span>',
        " mo-bar-harm" if is_harm else "",
        f"{48 * width:.1f}",
        text,
    )
