import json
from datetime import UTC, datetime, timedelta
from typing import Any

from triageops import charts
from triageops.charts import Effect, Level, Mark, Point, Series, Span

START = datetime(2026, 3, 1, tzinfo=UTC)


def series(name: str, values: list[float | None]) -> Series:
    points = [
        Point(START + timedelta(hours=at), value, value and value - 0.1, value and value + 0.1, n=10)
        for at, value in enumerate(values)
    ]
    return Series(name, points)


def drawn(chart: charts.Chart, kind: str) -> list[dict[str, Any]]:
    return [one for one in chart.options["series"] if one["id"].startswith(kind)]


def test_hues_same_keys_in_any_order_give_same_colours() -> None:
    keys = ["gpt-4", "claude-2", "llama2-70b"]
    assert charts.hues(keys, "gpt-4") == charts.hues(reversed(keys), "gpt-4")
    assert charts.hues(keys, "gpt-4")["gpt-4"] == "var(--to-control)"


def test_hues_as_many_keys_as_hues_are_all_different() -> None:
    found = charts.hues([f"variant-{number}" for number in range(4)])
    assert len(set(found.values())) == 4


def test_hues_more_keys_than_hues_still_get_one_each() -> None:
    assert len(charts.hues([f"variant-{number}" for number in range(11)])) == 11


def test_lines_every_series_gets_line_and_band_in_one_colour() -> None:
    chart = charts.lines(key="q", title="t", series=[series("a", [0.5, 0.6]), series("b", [0.4, 0.3])])
    for name in ("a", "b"):
        line, band = (
            next(one for one in drawn(chart, kind) if one["name"] == name) for kind in ("line", "band")
        )
        assert line["itemStyle"]["color"] == band["itemStyle"]["color"]
        assert band["data"][0][0] == line["data"][0][0] == START.timestamp() * 1000


def test_lines_a_missing_value_is_a_gap_and_has_no_band() -> None:
    chart = charts.lines(key="q", title="t", series=[series("a", [0.5, None, 0.7])])
    assert [point[1] for point in drawn(chart, "line")[0]["data"]] == [0.5, None, 0.7]
    # The script ends the band where the interval is missing.
    assert drawn(chart, "band")[0]["data"][1][1:] == [None, None]


def test_lines_nothing_measured_draws_nothing_and_says_so() -> None:
    chart = charts.lines(key="q", title="t", series=[series("a", [None])], empty="Will appear here.")
    assert chart.empty == "Will appear here."
    assert not chart.options


def test_lines_marks_spans_and_levels_are_drawn_in_their_tone() -> None:
    chart = charts.lines(
        key="q",
        title="t",
        series=[series("a", [0.5, 0.6])],
        marks=[Mark(START, "onset", "harm")],
        spans=[Span(START, START + timedelta(hours=1), "incident", "harm")],
        levels=[Level(0.75, "alarm below")],
    )
    notes = drawn(chart, "annotations")[0]
    assert [line.get("name") for line in notes["markLine"]["data"]] == ["onset", "alarm below"]
    assert notes["markLine"]["data"][0]["lineStyle"]["color"] == "var(--to-harm)"
    assert notes["markArea"]["data"][0][1]["xAxis"] - notes["markArea"]["data"][0][0]["xAxis"] == 3_600_000


def test_lines_table_has_all_times_newest_first_with_intervals() -> None:
    chart = charts.lines(key="q", title="t", series=[series("a", [0.5, 0.6]), series("b", [0.4])])
    assert chart.columns == ("Time", "a", "b")
    assert chart.rows[0] == (START + timedelta(hours=1), "0.600 (0.500 to 0.700), n = 10", "–")
    assert "a: from 0.500" in chart.description


def test_lines_payload_is_json_without_nan() -> None:
    chart = charts.lines(key="q", title="t", series=[series("a", [float("nan"), 0.5])])
    assert json.loads(json.dumps(chart.payload, allow_nan=False))["style"] == "number"


def test_intervals_without_data_says_not_enough() -> None:
    chart = charts.intervals(key="e", title="t", rows=[Effect("a", None, None, None)])
    assert chart.empty == "Not enough data yet."


def test_intervals_says_which_side_is_better() -> None:
    rows = [Effect("claude-2", -0.063, -0.091, -0.036)]
    lower = charts.intervals(key="e", title="t", rows=rows, is_higher_better=False)
    assert lower.options["xAxis"]["name"].startswith("← better")
    assert lower.rows == (("claude-2", "-0.0630", "-0.0910 to -0.0360"),)


def test_bars_have_one_series_per_group_and_a_table() -> None:
    chart = charts.bars(key="s", title="t", labels=["a", "b"], groups={"expected": [5, 5], "seen": [4, 6]})
    assert [one["name"] for one in drawn(chart, "bar")] == ["expected", "seen"]
    assert chart.rows == (("a", "5", "4"), ("b", "5", "6"))


def test_sparkline_spans_the_height_and_skips_gaps() -> None:
    points = [tuple(map(float, pair.split(","))) for pair in charts.sparkline([1, None, 3]).split()]
    assert points == [(0.0, 22.0), (96.0, 2.0)]
    assert charts.sparkline([1]) == ""


def test_lines_the_key_decides_the_colour_not_the_name() -> None:
    plain = charts.lines(key="q", title="t", series=[series("llama2-70b", [0.5, 0.6])])
    said = Series("variant llama2-70b", series("", [0.5, 0.6]).points, key="llama2-70b")
    longer = charts.lines(key="q", title="t", series=[said])
    assert drawn(plain, "line")[0]["itemStyle"] == drawn(longer, "line")[0]["itemStyle"]
