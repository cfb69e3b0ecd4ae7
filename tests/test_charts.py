import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops import charts
from triageops.charts import Effect, Level, Mark, Panel, Point, Series, Span
from triageops.charts.chart import HUES
from triageops.charts.forest import reach

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
    found = charts.hues([f"variant-{number}" for number in range(9)])
    assert len(set(found.values())) == 9


@pytest.mark.parametrize("theme", [":root", ".dark"])
def test_every_hue_has_a_colour_of_its_own_in_the_theme(theme: str) -> None:
    sheet = (Path(__file__).parents[1] / "triageops/static/triageops/triageops.css").read_text()
    rules = sheet.split(f"{theme} {{")[1].split("}")[0]
    colours = re.findall(r"--to-hue-(\d+): (#[0-9a-f]{6});", rules)
    assert [int(number) for number, _ in colours] == list(range(HUES))
    assert len({colour for _, colour in colours}) == HUES


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
    assert lower.options["panels"][0]["isHigherBetter"] is False
    assert lower.rows == (("claude-2", "-0.0630", "-0.0910 to -0.0360"),)
    assert lower.description == "claude-2: -0.0630 (-0.0910 to -0.0360)"


def test_intervals_of_shares_are_written_in_points() -> None:
    rows = [Effect("en", -0.063, -0.091, -0.036), Effect("es", None, None, None)]
    chart = charts.intervals(key="e", title="t", rows=rows, style="points")
    assert [row["text"] for row in chart.options["panels"][0]["rows"]] == [
        "-6.30 (-9.10 to -3.60)",
        "not enough data yet",
    ]
    assert chart.rows == (("en", "-6.30", "-9.10 to -3.60"), ("es", "–", ""))


def test_forest_gives_each_panel_the_scale_of_its_own_effects() -> None:
    chart = charts.forest(
        key="f",
        title="t",
        panels=[
            Panel("share", [Effect("b", 0.01, -0.02, 0.04)], "points", is_higher_better=True),
            Panel("latency", [Effect("b", 120.0, 80.0, 160.0)], "seconds", is_higher_better=False),
            Panel("cost", [Effect("b", -2e-6, -3e-6, -1e-6)], "money", is_higher_better=False),
        ],
    )
    assert [panel["reach"] for panel in chart.options["panels"]] == [0.05, 200.0, 4e-6]
    assert [panel["style"] for panel in chart.options["panels"]] == ["points", "seconds", "money"]
    json.dumps(chart.payload, allow_nan=False)


def test_forest_draws_the_margin_on_the_side_of_what_is_worse() -> None:
    rows = [Effect("b", 0.01, -0.02, 0.04)]
    higher, lower = (
        Panel("m", rows, is_higher_better=True, margin=0.1),
        Panel("m", rows, is_higher_better=False, margin=0.1),
    )
    assert (higher.threshold, lower.threshold) == (-0.1, 0.1)
    drawn_ = charts.forest(key="f", title="t", panels=[higher]).options["panels"][0]
    assert (drawn_["threshold"], drawn_["reach"]) == (-0.1, 0.2)


@pytest.mark.parametrize(
    "changes", [{"margin": 0.2}, {"margin": 0.0}, {"margin": 0.1, "is_higher_better": None}]
)
def test_forest_margin_out_of_reach_or_without_a_side_is_not_drawn(changes: dict[str, Any]) -> None:
    panel = Panel("m", [Effect("b", 0.01, -0.02, 0.04)], **{"is_higher_better": True, **changes})
    assert panel.threshold is None
    assert charts.forest(key="f", title="t", panels=[panel]).options["panels"][0]["reach"] == 0.05


@pytest.mark.parametrize("missing", [None, float("inf"), float("nan")])
def test_forest_row_without_an_interval_is_written_and_not_drawn(missing: float | None) -> None:
    rows = [Effect("a", 1.0, 0.5, missing, text="no interval yet"), Effect("b", 1.0, 0.5, 1.5)]
    (panel,) = charts.forest(key="f", title="t", panels=[Panel("m", rows)]).options["panels"]
    assert [row["ends"] for row in panel["rows"]] == [[], [1.0, 0.5, 1.5]]
    assert panel["rows"][0]["text"] == "no interval yet"


def test_forest_panel_without_intervals_has_no_scale_beside_one_that_has() -> None:
    panels = [Panel("m", [Effect("a", None, None, None)]), Panel("n", [Effect("a", 1.0, 0.5, 1.5)])]
    chart = charts.forest(key="f", title="t", panels=panels)
    assert [panel["reach"] for panel in chart.options["panels"]] == [None, 2.0]
    assert charts.forest(key="f", title="t", panels=panels[:1]).empty == "Not enough data yet."


def test_forest_a_variant_has_one_colour_in_all_panels() -> None:
    rows = [Effect("b", 1.0, 0.5, 1.5), Effect("c", 1.0, 0.5, 1.5)]
    chart = charts.forest(key="f", title="t", panels=[Panel("m", rows), Panel("n", rows[::-1])])
    first, second = (
        {row["label"]: row["colour"] for row in panel["rows"]} for panel in chart.options["panels"]
    )
    assert first == second == charts.hues(["b", "c"])


@given(st.lists(st.floats(-1e12, 1e12).filter(lambda end: end == 0 or abs(end) > 1e-12), max_size=6))
def test_reach_holds_all_ends_and_wastes_little(ends: list[float]) -> None:
    farthest = max(map(abs, ends), default=0.0)
    found = reach(ends)
    assert found == 1.0 if not farthest else farthest < found <= 2.05 * farthest


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
