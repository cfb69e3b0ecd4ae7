"""What an experiment found, as its page shows it; kept current by the page's script, and everything also as numbers."""

import csv
import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from kombu.exceptions import OperationalError

from experiments import overview, pictures
from experiments.admin.opening import CHANGE, Admin, address, back, opened
from experiments.analysis import progress, samples
from experiments.definition import in_percent
from experiments.models import ENDED, Decision, Experiment, ExperimentMetric, State
from experiments.results import last_look, lines, results
from experiments.tasks import look_at_one
from triageops import charts
from triageops.admin import Tone
from triageops.wording import count, interval, money, number, plural, seconds, share, styled

_TONES = {
    "ship": Tone.GOOD,
    "cheaper": Tone.GOOD,
    "harmful": Tone.HARM,
    "futile": Tone.LOOK,
    "keep": Tone.NEUTRAL,
    "wait": Tone.NEUTRAL,
}
_WORDS = {
    "ship": "Ship", "cheaper": "Not inferior and cheaper", "harmful": "Harmful", "futile": "Futile",
    "keep": "Keep running", "wait": "Not enough data",
}  # fmt: skip
_VERDICTS = {
    "better": ("better", Tone.GOOD),
    "worse": ("worse", Tone.HARM),
    "open": ("not decided", Tone.NEUTRAL),
    "harm": ("worse than allowed", Tone.HARM),
    "accepted": ("worse, and accepted", Tone.LOOK),
    "ok": ("within the margin", Tone.NEUTRAL),
    "waiting": ("not enough data", Tone.NEUTRAL),
}
_LEVELS = {"ok": Tone.GOOD, "look": Tone.LOOK, "harm": Tone.HARM, "none": Tone.NEUTRAL}
_ICONS = {Tone.GOOD: "check_circle", Tone.LOOK: "error", Tone.HARM: "cancel", Tone.NEUTRAL: "help_outline"}
_FOR_SHIPPING = frozenset({Decision.SHIP, Decision.CHEAPER})


@dataclass(frozen=True)
class Line:
    """One row of the table of effects."""

    metric: str
    note: str
    variant: str
    colour: str
    value: str
    effect: str
    relative: str
    strength: str
    verdict: str
    tone: Tone


@dataclass(frozen=True)
class Step:
    """One stretch of coverage; `taken_at` is None before it was reached."""

    coverage: str
    condition: str
    taken_at: datetime | None
    is_next: bool = False


@dataclass(frozen=True)
class Evidence:
    """One sentence of what speaks for or against a decision."""

    sentence: str
    tone: Tone

    @property
    def icon(self) -> str:
        return _ICONS[self.tone]


@dataclass(frozen=True)
class Ramp:
    """How far the coverage has grown by itself."""

    title: str
    sentence: str
    steps: list[Step]


def results_context(
    request: HttpRequest, experiment: Experiment, *, is_whole: bool = False
) -> dict[str, Any]:
    """For `experiments/results.html`; empty before the start.

    The page itself comes with what the decision rests on; the script fetches the whole at once, and again as it changes.
    """
    if experiment.started_at is None:
        return {}
    found = results(experiment, timezone.now()) if is_whole else last_look(experiment)
    metrics = sorted(experiment.metrics.all(), key=lambda metric: (metric.position, metric.pk))
    decision = found["decision"]
    planned = found["progress"]
    return {
        "found": found,
        "is_whole": is_whole,
        "may_look": request.user.has_perm(CHANGE),
        "looked_at": found["looked_at"] and datetime.fromisoformat(found["looked_at"]),
        "decision_tone": _TONES[decision["decision"]],
        "decision_word": _WORDS[decision["decision"]],
        "checks": [_check(check) for check in found["health"]],
        "forest": pictures.forest(found),
        "traffic": pictures.traffic(found),
        "segment_charts": pictures.segment_charts(found, metrics),
        "lines": _lines(found, metrics),
        "progress": progress.read(experiment.pk),
        "progress_percent": None if planned is None else round(100 * planned),
        "live_address": address("results", experiment),
        "look_address": address("look", experiment),
        "numbers_address": address("numbers", experiment),
        "power_address": address("power", experiment),
        "has_ramp": bool(experiment.ramp.all()),
        "has_no_units": experiment.is_running and not found["units"],
        "units_word": overview.units_word(experiment),
        **(_whole(request, experiment, found, metrics) if is_whole else {}),
    }


def _whole(
    request: HttpRequest, experiment: Experiment, found: dict[str, Any], metrics: list[ExperimentMetric]
) -> dict[str, Any]:
    may_see_feedback = request.user.has_perm("feedback.view_feedback")
    return {
        "over_time": pictures.over_time(found, metrics),
        "service": service(found),
        "ramp": ramp(found) if found["ramp"] else None,
        "samples": samples.comments(experiment) if may_see_feedback else [],
    }


def _check(check: dict[str, Any]) -> dict[str, Any]:
    sentence = check["sentence"]
    return {**check, "tone": _LEVELS[check["level"]], "sentence": sentence[:1].upper() + sentence[1:]}


def evidence_for_shipping(experiment: Experiment, chosen: str = "") -> list[Evidence]:
    """What the last look says, and what is wrong with its data, for who ships `chosen`; empty: none is chosen yet."""
    found = last_look(experiment)
    if found["looked_at"] is None:
        return [Evidence("Nobody has looked at the data: there is no evidence for any variant.", Tone.LOOK)]
    decision = found["decision"]
    named = decision["variant"] if decision["decision"] in _FOR_SHIPPING else ""
    if named and chosen in {"", named}:
        said = [Evidence(f"The last look says: {decision['sentence']}", Tone.GOOD)]
        said += (
            [] if chosen else [Evidence(f"It says that of {named}, and of no other variant.", Tone.NEUTRAL)]
        )
    else:
        said = [Evidence(f"The last look does not say that: {decision['sentence']}", Tone.LOOK)]
    checks = [_check(check) for check in found["health"] if check["level"] != "ok"]
    return said + [Evidence(f"Data health, {one['name']}: {one['sentence']}", one["tone"]) for one in checks]


def _lines(found: dict[str, Any], metrics: list[ExperimentMetric]) -> list[Line]:
    colours = charts.hues([one["key"] for one in found["variants"]], pictures.control_of(found))
    of = {metric.key: metric for metric in metrics}
    rows = []
    for one in found["metrics"]:
        metric = of[one["key"]]
        better = "higher is better" if one["better"] == "higher" else "lower is better"
        note = f"{one['role']}, {better}"
        for arm in one["arms"]:
            word, tone = _VERDICTS.get(arm["verdict"], ("", Tone.NEUTRAL))
            rows.append(
                Line(
                    metric=one["name"],
                    note=note,
                    variant=arm["variant"],
                    colour=colours[arm["variant"]],
                    value=_value(arm, metric, one["style"]),
                    effect="control" if arm["is_control"] else arm["text"] or "–",
                    relative=_relative(arm),
                    strength=_strength(arm),
                    verdict="" if arm["is_control"] else word,
                    tone=tone,
                )
            )
    return rows


def _value(arm: dict[str, Any], metric: ExperimentMetric, style: Any) -> str:
    if arm["value"] is None:
        return "–"
    text = styled(arm["value"], style)
    around = interval(arm["value_low"], arm["value_high"], style)
    return f"{text} ({around})" if around else text


def _relative(arm: dict[str, Any]) -> str:
    found = arm["relative"]
    if not found:
        return "–"
    if found["low"] is None or found["high"] is None:
        return f"{share(found['lift'], 2)} (no finite interval yet)"
    return f"{share(found['lift'], 2)} ({number(100 * found['low'], 2)} to {share(found['high'], 2)})"


def _strength(arm: dict[str, Any]) -> str:
    p = arm["p_corrected"] if arm["p_corrected"] is not None else arm["p_any"]
    return "–" if p is None else f"p = {number(p, 2)}" if p >= 0.0001 else "p < 0.0001"


def ramp(found: dict[str, Any]) -> Ramp:
    """The ramp of whole `results`: what was taken, and what the next step waits for."""
    given = found["ramp"]["steps"]
    taken = sum(one["reached_at"] is not None for one in given)
    steps = [_first_step(found["epochs"][0])] if found["epochs"] else []
    steps += [_step(one, is_next=number == taken) for number, one in enumerate(given)]
    coverage = f"Coverage is {in_percent(found['epochs'][-1]['coverage_bp'])}. " if found["epochs"] else ""
    return Ramp(
        f"Ramp: {taken} of {plural(len(given), 'step')} taken", coverage + _ramp_sentence(found, taken), steps
    )


def _first_step(epoch: dict[str, Any]) -> Step:
    return Step(in_percent(epoch["coverage_bp"]), "at the start", datetime.fromisoformat(epoch["started_at"]))


def _step(one: dict[str, Any], *, is_next: bool) -> Step:
    after = [f"{one['after_hours']:g} h"]
    if one["after_units"]:
        after.append(f"{plural(one['after_units'], 'unit')} in each variant")
    taken_at = one["reached_at"] and datetime.fromisoformat(one["reached_at"])
    return Step(in_percent(one["coverage_bp"]), f"after {' and '.join(after)}", taken_at, is_next)


def _ramp_sentence(found: dict[str, Any], taken: int) -> str:
    steps, waits_for = found["ramp"]["steps"], str(found["ramp"]["waits_for"])
    if taken == len(steps):
        return "All steps are taken."
    following = in_percent(steps[taken]["coverage_bp"])
    if found["state"] in ENDED:
        return f"It ended before the next step, {following}."
    if found["state"] != State.RUNNING:
        return f"The next step, {following}, waits until the experiment runs again."
    return waits_for or f"The next step, {following}, is due and will be taken by itself."


def service(found: dict[str, Any]) -> list[dict[str, str]]:
    """Cost and latency of each variant, of whole `results`, in words."""
    return [
        {
            "variant": one["variant"],
            "responses": count(one["responses"]),
            "errors": share(one["error_rate"]),
            "mean": seconds(one["latency_mean"]),
            "p50": seconds(one["latency_p50"]),
            "p95": seconds(one["latency_p95"]),
            "cost": money(one["cost_mean"]),
            "total": money(one["cost_total"]),
        }
        for one in found["service"]
    ]


def live(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """The parts that change, for the page's script."""
    experiment = opened(admin, request, object_id)
    context = {"original": experiment, **results_context(request, experiment, is_whole=True)}
    return TemplateResponse(request, "experiments/results.html", context)


def look(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """A person asks for a look now."""
    experiment = opened(admin, request, object_id, CHANGE)
    if request.method == "POST":
        try:
            look_at_one.delay(experiment_id=experiment.pk)
        except OperationalError:
            messages.error(request, "The workers cannot be reached; try again in a moment.")
        else:
            progress.Reporter(experiment.pk, timezone.now())("waiting for a worker", 0.0)
            messages.success(request, "A look was asked for; the page shows how far it is.")
    return back(experiment)


def numbers(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """All estimates of the last look as CSV."""
    experiment = opened(admin, request, object_id)
    text = io.StringIO()
    csv.writer(text).writerows(lines(results(experiment, timezone.now())))
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{experiment.key}-results.csv"'},
    )
