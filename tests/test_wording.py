import math
from datetime import UTC, datetime

import pytest

from triageops import wording

NS = wording.NARROW_SPACE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0412, "0.0412"),
        (0.04126, "0.0413"),
        (0.9996, "1.00"),
        (99.96, "100"),
        (1204, f"1{NS}200"),
        (-0.0631, "-0.0631"),
        (0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (1e-9, "1.00e-09"),
    ],
)
def test_number_any_size_keeps_three_significant_digits(value: float | None, text: str) -> None:
    assert wording.number(value) == text


def test_count_large_numbers_get_separators_and_letters() -> None:
    assert wording.count(1204) == f"1{NS}204"
    assert wording.count(1_240_000) == f"1.24{NS}M"
    assert wording.count(2_500_000_000) == f"2.50{NS}G"


def test_share_is_shown_in_percent() -> None:
    assert wording.share(0.0412) == f"4.12{NS}%"
    assert wording.share(1.0) == f"100{NS}%"
    assert wording.interval(0.0758, 0.0925, "share") == f"7.58 to 9.25{NS}%"
    assert wording.interval(None, 0.1, "share") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.042, "42.0 ms"),
        (5.0, "5 s"),
        (5.25, "5.25 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (7320, "2 h 2 min"),
        (86_400, "1 d"),
        (93_600, "1 d 2 h"),
    ],
)
def test_seconds_every_size_has_its_unit(value: float, text: str) -> None:
    assert wording.seconds(value).replace(NS, " ") == text


def test_money_small_and_large_amounts_are_readable() -> None:
    assert wording.money(412.4) == "$412"
    assert wording.money(0.0213) == "$0.0213"
    assert wording.money(-3) == "-$3.00"
    assert wording.money(1234.5) == f"$1{NS}234"


def test_plural_one_and_many() -> None:
    assert wording.plural(1, "incident") == "1 incident"
    assert wording.plural(2, "incident") == "2 incidents"
    assert wording.plural(2, "name was", "names were") == "2 names were"


def test_moment_shows_utc_and_tells_machines_the_offset() -> None:
    html = wording.moment(datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    assert 'datetime="2026-03-01T12:05:00+00:00"' in html
    assert "2026-03-01 12:05 UTC" in html
    assert "never" in wording.moment(None)
