"""bin/manage detect: what a file has to look like, what is found in it, and that nothing else comes out of a wrong one."""

import io
import json
import random
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import drawing
from monitoring.monitors.reference import Tolerance
from monitoring.offline import kept, words
from monitoring.offline.question import Kind, Question, Unusable
from monitoring.offline.report import detect
from monitoring.offline.rows import read
from tests.project.tree import ROOT
from triageops.wording import NARROW_SPACE

START = 1_767_225_600  # 2026-01-01 00:00 UTC
LENGTH = 300
RATE = Question("rate", value_is="count")
GUARD = Question("slo_guard", level=0.75, margin=0.02, bounds=(0, 1), worse_is="lower")
GUARD_OF_SHARES = Question("slo_guard", level=0.2, worse_is="higher", value_is="count")
BURN = Question("burn_rate", objective=0.99, worse_is="higher")
NEVER = Question("never")


def rates(count: int, share: Callable[[int], float], *, size: int = 50) -> list[str]:
    rng = np.random.default_rng(1)
    return [f"{START + LENGTH * i},{rng.binomial(size, share(i))},{size}" for i in range(count)]


def records(count: int, shift: Callable[[int], float] = lambda _: 0.0, *, size: int = 10) -> list[str]:
    rng = np.random.default_rng(2)
    return [
        f"{START + LENGTH * i + j},{value:.3f}"
        for i in range(count)
        for j, value in enumerate(np.clip(rng.beta(8, 2, size) + shift(i), 0, 1))
    ]


def means(
    count: int, shift: Callable[[int], float] = lambda _: 0.0, *, rows: int = 1, size: int = 50
) -> list[str]:
    rng = np.random.default_rng(4)
    return [
        f"{START + LENGTH * i + j},{np.clip(rng.beta(8, 2, size) + shift(i), 0, 1).mean():.5f},{size}"
        for i in range(count)
        for j in range(rows)
    ]


def events(means: Iterable[float]) -> list[str]:
    rng = np.random.default_rng(3)
    return [
        str(START + LENGTH * i + int(second))
        for i, mean in enumerate(means)
        for second in rng.integers(0, LENGTH, rng.poisson(mean))
    ]


def refusal(lines: Sequence[str], question: Question = RATE) -> str:
    with pytest.raises(Unusable) as caught:
        detect(lines, question)
    return str(caught.value)


def test_rate_that_rises_is_found_with_onset_and_size() -> None:
    report = detect(rates(800, lambda i: 0.05 if i < 600 else 0.2), RATE)
    (found,) = report.findings
    assert abs(found.onset_at - (START + 600 * LENGTH)) <= 2 * LENGTH
    assert found.onset_at < found.at <= START + 606 * LENGTH
    assert (found.label, found.measure) == ("up", "share")
    assert found.before == pytest.approx(0.05, abs=0.01)
    assert found.after == pytest.approx(0.2, abs=0.01)
    # It goes on, so the engine raises it again; a person reads one change.
    assert found.again_count + 1 == report.alarm_count > 5
    assert found.last_at > START + 780 * LENGTH
    assert report.learnt is not None
    sight = report.learnt.sight
    assert sight.up is not None
    assert 0.05 < sight.up < 0.1


def test_distribution_that_falls_for_a_while_is_told_in_words() -> None:
    question = Question("distribution", zone="Europe/Berlin")
    report = detect(records(800, lambda i: -0.12 if 500 <= i < 540 else 0.0), question)
    (found,) = report.findings
    assert found.label in {"down", "bottom tail"}
    assert found.last_at <= START + 545 * LENGTH
    assert report.table.samples[0].histogram.keys() == {"uniform:0.0:1.0"}
    text = "\n".join(words.told(report)).replace(NARROW_SPACE, " ")
    assert "Alarm at 2026-01-02 1" in text
    assert "+01:00: " in text
    assert "standard deviations) is found within 1 d on average" in text
    assert "at most 1 false alarm in 30 days on average, 0.046 in the 1 d 9 h watched" in text


def test_what_stays_the_same_has_no_alarm() -> None:
    for lines, question in (
        (rates(800, lambda _: 0.05), RATE),
        (records(500), Question("distribution")),
        (events([5.0] * 800), Question("volume")),
    ):
        report = detect(lines, question)
        assert report.findings == ()
        assert re.search(r"No alarm in the \d.* after the reference\.", "\n".join(words.told(report)))


def test_volume_that_stops_is_found_and_ends_of_the_file_are_no_outage() -> None:
    report = detect(events([10.0] * 500 + [0.0] * 5 + [10.0] * 100), Question("volume"))
    (found,) = report.findings
    assert (found.label, found.after) == ("down", 0.0)
    assert found.onset_at == START + 500 * LENGTH
    assert (report.table.filled_count, report.table.cut_count) == (5, 2)
    assert report.learnt is not None
    assert report.learnt.usual == pytest.approx(10, abs=0.5)


def test_volume_as_counts_keeps_whole_ends_only() -> None:
    per_minute = [f"{START + 60 * i},3" for i in range(5 * 60 + 2)]
    table = read(per_minute, Question("volume"))
    assert [one.n for one in table.samples] == [15] * 60
    assert table.cut_count == 1
    assert "most buckets have no row" in refusal(
        [f"{START + 3600 * i},3" for i in range(100)], Question("volume")
    )


@pytest.mark.parametrize(
    ("write", "times"),
    [
        (lambda at: at.isoformat(), "ISO 8601, each with its zone"),
        (lambda at: at.strftime("%Y-%m-%d %H:%M:%SZ"), "ISO 8601, each with its zone"),
        (
            lambda at: at.astimezone(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None).isoformat(),
            "ISO 8601 without a zone, taken as Asia/Tokyo",
        ),
        (lambda at: str(at.timestamp()), "unix seconds"),
        (lambda at: str(int(at.timestamp() * 1000)), "unix milliseconds"),
    ],
)
def test_times_are_read_and_said_as_written(write: Callable[[datetime], str], times: str) -> None:
    moments = [datetime.fromtimestamp(START, tz=UTC) + timedelta(minutes=i) for i in range(10)]
    table = read([f"{write(at)},1" for at in moments], Question("rate", zone="Asia/Tokyo"))
    assert table.times == times
    assert [(one.at, one.n) for one in table.samples] == [(START, 5), (START + LENGTH, 5)]


def test_header_order_marks_blank_lines_and_line_ends_do_not_matter() -> None:
    plain = read(["1767225600,3,10", "1767225900,4,10"], RATE)
    for text in (
        "\ufeffn,timestamp,value,note\r\n10,1767225600,3,x\r\n\r\n10,1767225900,4,\r\n",
        "\n\n N ; At ; Value \n10;1767225900;4\n ; ;\n10;1767225600;3",
        "time\tvalue\tn\n1767225900\t4\t10\n1767225600\t1\t4\n1767225600\t2\t6\n",
    ):
        assert read(io.StringIO(text, newline=""), RATE).samples == plain.samples


def test_order_of_rows_does_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [*records(60), f"{START},", f"{START},nan"]
    question = Question("distribution", reference_share=0.7)
    first = detect(lines, question)
    monkeypatch.setattr(kept, "_BATCH", 7)
    random.Random(1).shuffle(lines)
    again = detect(lines, question)
    assert again == first
    assert first.table.missing_count == 2


def test_bins_fit_the_values() -> None:
    def bins(values: Sequence[str], **given: Any) -> set[str]:
        lines = [f"{START},{value}" for value in values]
        return {
            name for one in read(lines, Question("distribution", **given)).samples for name in one.histogram
        }

    assert bins(["0", "1", "0.5"]) == {"uniform:0.0:1.0"}
    assert bins(["0", "1", "1.5"]) == {"log:0.01"}
    assert bins(["0", "1", "1.5"], bounds=(0, 2)) == {"uniform:0.0:2.0"}


def test_share_of_n_is_whole_to_the_digits_it_has() -> None:
    question = Question("rate", value_is="share")
    (one,) = read([f"{START},0.333,3", f"{START},0.0333,30000", f"{START},1e-1,10"], question).samples
    assert (one.successes, one.n) == (1 + 999 + 1, 30_013)
    assert "0.5 among 3 is no whole number" in refusal([f"{START},0.5,3"], question)


def test_rows_that_are_means_count_once_for_each_bucket() -> None:
    lines = [
        f"{START},0.2,10",
        f"{START + 1},0.8,30",
        f"{START + 2},9,0",
        f"{START + 3},,5",
        f"{START + 300},0.5,2",
    ]
    table = read(lines, Question("distribution"))
    assert [(one.n, one.moments.mean) for one in table.samples] == [(1, pytest.approx(0.65)), (1, 0.5)]
    assert [sum(one.histogram["uniform:0.0:1.0"].values()) for one in table.samples] == [1, 1]
    assert (table.are_means, table.empty_count, table.missing_count) == (True, 1, 1)
    assert read([*lines, f"{START},90,1"], Question("distribution")).samples[0].histogram.keys() == {
        "log:0.01"
    }
    random.Random(1).shuffle(lines)
    assert read(lines, Question("distribution")).samples == table.samples


def test_means_of_records_that_fall_are_found_and_said_to_be_means() -> None:
    report = detect(means(800, lambda i: -0.08 if i >= 600 else 0.0, rows=2), Question("distribution"))
    found = report.findings[0]
    assert START + 595 * LENGTH <= found.onset_at < found.at <= START + 640 * LENGTH
    assert found.label in {"down", "bottom tail"}
    assert report.learnt is not None
    assert (report.learnt.n, report.learnt.bucket_count) == (400, 400)
    read_told, *_, promise = words.told(report)
    assert "values are means of several records: each bucket counts once" in read_told
    assert "standard deviations of the buckets’ means" in promise
    assert words.as_json(report)["read"]["values_are_means"]
    # As many records as buckets: what many rows say of one bucket is no more evidence than one.
    assert not detect(means(800), Question("distribution")).findings


def test_mean_below_a_fixed_level_is_found_from_the_first_bucket_on() -> None:
    report = detect(records(300, lambda i: -0.2 if 20 <= i < 100 else 0.0), GUARD)
    (found,) = report.findings
    assert report.learnt is None
    assert (report.begin_at, len(report.points)) == (START, 300)
    assert START + 15 * LENGTH <= found.onset_at < found.at <= START + 45 * LENGTH
    assert (found.label, found.measure, found.before) == ("lower", "mean", 0.75)
    assert found.after == pytest.approx(0.6, abs=0.03)
    text = "\n".join(words.told(report))
    assert "Nothing is learnt: the mean is to be 0.75, less is worse, and 0.02 of it does not matter." in text
    assert "never below 0.73, whatever came before." in text
    assert "No alarm in the 1" in "\n".join(words.told(detect(records(300), GUARD)))


def test_mean_against_a_fixed_level_takes_means_and_shares() -> None:
    of_means = detect(means(900, lambda i: -0.3 if i >= 200 else 0.0), GUARD)
    assert of_means.findings[0].onset_at >= START + 190 * LENGTH
    assert "over 700 buckets; piled up" in words.finding_told(of_means.findings[0], of_means).replace(
        NARROW_SPACE, " "
    )
    assert of_means.table.are_means
    of_shares = detect(rates(300, lambda i: 0.1 if i < 200 else 0.4), GUARD_OF_SHARES)
    (found,) = of_shares.findings
    assert abs(found.onset_at - (START + 200 * LENGTH)) <= 2 * LENGTH
    assert (found.label, of_shares.table.are_means) == ("higher", False)


def test_margin_of_a_fixed_level_is_not_minded() -> None:
    lines = records(2000, lambda _: -0.06)
    minded, ignored = (
        Question("slo_guard", level=0.78, margin=margin, bounds=(0, 1), worse_is="lower")
        for margin in (0.0, 0.06)
    )
    assert detect(lines, minded).findings
    assert not detect(lines, ignored).findings


def test_error_budget_that_burns_is_found_and_nothing_is_promised() -> None:
    lines = rates(300, lambda i: 0.002 if i < 200 else 0.3)
    report = detect(lines, replace(BURN, value_is="count"))
    (found,) = report.findings
    assert abs(found.onset_at - (START + 200 * LENGTH)) <= 2 * LENGTH
    assert found.label == "page (14.4x)"
    assert found.measure == "share of bad records"
    assert found.before == pytest.approx(0.01)
    assert 0.2 < found.after < 0.35
    text = "\n".join(words.told(report)).replace(NARROW_SPACE, " ")
    assert "99 % of the records have to be good, and 1 is bad." in text
    assert "the error budget is used up too fast, page (14.4x), since about" in text
    assert "No promise about false alarms" in text
    good = [f"{START + LENGTH * i},{50 - int(row.split(',')[1])},50" for i, row in enumerate(lines)]
    (same,) = detect(good, replace(BURN, value_is="count", worse_is="lower")).findings
    assert (same.at, same.onset_at) == (found.at, found.onset_at)


def test_event_that_must_not_happen_is_found_once_for_each_time() -> None:
    lines = [f"{START + 60 * i},{int(i in (100, 101, 400))}" for i in range(600)]
    report = detect(lines, NEVER)
    assert [(one.onset_at, one.after) for one in report.findings] == [(START + 6000, 2), (START + 24_000, 1)]
    text = "\n".join(words.told(report)).replace(NARROW_SPACE, " ")
    assert "what must not happen has happened, since about 2026-01-01 01:40+00:00; 2 of 5 records." in text
    by_count = detect(
        [f"{START + LENGTH * i},{int(i == 7)},40" for i in range(20)], replace(NEVER, value_is="count")
    )
    assert [one.onset_at for one in by_count.findings] == [START + 7 * LENGTH]


@pytest.mark.parametrize(
    ("lines", "question", "unit"),
    [
        (means(400, lambda i: -0.3 if i >= 300 else 0.0), Question("distribution"), "mean of each bucket"),
        (records(400, lambda i: -0.3 if i >= 300 else 0.0), GUARD, "usual is the level"),
        (rates(400, lambda i: 0.5 if i >= 300 else 0.0), replace(BURN, value_is="count"), "share of bad records"),
        ([f"{START + LENGTH * i},{int(i == 300)}" for i in range(400)], NEVER, "that must not be"),
    ],
)  # fmt: skip
def test_picture_of_every_kind_marks_its_alarm(lines: list[str], question: Question, unit: str) -> None:
    report = detect(lines, question)
    text = words.picture(report, "any")
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    spans = [one for one in root.iter() if one.get("class") == "span"]
    assert len(spans) == len(report.findings) == 1
    assert float(spans[0].attrib["x"]) == pytest.approx(76 + 0.75 * (960 - 76 - 16), abs=12)
    assert unit in text
    assert not any(word in one for one in re.findall(r'points="([^"]*)"', text) for word in ("nan", "inf"))
    json.dumps(words.as_json(report), allow_nan=False)


def test_reference_ends_where_it_is_asked_to() -> None:
    lines = rates(200, lambda _: 0.05)
    until = START + 150 * LENGTH + 17
    assert detect(lines, Question("rate", value_is="count", reference_until=until)).begin_at == until - 17
    assert (
        detect(lines, Question("rate", value_is="count", reference_share=0.25)).begin_at
        == START + 50 * LENGTH
    )
    assert "has to end between 2026-01-01 00:00+00:00 and" in refusal(
        lines, Question("rate", value_is="count", reference_until=START)
    )


def test_onset_after_a_gap_is_where_rows_begin_again() -> None:
    lines = [
        row for i, row in enumerate(rates(400, lambda i: 0.05 if i < 300 else 0.4)) if not 250 <= i < 300
    ]
    (found,) = detect(lines, RATE).findings
    assert found.onset_at == START + 300 * LENGTH


T = str(START)


@pytest.mark.parametrize(
    ("lines", "question", "problem"),
    [
        ([], RATE, "the file is empty"),
        (["\n", " \n"], RATE, "the file is empty"),
        (["timestamp,value,n"], RATE, "a header and no rows"),
        (["timestamp,n"], RATE, "line 1: there is no column value"),
        (["timestamp,at,value"], RATE, "line 1: the header needs"),
        (["when,value", f"{T},1"], Question("rate"), "line 1: the header needs"),
        (["foo,bar", f"{T},1"], Question("rate"), "line 1: 'foo' is no time"),
        ([f"{T},1,2,3"], RATE, "line 1: 4 columns without a header"),
        ([f"{T},1,2", "", f"{T},1"], RATE, "line 3: 2 cells instead of 3"),
        ([f"{T},1,2", "2026-01-01,1,2"], RATE, "line 2: '2026-01-01' is no unix time in seconds"),
        (["20260101,1,2"], RATE, "line 1: '20260101' is no time between 1973 and 2099"),
        ([f"{T},1,2", f"{T}000,1,2"], RATE, f"line 2: '{T}000' is no time between"),
        (["2026-01-01T00:00Z,1,2", "2026-01-01,1,2"], RATE, "line 2: '2026-01-01' has no zone, unlike"),
        ([f"{T},1,2", f"{T},3,2"], RATE, "line 2: 3 successes among 2"),
        ([f"{T},1,2.5"], RATE, "line 1: n '2.5' is no whole number"),
        ([f"{T},1,-2"], RATE, "line 1: n '-2' is no whole number"),
        ([f"{T},1,2"], Question("rate"), "line 1: say --value-is share or count"),
        ([f"{T},1"], RATE, "line 1: --value-is needs a column n"),
        ([f"{T},0.5"], Question("rate"), "line 1: '0.5' is neither 0 nor 1"),
        ([f"{T},1.5,2"], Question("rate", value_is="share"), "line 1: '1.5' is no share"),
        ([f"{T},0.5,x"], Question("distribution"), "line 1: 'x' is no number"),
        ([f"{T},0.5,"], Question("distribution"), "line 1: n '' is no whole number"),
        ([f"{T},2,9"], Question("distribution", bounds=(0, 1)), "line 1: 2 is outside the bounds 0 and 1"),
        ([f"{T},0.5,7e14", f"{T},0.5,7e14"], Question("distribution"), "line 2: more than 1e+15 in one"),
        ([f"{START + 300 * i},0.5,99" for i in range(120)], Question("distribution"), "each bucket counts once"),
        ([f"{T},0.5"], GUARD_OF_SHARES, "line 1: --value-is needs a column n"),
        ([f"{T},3"], GUARD, "line 1: 3 is outside the bounds 0 and 1"),
        ([f"{T},0.5,0", f"{T},,3"], GUARD, "no row has a value"),
        ([f"{T},1,2"], BURN, "line 1: say --value-is share or count"),
        ([f"{T},0.5"], BURN, "line 1: '0.5' is neither 0 nor 1"),
        ([f"{T},2"], NEVER, "line 1: '2' is neither 0 nor 1"),
        ([f"{T},inf"], Question("distribution"), "line 1: 'inf' is too large"),
        ([f"{T},1e200"], Question("distribution"), "line 1: '1e200' is too large"),
        ([f"{T},1_0"], Question("distribution"), "line 1: '1_0' is no number"),
        ([f"{T},a\0b"], Question("distribution"), "line 1: 'a\\x00b' is no number"),
        ([f"{T},3"], Question("distribution", bounds=(0, 1)), "line 1: 3 is outside the bounds 0 and 1"),
        ([f"{T},"], Question("volume"), "line 1: value '' is no whole number"),
        ([f"{T},1,2"], Question("volume"), "line 1: a volume has no n"),
        ([f"{T},7e14", f"{T},7e14"], Question("volume"), "line 2: more than 1e+15 in one bucket"),
        ([T, "1970000000", T], Question("volume", bucket_seconds=60), "is a time wrong"),
        ([f"{T},1,2"], RATE, "The reference has 0 records in 0 buckets"),
        ([f"{START + 300 * i},1,2" for i in range(10)], RATE, "The reference has 10 records in 5 buckets"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_with_its_line(lines: list[str], question: Question, problem: str) -> None:
    assert problem in refusal(lines, question)


CELL = st.sampled_from(
    [
        *(T, f"{T}000", "2026-01-01", "2026-01-01T10:00+02:00", "0001-01-01", "9999-12-31T23:59:59-12:00"),
        *("0", "1", "0.25", "-1", "nan", "inf", "1e308", "5e-324", "1e400", "\u0663", ""),
        *("value", "n", "time", '"', "\0", "\ufeff", "a,b"),
    ]
)
QUESTIONS = [
    RATE,
    Question("rate"),
    Question("rate", value_is="share"),
    Question("volume", zone="Asia/Tokyo"),
]
QUESTIONS += [Question("distribution"), Question("volume", value_is="event"), GUARD, BURN, NEVER]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELL, max_size=4), max_size=6), st.sampled_from(QUESTIONS))
def test_any_text_is_read_or_refused(rows: list[list[str]], question: Question) -> None:
    with suppress(Unusable):
        assert read([",".join(row) + "\n" for row in rows], question).row_count > 0


@pytest.mark.parametrize(
    ("kind", "wrong", "problem"),
    [
        ("rate", {"bucket_seconds": 7 * 60}, "does not divide a day"),
        ("rate", {"bucket_seconds": 0}, "does not divide a day"),
        ("rate", {"budget": 0.0}, "a budget of 0"),
        ("rate", {"budget": float("nan")}, "a budget of nan"),
        ("rate", {"reference_share": 1.0}, "a reference of 1"),
        ("rate", {"tolerance": Tolerance(ratio=-1.0)}, "a ratio of -1"),
        ("rate", {"value_is": "event"}, "the value of a rate is no event"),
        ("rate", {"bounds": (0.0, 1.0)}, "--bounds is for distribution and slo_guard"),
        ("rate", {"worse_is": "lower"}, "--worse-is is for slo_guard and burn_rate"),
        ("volume", {"level": 1.0}, "--level is for slo_guard"),
        ("distribution", {"margin": 0.0}, "--margin is for slo_guard"),
        ("never", {"objective": 0.9}, "--objective is for burn_rate"),
        ("never", {"sides": "up"}, "never learns nothing"),
        ("slo_guard", {"level": 0.5, "worse_is": "lower"}, "slo_guard needs --bounds LOW,HIGH"),
        ("slo_guard", {"level": 0.5, "bounds": (0, 1)}, "slo_guard needs --worse-is"),
        ("slo_guard", {"worse_is": "lower", "bounds": (0, 1)}, "slo_guard needs --level"),
        ("slo_guard", {"level": 1, "worse_is": "lower", "bounds": (0, 2), "value_is": "share"}, "are 0,1"),
        ("slo_guard", {"level": 3.0, "worse_is": "lower", "bounds": (0, 1)}, "--level: The level, margin inc"),
        ("slo_guard", {"level": 0.5, "margin": -1.0, "worse_is": "lower", "bounds": (0, 1)}, "--margin: This"),
        ("slo_guard", {"level": 0.5, "worse_is": "lower", "bounds": (1, 0)}, "no room for 200 bins"),
        ("burn_rate", {"objective": 0.9}, "burn_rate needs --worse-is"),
        ("burn_rate", {"worse_is": "lower"}, "burn_rate needs --objective"),
        ("burn_rate", {"worse_is": "lower", "objective": 1.0}, "--objective: This must lie between"),
        ("burn_rate", {"worse_is": "lower", "objective": 0.9, "bucket_seconds": 7200}, "does not divide an hour"),
    ],
)  # fmt: skip
def test_wrong_question_is_refused(kind: Kind, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(Unusable, match=problem):
        detect([f"{T},1"], Question(kind, **wrong))


def test_picture_marks_the_alarm_and_escapes_the_file_name() -> None:
    report = detect(rates(400, lambda i: 0.05 if i < 300 else 0.2), RATE)
    text = words.picture(report, "<a> & \ud800\x01.csv")
    root = ElementTree.fromstring(text.encode())  # noqa: S314 - our own text
    spans = [one for one in root.iter() if one.get("class") == "span"]
    assert len(spans) == 1
    assert float(spans[0].attrib["x"]) == pytest.approx(76 + 0.75 * (960 - 76 - 16), abs=6)
    assert next(root.iter("{http://www.w3.org/2000/svg}title")).text == "<a> & \ufffd\ufffd.csv"
    assert "prefers-color-scheme: dark" in text
    assert "the share is higher" in text
    numbers = re.findall(r'points="([^"]*)"', text)
    assert not any(word in one for one in numbers for word in ("nan", "inf"))


def test_picture_of_constants_and_gaps_is_drawn() -> None:
    points = [drawing.Point(START + 300 * i, None if i % 3 else 1.0, 1.0, -1e9) for i in range(9)]
    text = drawing.drawn(
        points,
        [],
        title="constant",
        unit="mean",
        zone=ZoneInfo("UTC"),
        watched_from=START,
        end_at=START + 2700,
    )
    assert text.count("<circle") == 3
    assert "No alarm." in text


@pytest.mark.parametrize(
    ("value", "question"),
    [
        ("0", Question("rate")),
        ("1", Question("rate")),
        ("0.5", Question("distribution")),
        ("-1e150", Question("distribution")),
        ("5e-324", Question("distribution")),
        ("0", Question("volume")),
        ("200000000000000", Question("volume")),
        ("0.5,9", Question("distribution", bucket_seconds=60)),
        ("0.75", GUARD),
        ("0.75,9", GUARD),
        ("0", BURN),
        ("0", NEVER),
    ],
)
def test_what_never_varies_is_told_and_drawn(value: str, question: Question) -> None:
    report = detect([f"{START + 60 * i},{value}" for i in range(600)], question)
    assert report.findings == ()
    assert "No alarm" in words.told(report)[-2]
    json.dumps(words.as_json(report), allow_nan=False)
    ElementTree.fromstring(words.picture(report, "constant"))  # noqa: S314 - our own text


def called(*arguments: str) -> str:
    out = io.StringIO()
    call_command("detect", *arguments, stdout=out)
    return out.getvalue()


def test_command_prints_text_and_json_and_draws(tmp_path: Path) -> None:
    source, target = tmp_path / "rate.csv", tmp_path / "rate.svg"
    source.write_text(
        "\ufeff" + "\r\n".join(["time,value,n", *rates(400, lambda i: 0.05 if i < 300 else 0.2)])
    )
    given = [str(source), "--kind", "rate", "--value-is", "count", "--sides", "up"]
    assert "\nAlarm at 2026-01-02 01:" in called(*given, "--plot", str(target))
    assert target.read_text().startswith("<svg ")
    found = json.loads(called(*given, "--json", "--budget", "0.5"))
    assert found["alarms"][0]["label"] == "up"
    assert found["question"]["budget"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--zone", "Mars/Base"], "there is no time zone 'Mars/Base'"),
        (["--reference-until", "soon"], "no ISO 8601 time"),
        (["--bucket", "7"], "does not divide a day"),
        ([], "line 2: 'x' is no number"),
        (["--plot", "/nowhere/at/all.svg"], "line 2"),
        (["--level", "0.5"], "--level is for slo_guard"),
    ],
)
def test_command_with_bad_input_says_so_and_exits_with_2(
    tmp_path: Path, arguments: list[str], problem: str
) -> None:
    source = tmp_path / "wrong.csv"
    source.write_text("at,value\n1767225600,x\n")
    with pytest.raises(CommandError, match=problem) as caught:
        called(str(source), "--kind", "rate", *arguments)
    assert caught.value.returncode == 2


def shown_commands() -> list[str]:
    page = (ROOT / "docs" / "detect.md").read_text()
    return re.findall(r"^bin/manage (detect .*)$", page, re.MULTILINE)


def test_commands_of_the_page_run_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {
        "errors.csv": ["timestamp,value,n", *rates(400, lambda i: 0.05 if i < 300 else 0.2)],
        "scores.csv": ["timestamp,value", *records(400)],
        "means.csv": ["timestamp,value,n", *means(400)],
        "leaks.csv": ["timestamp,value", *(f"{START + LENGTH * i},{int(i == 7)}" for i in range(20))],
        "requests.csv": ["timestamp", *events([5.0] * 400)],
    }
    for name, lines in files.items():
        Path(name).write_text("\n".join(lines))
    commands = shown_commands()
    assert len(commands) >= 7
    for command in commands:
        arguments, _, source = command.removeprefix("detect ").partition(" < ")
        if source:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(source).read_bytes())))
        is_rule = "burn_rate" in arguments or "never" in arguments
        said = "No promise about false alarms" if is_rule else "The promise: at most"
        assert said in called(*shlex.split(arguments))
    for picture in ("errors.svg", "scores.svg"):
        assert Path(picture).read_text().startswith("<svg ")
