from datetime import UTC, datetime
from statistics import fmean

import msgspec
import pytest

from demo import service
from demo.service import Arm
from feedback.shapes import FeedbackShape, QualityShape, ResponseShape

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LLAMA = Arm("llama2-70b", "llama2-70b")


def cases(count: int, *, arm: Arm = LLAMA, is_worse: bool = False) -> list[service.Case]:
    return [
        service.case(f"c-{number}", at=AT, unit=service.patient(number), arm=arm, is_worse=is_worse)
        for number in range(count)
    ]


def helpfulness(found: list[service.Case]) -> float:
    scores = (record["metrics"].get("helpfulness") for case in found for record in case.quality)
    return fmean(score for score in scores if score is not None)


def test_case_with_the_same_id_is_the_same_to_the_byte() -> None:
    assert msgspec.json.encode(cases(50)) == msgspec.json.encode(cases(50))


def test_case_is_what_the_api_takes() -> None:
    for case in cases(300):
        msgspec.convert(case.response, ResponseShape).check(AT, {})
        for record in case.quality:
            bounds = {"helpfulness": (0, 1), "groundedness": (0, 1), "under_triage": (0, 1)}
            msgspec.convert(record, QualityShape).check(AT, bounds)
        for feedback in case.feedback:
            msgspec.convert(feedback, FeedbackShape).check(AT, {})


def test_worse_model_is_less_helpful_and_gets_fewer_thumbs_up() -> None:
    good, bad = cases(3000), cases(3000, is_worse=True)
    assert helpfulness(good) == pytest.approx(0.84, abs=0.01)
    assert helpfulness(bad) == pytest.approx(0.60, abs=0.01)
    thumbs = [[one["feedback_type"] for case in found for one in case.feedback] for found in (good, bad)]
    shares = [kinds.count("positive") / len(kinds) for kinds in thumbs]
    assert shares[0] > 0.8
    assert shares[1] < 0.4


def test_other_models_stay_as_they_are_when_one_gets_worse() -> None:
    gpt = Arm("gpt-4", "gpt-4")
    assert helpfulness(cases(200, arm=gpt, is_worse=True)) == helpfulness(cases(200, arm=gpt))


def test_shares_are_those_of_a_believable_service() -> None:
    found = cases(4000)
    assert sum(bool(case.feedback) for case in found) / 4000 == pytest.approx(0.08, abs=0.015)
    assert sum(case.response["cache_hit"] for case in found) / 4000 == pytest.approx(0.12, abs=0.02)
    failed = [case for case in found if case.response.get("status") == "error"]
    assert 0 < len(failed) < 60
    assert all(not case.quality and not case.feedback for case in failed)


def test_arm_outside_the_experiment_carries_no_variant() -> None:
    decision = {"variant": "gpt-4", "config": {"model": "gpt-4"}, "in_experiment": False}
    case = service.case("c", at=AT, unit="patient-0001", arm=Arm.of(decision))
    assert case.response["model"] == "gpt-4"
    assert "variant" not in case.response
    assert "experiment" not in case.response
