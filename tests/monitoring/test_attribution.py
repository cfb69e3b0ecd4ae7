from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.stats import ByDimension, Window
from monitoring import attribution
from monitoring.attribution import Explanation, Shares
from monitoring.monitors.kind import Metric
from monitoring.sources import Source
from tests.monitoring.factories import BUCKET, START
from triageops.stats.moments import Moments

WINDOW = Window(START, START + BUCKET)
GROUPS = st.dictionaries(
    st.sampled_from("abcde"), st.tuples(st.integers(1, 1000), st.floats(-5, 5)), min_size=2
)


def explained(
    before: Shares, after: dict[str, dict[str, tuple[int, float]]], key: str = "score"
) -> Explanation:
    now: ByDimension = {
        dimension: {value: Moments(n, mean, 0.0) for value, (n, mean) in groups.items()}
        for dimension, groups in after.items()
    }
    with patch.object(attribution, "moments_by_dimension", return_value=now):
        return attribution.explain(Source(Metric(key)), {}, WINDOW, before)


def test_explain_names_the_only_group_that_changed() -> None:
    before = {"variant": {"a": (100, 0.8), "b": (100, 0.8)}, "language": {"en": (150, 0.8), "es": (50, 0.8)}}
    after = {
        "variant": {"a": (100, 0.75), "b": (100, 0.75)},
        "language": {"en": (150, 0.8), "es": (50, 0.6)},
    }
    found = explained(before, after)
    assert found.best is not None
    assert (found.best.dimension, found.best.value) == ("language", "es")
    assert found.best.contribution == pytest.approx(1.0)
    assert found.sentence.endswith("of the fall comes from language = es.")


def test_explain_of_another_mix_blames_no_group() -> None:
    before = {"model": {"good": (900, 0.9), "poor": (100, 0.5)}}
    found = explained(before, {"model": {"good": (500, 0.9), "poor": (500, 0.5)}})
    assert found.best is None
    assert found.mix["model"] == pytest.approx(1.0)
    assert "another mix of traffic by model" in found.sentence


def test_explain_of_what_changed_everywhere_says_so() -> None:
    before = {"model": {"a": (100, 0.9), "b": (100, 0.9)}}
    found = explained(before, {"model": {"a": (100, 0.8), "b": (100, 0.8)}})
    assert found.best is None
    assert "No single group" in found.sentence


def test_explain_names_no_group_that_could_be_one_person() -> None:
    before = {"language": {"en": (100, 0.8), "la": (2, 0.8)}}
    found = explained(before, {"language": {"en": (100, 0.8), "la": (3, 0.1)}})
    assert found.best is None


def test_explain_of_a_volume_uses_what_a_group_has_less_of() -> None:
    days = (WINDOW.end - WINDOW.start).total_seconds() / 86_400
    before = {"model": {"a": (1000, 50 / days), "b": (1000, 50 / days)}}
    found = explained(before, {"model": {"a": (50, 0.0), "b": (1, 0.0)}}, key="volume")
    assert found.best is not None
    assert found.best.value == "b"
    assert found.best.contribution == pytest.approx(1.0)


@given(GROUPS, GROUPS)
def test_contributions_and_mix_add_up_to_the_whole_change(
    before: dict[str, tuple[int, float]], after: dict[str, tuple[int, float]]
) -> None:
    found = explained({"model": before}, {"model": after})
    if found.change and abs(found.change) > 1e-6:
        assert sum(part.contribution for part in found.parts) + found.mix["model"] == pytest.approx(
            1.0, abs=1e-6
        )


RISE = ({"x": (500, 0.2), "y": (500, 0.2)}, {"x": (500, 0.5), "y": (500, 0.2)})


@pytest.mark.parametrize(
    "language",
    [
        ({}, {"de": (10, 0.1), "en": (10, 0.2)}),
        ({}, {"de": (500, 0.1), "en": (500, 0.2)}),
        ({"de": (500, 0.3), "en": (500, 0.3)}, {"de": (10, 0.1), "en": (10, 0.2)}),
    ],
)
def test_explain_of_a_rise_is_none_of_a_fall_whatever_another_dimension_knows(language: Any) -> None:
    before, after = {"model": RISE[0], "language": language[0]}, {"model": RISE[1], "language": language[1]}
    found = explained(before, after)
    assert found.change == pytest.approx(0.15)
    assert found.sentence.endswith("of the rise comes from model = x.")
    assert {part.dimension for part in found.parts} == {"model"}


def test_explain_by_an_attribute_that_most_have_leaves_room_for_the_others() -> None:
    before = {"model": {"": (1000, 0.2)}, "language": {"de": (400, 0.2), "en": (400, 0.2)}}
    after = {"model": {"": (1000, 0.3)}, "language": {"de": (400, 0.4), "en": (400, 0.2)}}
    found = explained(before, after)
    assert [(part.value, round(part.contribution, 6)) for part in found.parts] == [("de", 0.8), ("en", 0.0)]
    assert found.mix["language"] == pytest.approx(0.0)


def test_explain_of_feedback_asks_for_the_age_that_is_watched() -> None:
    source = Source(Metric("feedback:coverage"), timedelta(hours=6))
    with patch.object(attribution, "feedback_by_dimension", return_value={}) as read:
        assert attribution.explain(source, {}, WINDOW, {}).sentence == ""
    assert read.call_args.args == ("coverage", {}, WINDOW, timedelta(hours=6))
