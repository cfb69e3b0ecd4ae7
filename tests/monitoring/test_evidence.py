import pytest

from monitoring.evidence import Evidence
from tests.monitoring.halts import EVIDENCE


def read(**changes: object) -> Evidence:
    return Evidence.read(EVIDENCE | changes)


def without(*names: str) -> Evidence:
    return Evidence.read({name: value for name, value in EVIDENCE.items() if name not in names})


def test_effect_of_a_share_is_told_in_points() -> None:
    expected = "79.1 % against 83.2 %: -4.10 points (-6.00 to -2.20 points), n = 1 240 and 2 050"
    assert read().effect_text.replace("\N{NARROW NO-BREAK SPACE}", " ") == expected


def test_effect_of_a_plain_number_has_the_unit_of_the_metric() -> None:
    found = read(style="number", unit="tokens", effect=12.0, low=3.0, high=21.0, value_treatment=None)
    expected = "12.0 tokens (3.00 to 21.0 tokens), n = 1 240 and 2 050"
    assert found.effect_text.replace("\N{NARROW NO-BREAK SPACE}", " ") == expected


def test_effect_in_seconds_has_its_unit_once() -> None:
    assert read(style="seconds", unit="s").difference(2.5).count("s") == 1


@pytest.mark.parametrize("given", [{}, None, [], "text", {"effect": "4", "headline": 4, "n_treatment": -1}])
def test_evidence_that_nobody_wrote_down_is_empty(given: object) -> None:
    found = Evidence.read(given)
    assert (found.headline, found.effect, found.n_treatment, found.effect_text) == ("", None, None, "")
    assert (found.interval, found.affected_text, found.strength_text, found.as_effect()) == ("", "", "", {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, 10**400, "1", None, [1]])
def test_number_that_is_none_is_not_taken(value: object) -> None:
    assert read(effect=value).effect is None


@pytest.mark.parametrize(
    ("changes", "is_small"),
    [
        ({}, False),
        ({"affected_count": 19}, True),
        ({"affected_count": 20, "n_treatment": 20, "n_control": 20}, False),
        ({"n_treatment": 19}, True),
        ({"n_control": 19}, True),
        ({"n_control": 0}, True),
        ({"affected_count": None, "n_treatment": None, "n_control": None}, True),
        ({"affected_count": None, "n_treatment": None, "n_control": None, "variant": ""}, False),
    ],
)
def test_group_is_small_when_any_of_its_counts_is_or_none_is_known(
    changes: dict[str, object], is_small: bool
) -> None:
    assert read(**changes).is_small is is_small


def test_strength_says_what_was_agreed_on() -> None:
    assert read().strength_text == "e = 31.2; a halt needs 20.0"
    assert read(alpha=None).strength_text == "e = 31.2"
    assert read(log_e=900.0).strength_text.startswith("e > 5")


def test_affected_units_are_those_that_got_the_variant() -> None:
    assert read(affected_count=1).affected_text == "1 unit, which got claude-2"
    assert read(affected_count=20, variant="").affected_text == "20 units"


def test_at_most_twenty_samples_are_shown() -> None:
    assert len(read(sample_response_ids=[str(n) for n in range(30)]).sample_response_ids) == 20
    assert read(sample_response_ids=[1, "", None, "a"]).sample_response_ids == ("a",)


def test_effect_has_the_shape_of_a_monitors_only_when_complete() -> None:
    assert read().as_effect() == {
        "current": 0.791, "level": 0.832, "difference": -0.041, "low": -0.06, "high": -0.022, "n": 1240,
    }  # fmt: skip
    assert without("value_control").as_effect() == {}
