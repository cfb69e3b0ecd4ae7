"""A report for people and programs: sentences, JSON, a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from monitoring import drawing
from monitoring.offline.kept import Table
from monitoring.offline.report import Finding, Learnt, Report
from triageops import wording

_SAID = {
    "distribution": {
        "up": "values are higher",
        "down": "values are lower",
        "wider": "values spread more",
        "narrower": "values spread less",
        "top tail": "more values at the upper end",
        "bottom tail": "more values at the lower end",
    },
    "rate": {"up": "the share is higher", "down": "the share is lower"},
    "volume": {"up": "more arrives", "down": "less arrives"},
    "slo_guard": {"lower": "the mean is below the level", "higher": "the mean is above the level"},
    "never": {"event": "what must not happen has happened"},
}
_COUNTED = {"distribution": "value", "slo_guard": "value", "volume": "event"}
"""What n counts; of the other kinds records."""


def told(report: Report) -> list[str]:
    """The report in sentences, one for each line."""
    where = " after the reference" if report.question.learns else ""
    return [
        _read_told(report.table),
        *(
            []
            if report.learnt is None
            else [_reference_told(report, report.learnt), _sight_told(report, report.learnt)]
        ),
        *([] if report.learnt is not None else [_asked_told(report)]),
        *(finding_told(one, report) for one in report.findings),
        *([] if report.findings else [f"No alarm in the {_watched(report)}{where}."]),
        _promise(report),
    ]


def _read_told(table: Table) -> str:
    plural = wording.plural
    counted = {
        plural(table.missing_count, "value is", "values are") + " missing": table.missing_count,
        plural(table.empty_count, "row") + " of no record left out": table.empty_count,
        plural(table.filled_count, "bucket") + " without a row count as 0": table.filled_count,
        plural(table.cut_count, "bucket") + " at the ends left out as incomplete": table.cut_count,
        "values are means of several records: each bucket counts once": table.are_means,
    }
    notes = [text for text, count in counted.items() if count]
    return f"Read: {'; '.join([plural(table.row_count, 'row'), f'times are {table.times}', *notes])}."


def _counted(n: int, report: Report) -> str:
    return wording.plural(
        n, "bucket" if report.table.are_means else _COUNTED.get(report.question.kind, "record")
    )


def _asked_told(report: Report) -> str:
    question = report.question
    worse = "less" if question.worse_is == "lower" else "more"
    margin = f", and {question.margin:g} of it does not matter" if question.margin else ""
    asked = {
        "slo_guard": f"the mean is to be {question.level or 0.0:g}, {worse} is worse{margin}",
        "burn_rate": f"{100 * (question.objective or 0.0):.10g}{wording.NARROW_SPACE}% of the records have to be good, and"
        f" {0 if question.worse_is == 'lower' else 1} is bad",
        "never": "no record may be 1",
    }[question.kind]
    buckets = wording.plural(len(report.table.samples), "bucket")
    return (
        f"Nothing is learnt: {asked}. All is watched, from {question.clock(report.begin_at)} to"
        f" {question.clock(report.end_at)}, in {buckets} of {wording.seconds(question.bucket_seconds)}."
    )


def _watched(report: Report) -> str:
    return wording.seconds(report.end_at - report.begin_at)


def _reference_told(report: Report, learnt: Learnt) -> str:
    question = report.question
    usual = {
        "distribution": f"mean {wording.number(learnt.usual)}, standard deviation {wording.number(learnt.sd)}",
        "rate": f"share {wording.share(learnt.usual)}",
        "volume": f"{wording.number(learnt.usual)} in a bucket",
    }[question.kind]
    records = "" if report.table.are_means else f"{_counted(learnt.n, report)} in "
    seasons = {
        "none": "no season",
        "hour_of_day": "hours of the day",
        "hour_of_day_weekend": "hours of the day and weekends",
        "hour_of_week": "hours of the week",
    }
    return (
        f"Reference: {question.clock(learnt.begin_at)} to {question.clock(learnt.end_at)},"
        f" {records}{wording.plural(learnt.bucket_count, 'bucket')} of"
        f" {wording.seconds(question.bucket_seconds)}; {seasons[learnt.season]} learned; usual: {usual}."
    )


def _sight_told(report: Report, learnt: Learnt) -> str:
    sight, question = learnt.sight, report.question
    levels = {"rise": sight.up, "fall": sight.down}
    asked = {"up": ["rise"], "down": ["fall"], "both": ["rise", "fall"]}[question.sides]
    known = {word: level for word in asked if (level := levels[word]) is not None}
    within = f"within {wording.seconds(sight.within_seconds)}"
    is_bare = question.kind == "volume" or report.table.are_means
    begin = "" if is_bare else f"at {wording.plural(round(sight.n), 'record')} in a bucket "
    seen = " or ".join(f"a {word} {_size(level, report, learnt)}" for word, level in known.items())
    unseen = " or ".join(word for word in asked if word not in known)
    texts = [
        f"{begin}{seen} is found {within} on average" if seen else "",
        f"no {unseen} is sure to be found {within}" if unseen else "",
    ]
    text = "; ".join(filter(None, texts))
    return f"{text[0].upper()}{text[1:]}."


def _size(level: float, report: Report, learnt: Learnt) -> str:
    if report.question.kind == "distribution":
        shift = wording.number(level * (learnt.sd or 0.0), 2)
        return f"of the mean by {shift} ({wording.number(level, 2)} standard deviations)"
    return f"to {wording.share(level) if report.question.kind == 'rate' else wording.number(level)}"


def finding_told(found: Finding, report: Report) -> str:
    question = report.question
    show = wording.share if question.kind in ("rate", "burn_rate") else wording.number
    how = "; one bucket alone" if found.is_single else "; piled up over several buckets"
    if not found.is_single and found.at - found.onset_at <= question.bucket_seconds:
        how = "; in its first bucket"
    how = "" if question.is_rule else how
    said = _SAID.get(question.kind, {}).get(
        found.label, f"the error budget is used up too fast, {found.label}"
    )
    again = ""
    if found.again_count:
        times = wording.plural(found.again_count, "time")
        again = f" Raised again {times} until {question.clock(found.last_at)}."
    size = f"{found.measure} {show(found.before)} → {show(found.after)} over {_counted(found.n, report)}"
    if question.kind == "never":
        size = f"{wording.count(found.after)} of {_counted(found.n, report)}"
    return (
        f"Alarm at {question.clock(found.at)}: {said}, since about"
        f" {question.clock(found.onset_at)}; {size}{how}.{again}"
    )


def _promise(report: Report) -> str:
    question = report.question
    if question.is_rule:
        return "No promise about false alarms: it is a rule and no test, and --budget means nothing to it."
    expected = question.budget_per_second * (report.end_at - report.begin_at)
    alarms = f"{question.budget:g} false alarm{'' if question.budget == 1 else 's'}"
    return (
        f"The promise: at most {alarms} in 30 days on average, {wording.number(expected, 2)} in the {_watched(report)} watched,"
        f" as long as {_condition(report)}."
    )


def _condition(report: Report) -> str:
    question, tolerance = report.question, report.question.tolerance
    if question.kind == "slo_guard":
        margin = question.margin or 0.0
        is_lower = question.worse_is == "lower"
        allowed = (question.level or 0.0) + (-margin if is_lower else margin)
        side = "below" if is_lower else "above"
        return f"the mean to be expected is never {side} {allowed:g}, whatever came before"
    nothing = f"changes by more than {wording.share(tolerance.ratio, 2)} of itself"
    if question.kind == "distribution":
        of_what = " of the buckets’ means" if report.table.are_means else ""
        nothing = (
            f"moves by more than {tolerance.shift:g} standard deviations{of_what} or spreads by more than a factor"
            f" of {tolerance.stretch:g}"
        )
    return f"nothing {nothing} and the reference is a fair picture of what is usual"


def as_json(report: Report) -> dict[str, Any]:
    """Times as unix seconds."""
    question = asdict(report.question)
    return {
        "question": {**question, "tolerance": asdict(report.question.tolerance)},
        "read": {
            "times": report.table.times,
            "rows": report.table.row_count,
            "missing": report.table.missing_count,
            "filled_buckets": report.table.filled_count,
            "incomplete_buckets": report.table.cut_count,
            "rows_of_no_record": report.table.empty_count,
            "values_are_means": report.table.are_means,
        },
        "reference": None if report.learnt is None else asdict(report.learnt),
        "watched": {"begin_at": report.begin_at, "end_at": report.end_at, "alarm_count": report.alarm_count},
        "alarms": [asdict(found) for found in report.findings],
        "text": told(report),
    }


def picture(report: Report, title: str) -> str:
    """An SVG file's text."""
    question = report.question
    unit = {
        "distribution": "mean of each bucket",
        "rate": "share of each bucket",
        "volume": "number in each bucket",
        "slo_guard": "mean of each bucket; usual is the level",
        "burn_rate": "share of bad records in each bucket; usual is what the objective allows",
        "never": "share of records in each bucket that must not be",
    }
    spans = [
        drawing.Span(one.onset_at, one.at, one.last_at, finding_told(one, report)) for one in report.findings
    ]
    return drawing.drawn(
        report.points,
        spans,
        title=title,
        unit=unit[question.kind],
        zone=ZoneInfo(question.zone),
        watched_from=report.begin_at,
        end_at=report.end_at,
    )
