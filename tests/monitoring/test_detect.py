"""bin/manage detect: what a file has to look like, what is found in it, and that nothing else comes out of a wrong one."""

import io
import json
import random
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
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
from monitoring.offline.question import Question, Unusable
from monitoring.offline.report import detect
from monitoring.offline.rows import read
from tests.project.tree import ROOT
from triageops.wording import NARROW_SPACE

START = 1_767_225_600  # 2026-01-01 00:00 UTC
LENGTH = 300
RATE = Question("rate", value_is="count")


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
        ([f"{T},0.5,9"], Question("distribution"), "line 1: a distribution needs one row for each record"),
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
QUESTIONS += [Question("distribution"), Question("volume", value_is="event")]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELL, max_size=4), max_size=6), st.sampled_from(QUESTIONS))
def test_any_text_is_read_or_refused(rows: list[list[str]], question: Question) -> None:
    with suppress(Unusable):
        assert read([",".join(row) + "\n" for row in rows], question).row_count > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket_seconds": 7 * 60},
        {"bucket_seconds": 0},
        {"budget": 0.0},
        {"budget": float("nan")},
        {"reference_share": 1.0},
        {"tolerance": Tolerance(ratio=-1.0)},
        {"value_is": "event"},
        {"bounds": (0.0, 1.0)},
    ],
)
def test_wrong_question_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        Question("rate", **wrong)


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
        "requests.csv": ["timestamp", *events([5.0] * 400)],
    }
    for name, lines in files.items():
        Path(name).write_text("\n".join(lines))
    commands = shown_commands()
    assert len(commands) >= 3
    for command in commands:
        arguments, _, source = command.removeprefix("detect ").partition(" < ")
        if source:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(source).read_bytes())))
        assert "The promise: at most" in called(*shlex.split(arguments))
    assert Path("errors.svg").read_text().startswith("<svg ")
