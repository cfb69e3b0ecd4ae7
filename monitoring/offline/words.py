"""A report for people and programs: sentences, JSON, a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from monitoring import drawing
from monitoring.offline.question import Question
from monitoring.offline.report import Finding, Report
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
}


def told(report: Report) -> list[str]:
    """The report in sentences, one for each line."""
    table, question = report.table, report.question
    left_out = [
        f"{wording.plural(table.missing_count, 'value is', 'values are')} missing"
        if table.missing_count
        else "",
        f"{wording.plural(table.filled_count, 'bucket')} without a row count as 0"
        if table.filled_count
        else "",
        f"{wording.plural(table.cut_count, 'bucket')} at the ends left out as incomplete"
        if table.cut_count
        else "",
    ]
    return [
        f"Read: {'; '.join([wording.plural(table.row_count, 'row'), f'times are {table.times}', *filter(None, left_out)])}.",
        _reference_told(report),
        _sight_told(report),
        *(finding_told(one, question) for one in report.findings),
        *([] if report.findings else [f"No alarm in the {_watched(report)} after the reference."]),
        _promise(report),
    ]


def _watched(report: Report) -> str:
    return wording.seconds(report.end_at - report.begin_at)


def _reference_told(report: Report) -> str:
    learnt, question = report.learnt, report.question
    counted = {"distribution": "value", "rate": "record", "volume": "event"}[question.kind]
    usual = {
        "distribution": f"mean {wording.number(learnt.usual)}, standard deviation {wording.number(learnt.sd)}",
        "rate": f"share {wording.share(learnt.usual)}",
        "volume": f"{wording.number(learnt.usual)} in a bucket",
    }[question.kind]
    seasons = {
        "none": "no season",
        "hour_of_day": "hours of the day",
        "hour_of_day_weekend": "hours of the day and weekends",
        "hour_of_week": "hours of the week",
    }
    return (
        f"Reference: {question.clock(learnt.begin_at)} to {question.clock(learnt.end_at)},"
        f" {wording.plural(learnt.n, counted)} in {wording.plural(learnt.bucket_count, 'bucket')} of"
        f" {wording.seconds(question.bucket_seconds)}; {seasons[learnt.season]} learned; usual: {usual}."
    )


def _sight_told(report: Report) -> str:
    sight, question = report.learnt.sight, report.question
    levels = {"rise": sight.up, "fall": sight.down}
    asked = {"up": ["rise"], "down": ["fall"], "both": ["rise", "fall"]}[question.sides]
    known = {word: level for word in asked if (level := levels[word]) is not None}
    within = f"within {wording.seconds(sight.within_seconds)}"
    begin = "" if question.kind == "volume" else f"at {wording.plural(round(sight.n), 'record')} in a bucket "
    seen = " or ".join(f"a {word} {_size(level, report)}" for word, level in known.items())
    unseen = " or ".join(word for word in asked if word not in known)
    texts = [
        f"{begin}{seen} is found {within} on average" if seen else "",
        f"no {unseen} is sure to be found {within}" if unseen else "",
    ]
    text = "; ".join(filter(None, texts))
    return f"{text[0].upper()}{text[1:]}."


def _size(level: float, report: Report) -> str:
    if report.question.kind == "distribution":
        shift = wording.number(level * (report.learnt.sd or 0.0), 2)
        return f"of the mean by {shift} ({wording.number(level, 2)} standard deviations)"
    return f"to {wording.share(level) if report.question.kind == 'rate' else wording.number(level)}"


def finding_told(found: Finding, question: Question) -> str:
    show = wording.share if question.kind == "rate" else wording.number
    how = "one bucket alone" if found.is_single else "piled up over several buckets"
    if not found.is_single and found.at - found.onset_at <= question.bucket_seconds:
        how = "in its first bucket"
    counted = {"distribution": "value", "rate": "record", "volume": "event"}[question.kind]
    again = ""
    if found.again_count:
        times = wording.plural(found.again_count, "time")
        again = f" Raised again {times} until {question.clock(found.last_at)}."
    return (
        f"Alarm at {question.clock(found.at)}: {_SAID[question.kind][found.label]}, since about"
        f" {question.clock(found.onset_at)}; {found.measure} {show(found.before)} → {show(found.after)}"
        f" over {wording.plural(found.n, counted)}; {how}.{again}"
    )


def _promise(report: Report) -> str:
    question, tolerance = report.question, report.question.tolerance
    nothing = {
        "distribution": f"moves by more than {tolerance.shift:g} standard deviations or spreads by more than a factor"
        f" of {tolerance.stretch:g}",
        "rate": f"changes by more than {wording.share(tolerance.ratio, 2)} of itself",
        "volume": f"changes by more than {wording.share(tolerance.ratio, 2)} of itself",
    }[question.kind]
    expected = question.budget_per_second * (report.end_at - report.begin_at)
    alarms = f"{question.budget:g} false alarm{'' if question.budget == 1 else 's'}"
    return (
        f"The promise: at most {alarms} in 30 days on average, {wording.number(expected, 2)} in the {_watched(report)} watched,"
        f" as long as nothing {nothing}"
        " and the reference is a fair picture of what is usual."
    )


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
        },
        "reference": asdict(report.learnt),
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
    }
    spans = [
        drawing.Span(one.onset_at, one.at, one.last_at, finding_told(one, question))
        for one in report.findings
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
