"""What could be watched, to be chosen from; and how the chosen ones come along, until they watch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from monitoring import questions, suggestions, transitions
from monitoring.admin.opening import Admin, few, person, render, require
from monitoring.candidates import Suggestion
from monitoring.models import Backtest, BacktestState, Monitor, MonitorState
from monitoring.monitors.registry import is_rule
from triageops import wording
from triageops.admin import Tone, badge
from triageops.charts import sparkline
from triageops.rest import Problem
from triageops.wording import Style

VIEW = ("monitoring.view_monitor", "monitoring.change_monitor", "monitoring.add_monitor")
_WIDTH, _HEIGHT = 320.0, 40.0


@dataclass(frozen=True)
class Card:
    suggestion: Suggestion
    spark: str
    numbers: str
    kind: str
    is_chosen: bool


@dataclass(frozen=True)
class Step:
    """One monitor on its way. backtest: the latest, without its report. is_ready: nothing speaks against watching."""

    monitor: Monitor
    backtest: Backtest | None
    state: SafeString
    result: str
    is_running: bool
    is_ready: bool


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    require(request, *VIEW)
    now = timezone.now()
    may_add = request.user.has_perm("monitoring.add_monitor")
    if request.method == "POST":
        require(request, "monitoring.add_monitor")
        made = suggestions.create(request.POST.getlist("key"), by=person(request), now=now)
        if not made:
            messages.info(request, "Nothing was made: nothing was chosen, or all of it is watched already.")
            return HttpResponseRedirect(reverse("admin:monitoring_suggestions"))
        for monitor in made:
            admin.log_addition(request, monitor, "Made from a suggestion.")
        messages.success(
            request, f"{wording.plural(len(made), 'monitor')} made; each is tried out on the past now."
        )
        return HttpResponseRedirect(_progress_address(monitor.pk for monitor in made))
    found = suggestions.propose(now)
    ready = [one for one in found if not one.blocked]
    return render(
        admin,
        request,
        "suggestions",
        "What could be watched",
        sentence=_sentence(found, ready),
        tone="neutral",
        cards=[_card(one) for one in ready],
        blocked=[_card(one) for one in found if one.blocked],
        may_add=may_add,
    )


def _sentence(found: list[Suggestion], ready: list[Suggestion]) -> str:
    if ready:
        return f"{wording.plural(len(ready), 'thing')} of what came in could be watched and {'is' if len(ready) == 1 else 'are'} not."
    if found:
        return "What came in is watched, but for metrics that nobody has classified yet."
    return "There is nothing to suggest: all that came in is watched, or nothing came in yet."


def _card(one: Suggestion) -> Card:
    preview, parts = one.preview, []
    if preview.mean is not None and one.metric != "volume":
        parts.append(f"mean {wording.styled(preview.mean, _style(one))}")
    parts.append(f"{wording.count(preview.n_a_day)} a day")
    if one.settings.get("split_by"):
        parts.append("also by variant")
    kind = (
        f"{one.kind.replace('_', ' ')}, {one.settings.get('reference_mode', '')} reference"
        if one.kind
        else ""
    )
    spark = sparkline(preview.points, _WIDTH, _HEIGHT)
    return Card(one, spark, ", ".join(parts), kind, not one.seen.startswith("Needs"))


def _style(one: Suggestion) -> Style:
    if one.kind == "rate":
        return "share"
    return {"latency_seconds": "seconds", "cost": "money"}.get(one.metric, "number")  # type: ignore[return-value]


def _progress_address(keys: Iterable[int]) -> str:
    query = urlencode({"m": ".".join(map(str, keys))})
    return f"{reverse('admin:monitoring_suggestions_progress')}?{query}"


def progress(admin: Admin, request: HttpRequest) -> HttpResponse:
    """The chosen monitors, or all that do not watch yet."""
    require(request, *VIEW)
    steps = _steps(request.GET.get("m", ""))
    if request.method == "POST":
        require(request, "monitoring.change_monitor")
        _activate(admin, request, [step.monitor for step in steps if step.is_ready])
        return HttpResponseRedirect(request.get_full_path())
    ready = sum(step.is_ready for step in steps)
    running = sum(step.is_running for step in steps)
    context: dict[str, Any] = {
        "steps": steps,
        "ready": ready,
        "running": running,
        "may_activate": request.user.has_perm("monitoring.change_monitor"),
        "sentence": _progress_sentence(steps, running, ready),
        "live_address": "?" + urlencode({"m": request.GET.get("m", ""), "live": 1}),
        "here": "?" + urlencode({"m": request.GET.get("m", "")}),
    }
    if "live" in request.GET:
        return TemplateResponse(request, "monitoring/progress_live.html", context)
    return render(admin, request, "progress", "New monitors", **context)


def _steps(asked: str) -> list[Step]:
    keys = [int(key) for key in asked.split(".") if key.isdecimal() and len(key) < 18]
    rows = (
        Monitor.objects.filter(pk__in=keys)
        if asked
        else Monitor.objects.filter(state__in=(MonitorState.LEARNING, MonitorState.BACKTESTED))
    )
    monitors = list(rows)
    latest = (
        Backtest.objects.filter(monitor__in=monitors).order_by("monitor_id", "-id").distinct("monitor_id")
    )
    told = latest.defer("report").annotate(
        is_calm=F("report__is_calm"),
        alarms=F("report__alarm_count"),
        signals=F("report__signal_count"),
        promised=F("report__budget__promised"),
    )
    by_monitor = {one.monitor_id: one for one in told}
    return [_step(monitor, by_monitor.get(monitor.pk)) for monitor in monitors]


def _step(monitor: Monitor, backtest: Backtest | None) -> Step:
    tone = Tone.GOOD if monitor.is_watching else Tone.NEUTRAL
    state = badge("watching" if monitor.is_watching else monitor.state, tone)
    if backtest is None:
        return Step(monitor, None, state, "Not tried out yet.", is_running=False, is_ready=False)
    is_done = backtest.state == BacktestState.DONE
    is_present = not questions.differs(monitor, backtest.question)
    is_calm = is_done and bool(backtest.is_calm)  # type: ignore[attr-defined]
    return Step(
        monitor,
        backtest,
        state,
        result_of(backtest),
        is_running=not backtest.is_finished,
        is_ready=is_calm and is_present and not monitor.is_watching,
    )


def result_of(backtest: Any) -> str:
    """backtest: annotated with is_calm, alarms, signals and promised."""
    if backtest.state == BacktestState.DONE:
        came = backtest.alarms + backtest.signals
        head = "Calm" if backtest.is_calm else "Too many alarms"
        if is_rule(backtest.question.get("kind", "")):
            return f"{wording.plural(came, 'alarm')} of a fixed rule."
        return f"{head}: {wording.plural(came, 'alarm')}, where {few(backtest.promised)} were promised."
    if backtest.state == BacktestState.FAILED:
        return backtest.error or "It failed."
    return {
        BacktestState.WAITING: "Waits for a worker.",
        BacktestState.RUNNING: f"{wording.share(backtest.progress, 2)} done.",
        BacktestState.CANCELLED: "Cancelled.",
    }[BacktestState(backtest.state)]


def _progress_sentence(steps: list[Step], running: int, ready: int) -> str:
    watching = sum(step.monitor.is_watching for step in steps)
    if not steps:
        return "No monitor is on its way: all that were made watch or are paused."
    if running:
        return f"{running} of {wording.plural(len(steps), 'backtest')} {'is' if running == 1 else 'are'} under way; {ready} calm so far."
    if watching == len(steps):
        return f"{wording.plural(len(steps), 'monitor')} watch{'es' if len(steps) == 1 else ''} from now on."
    if watching and not ready:
        others = wording.plural(len(steps) - watching, "other")
        return f"{wording.plural(watching, 'monitor')} watch{'es' if watching == 1 else ''}; of {others} no backtest was calm."
    return f"{ready} of {wording.plural(len(steps), 'monitor')} {'is' if ready == 1 else 'are'} calm and can be activated."


def _activate(admin: Admin, request: HttpRequest, monitors: list[Monitor]) -> None:
    done = 0
    for monitor in monitors:
        try:
            transitions.activate(monitor, by=person(request), now=timezone.now())
        except Problem as refused:
            messages.error(request, f"“{monitor}”: {refused.detail}")
            continue
        admin.log_change(request, monitor, "Activated: its backtest was calm.")
        done += 1
    if done:
        messages.success(
            request, f"{wording.plural(done, 'monitor')} watch{'es' if done == 1 else ''} from now on."
        )
    elif not monitors:
        messages.info(request, "None of them is calm and ready yet.")
