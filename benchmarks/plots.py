"""The pictures of docs/statistics, from the results of benchmarks/simulate; those whose scenario was left out stay as they are."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.simulations import events, power
from benchmarks.simulations.allocation import OURS
from benchmarks.simulations.rules import ALPHA, ALWAYS_VALID, GROUP_SEQUENTIAL, LOOKS, Looks
from benchmarks.simulations.scenario import Result
from experiments.analysis import inference
from triageops.stats.group_sequential import Crossing, boundaries
from triageops.stats.power import always_valid_bound

# Colours that the colour-blind can tell apart (Okabe, Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
Results = Mapping[str, Result]


def write(results: Results, directory: Path, seed: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # Equal results give equal files: no dates, no random ids; text stays text, which is small and can be searched.
    mpl.rcParams |= {"svg.hashsalt": "triageops", "svg.fonttype": "none", "font.size": 10}
    pictures = {
        "peeking": ({"rate-30%-50/50"}, _peeking),
        "rare-events": ({f"rate-{rate}-90/10" for rate in events.RATES}, _rare_events),
        "epochs": ({"weight-change"}, _epochs),
        "srm": ({"srm-none", "srm-45/32/23"}, _srm),
    }
    for name, (needed, draw) in pictures.items():
        if needed <= results.keys():
            figure, axes = _figure()
            draw(axes, results)
            _save(figure, directory / f"{name}.svg")
    figure, axes = _figure()
    _sequence(axes, seed)
    _save(figure, directory / "confidence-sequence.svg")
    figure, axes = _figure()
    _power(axes)
    _save(figure, directory / "power.svg")


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def _so_far(result: Result, rule: str) -> list[float]:
    """Percent of the runs that have claimed up to each look."""
    return [100 * claims / result.runs for claims in itertools.accumulate(result.firsts[rule])]


def _lines(axes: Axes, result: Result, styles: Sequence[tuple[str, str]]) -> None:
    for rule, colour in styles:
        share = _so_far(result, rule)
        axes.plot(range(1, len(share) + 1), share, color=colour, label=rule)
    axes.set_ylim(bottom=0)


def _peeking(axes: Axes, results: Results) -> None:
    styles = [
        ("chance to win > 95 % at every look", RED),
        ("z > 1.96 at every look", ORANGE),
        (GROUP_SEQUENTIAL, GREEN),
        (ALWAYS_VALID, BLUE),
    ]
    _lines(axes, results["rate-30%-50/50"], styles)
    axes.axhline(100 * ALPHA, color=GREY, linestyle=":", label="promised: 5 %")
    axes.set(xlabel="daily look", ylabel="false claims so far, %")


def _rare_events(axes: Axes, results: Results) -> None:
    shown = [
        ("confidence sequence, plug-in variance", RED, "own variances (elsewhere)"),
        (ALWAYS_VALID, BLUE, "always valid, variance under no difference"),
        ("exact e-test", GREEN, "exact e-test (rates of 2 % and less)"),
    ]
    for position, (rule, colour, label) in enumerate(shown):
        found = [
            (i, results[f"rate-{rate}-90/10"])
            for i, rate in enumerate(events.RATES)
            if rule in results[f"rate-{rate}-90/10"].firsts
        ]
        heights = [100 * result.share(rule) for _, result in found]
        ends = [result.interval(rule) for _, result in found]
        errors = [
            [100 * result.share(rule) - 100 * end.low for (_, result), end in zip(found, ends, strict=True)],
            [100 * end.high - 100 * result.share(rule) for (_, result), end in zip(found, ends, strict=True)],
        ]
        places = [i + 0.25 * (position - 1) for i, _ in found]
        axes.bar(places, heights, 0.23, color=colour, label=label, yerr=errors, ecolor=GREY)
    axes.set_xticks(range(len(events.RATES)), [f"rate {rate.replace('%', ' %')}" for rate in events.RATES])
    axes.axhline(100 * ALPHA, color=GREY, linestyle=":", label="promised: 5 %")
    axes.set(ylabel="false claims in 28 looks, 90/10, %")


def _epochs(axes: Axes, results: Results) -> None:
    styles = [
        ("z > 1.96 at every look, pooled", RED),
        ("confidence sequence, pooled", ORANGE),
        (GROUP_SEQUENTIAL, GREEN),
        (ALWAYS_VALID, BLUE),
    ]
    _lines(axes, results["weight-change"], styles)
    axes.axhline(100 * ALPHA, color=GREY, linestyle=":", label="promised: 5 %")
    axes.set(xlabel="daily look, weights changed after day 1", ylabel="false claims so far, %")


def _srm(axes: Axes, results: Results) -> None:
    for key, words, style in (("srm-none", "no mismatch", "-"), ("srm-45/32/23", "45/32/23", "--")):
        for rule, colour in ((OURS, BLUE), ("chi-square, p < 0.01 at every check", RED)):
            share = _so_far(results[key], rule)
            name = rule.removesuffix(" at every check")
            axes.plot(range(1, len(share) + 1), share, style, color=colour, label=f"{name}; {words}")
    axes.set(xlabel="daily check, 300 units each", ylabel="alarms so far, %", ylim=(0, 102))


def _sequence(axes: Axes, seed: int) -> None:
    effect = power.smallest_effect(power.RATE, 0.5)
    found = events.one_run(np.random.default_rng(seed), effect)
    looks = Looks(found, 10_000, is_proportion=True)
    plan = looks.plan()
    if plan is None:
        return
    shown = [(number + 1, inference.finding(compared, plan)) for number, compared, _ in looks.ready()]
    days = [day for day, _ in shown]
    axes.fill_between(
        days,
        [100 * found.low for _, found in shown],
        [100 * found.high for _, found in shown],
        color=BLUE,
        alpha=0.2,
        label="confidence sequence, 95 %",
    )
    axes.plot(days, [100 * found.effect for _, found in shown], color=BLUE, label="estimate")
    axes.axhline(100 * effect, color=GREEN, linestyle="--", label="true difference")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="daily look", ylabel="difference of rates, points", ylim=(-10, 15))


def _power(axes: Axes) -> None:
    """By integration over the bounds, at multiples of the sample that gives the fixed design 80 %."""
    fractions = [k / LOOKS for k in range(1, LOOKS + 1)]
    designs = {
        "one look at the end": (Crossing.of([1.0], [1.959964]), GREY),
        GROUP_SEQUENTIAL: (
            Crossing.of(fractions, boundaries(fractions, inference.SPENT_SHARE * ALPHA)),
            GREEN,
        ),
        ALWAYS_VALID: (Crossing.of(fractions, [always_valid_bound(t, ALPHA) for t in fractions]), BLUE),
    }
    samples = np.linspace(0.1, 2.5, 49)
    for label, (crossing, colour) in designs.items():
        found = [100 * sum(crossing.probabilities(2.801585 * float(np.sqrt(x)))) for x in samples]
        axes.plot(samples, found, color=colour, label=label)
    axes.axhline(80, color=GREY, linestyle=":")
    axes.set(
        xlabel="planned sample / sample of the fixed design", ylabel="power with 28 looks, %", ylim=(0, 100)
    )
