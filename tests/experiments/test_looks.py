"""A look: what is computed, fixed, claimed and done, from facts to the decision in words."""

import threading
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from experiments import lifecycle
from experiments.analysis.look import look
from experiments.exposures import collect
from experiments.models import Experiment, ExperimentEvent, Look, LookEstimate, SequentialPlan, State
from feedback.shapes import ResponseShape
from tests.experiments.factories import NOW
from tests.experiments.world import COST, ERRORS, LATENCY, POSITIVE, RED_FLAGS, Facts, running

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
SCORE: dict[str, Any] = {**POSITIVE, "source": "quality:score", "name": "score", "key": "score"}


def answers(
    facts: Facts, variant: str, scores: Any, *, prefix: str = "", at: datetime = NOW, **values: Any
) -> None:
    """One response a unit, with these scores; further fields are numbers for all, or arrays."""
    shapes = []
    for number, score in enumerate(scores):
        own = {
            name: value[number].item() if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }
        name = f"{prefix}{variant}{number}"
        shapes.append(
            ResponseShape(
                response_id=f"{facts.experiment.key if facts.experiment else ''}-{name}",
                experiment=facts.experiment.key if facts.experiment else "",
                variant=variant,
                unit=name,
                occurred_at=at + timedelta(minutes=1),
                metrics={"score": float(score)},
                **own,
            )
        )
    facts.respond_many(shapes)


def looked(experiment: Experiment, now: datetime = NOW + 8 * DAY) -> Look:
    collect.collect(now)
    found = look(Experiment.objects.get(pk=experiment.pk), now=now)
    assert found is not None
    return found


def row(found: Look, metric: str, variant: str) -> LookEstimate:
    return LookEstimate.objects.get(look=found, metric=metric, variant=variant)


def test_look_without_units_waits() -> None:
    found = looked(running([SCORE, COST, LATENCY]))
    assert (found.decision, found.unit_count) == ("wait", 0)
    assert "Not enough data yet" in found.sentence


def test_difference_that_is_there_is_found_and_shipped_in_words() -> None:
    experiment = running([SCORE])
    facts, random = Facts(experiment), np.random.default_rng(1)
    answers(facts, "a", random.normal(0.5, 0.1, 400).clip(0, 1))
    answers(facts, "b", random.normal(0.6, 0.1, 400).clip(0, 1))
    found = looked(experiment)
    assert (found.decision, found.variant) == ("ship", "b")
    assert found.sentence.startswith("Ship b: it is better than a on score by 0.1")
    one = row(found, "score", "b")
    assert one.effect == pytest.approx(0.1, abs=0.02)
    assert one.low is not None
    assert one.high is not None
    assert one.log_e is not None
    assert one.effect is not None
    assert 0 < one.low < one.effect < one.high
    assert one.verdict == "better"
    assert one.p_any == pytest.approx(np.exp(-one.log_e))


def test_before_the_whole_week_nothing_ships() -> None:
    experiment = running([SCORE])
    facts = Facts(experiment)
    answers(facts, "a", [0.4, 0.6] * 200)
    answers(facts, "b", [0.7, 0.9] * 200)
    found = looked(experiment, NOW + 3 * DAY)
    assert (found.decision, found.variant) == ("keep", "b")
    assert "4 more days" in found.sentence


def test_what_the_first_look_fixes_stays_and_p_only_falls() -> None:
    experiment = running([SCORE])
    facts, random = Facts(experiment), np.random.default_rng(2)
    answers(facts, "a", random.random(200), prefix="x")
    answers(facts, "b", random.random(200) + 0.15, prefix="x")
    first = looked(experiment)
    plan = SequentialPlan.objects.values().get(metric="score")
    answers(facts, "a", random.random(200), prefix="y")
    answers(facts, "b", random.random(200) - 0.15, prefix="y")
    second = looked(experiment, NOW + 9 * DAY)
    assert SequentialPlan.objects.values().get(metric="score") == plan
    before, after = row(first, "score", "b"), row(second, "score", "b")
    assert before.p_any is not None
    assert after.p_any is not None
    assert after.log_e is not None
    assert before.log_e is not None
    assert after.log_e < before.log_e
    assert after.p_any == before.p_any


def test_guardrail_that_shows_harm_halts_with_evidence_and_resuming_needs_a_reason() -> None:
    experiment = running([SCORE, ERRORS])
    facts = Facts(experiment)
    status = {"a": "success", "b": "error"}
    for variant in "ab":
        answers(facts, variant, [0.5] * 150, prefix="ok", status="success")
        answers(facts, variant, [0.5] * 150, status=status[variant])
    found = looked(experiment, NOW + DAY)
    assert (found.decision, found.variant) == ("harmful", "b")
    assert Experiment.objects.get().state == State.HALTED
    event = ExperimentEvent.objects.get(action="halt")
    evidence = event.evidence
    assert evidence["headline"] == found.sentence
    assert evidence["headline"].startswith("b is worse than a on error rate by 50")
    assert (evidence["affected_count"], evidence["n_control"], evidence["effect"]) == (300, 300, 0.5)
    assert evidence["low"] < 0.5 < evidence["high"]
    assert len(evidence["sample_response_ids"]) == 20
    assert event.by is None


def test_guardrail_within_its_margin_does_not_halt() -> None:
    experiment = running([SCORE, {**ERRORS, "margin": 0.6}])
    facts = Facts(experiment)
    for variant, status in (("a", "success"), ("b", "error")):
        answers(facts, variant, [0.5] * 150, prefix="ok", status="success")
        answers(facts, variant, [0.5] * 150, status=status)
    looked(experiment, NOW + DAY)
    assert Experiment.objects.get().state == State.RUNNING


def test_rare_events_are_tested_exactly_from_the_first_one() -> None:
    experiment = running([SCORE, RED_FLAGS])
    facts = Facts(experiment)
    for variant, flagged in (("a", 1), ("b", 22)):
        answers(facts, variant, [0.5] * 200)
        for number in range(flagged):
            facts.judge(f"{experiment.key}-{variant}{number}", red_flag=1.0)
    found = looked(experiment, NOW + DAY)
    one = row(found, "red_flags", "b")
    assert one.details["events"] == {"x_t": 22, "x_c": 1, "n_t": 200, "n_c": 200}
    assert one.verdict == "harm"
    assert one.details["ratio"]["low"] > 1
    assert Experiment.objects.get().state == State.HALTED


def test_latency_quantile_has_an_interval_and_a_difference() -> None:
    experiment = running([SCORE, LATENCY])
    facts, random = Facts(experiment), np.random.default_rng(3)
    for variant, scale in (("a", 1.0), ("b", 3.0)):
        seconds = random.exponential(scale, 800)
        answers(facts, variant, [0.5] * 800, latency_seconds=seconds)
    found = looked(experiment)
    one = row(found, "p95", "b")
    assert one.value == pytest.approx(9.0, rel=0.2)
    assert one.low is not None
    assert one.effect is not None
    assert one.high is not None
    assert 0 < one.low < one.effect < one.high
    assert one.verdict == "worse"


def test_cheaper_and_not_inferior_is_a_decision() -> None:
    experiment = running([{**SCORE, "margin": 0.1}, COST])
    facts, random = Facts(experiment), np.random.default_rng(4)
    for variant, price in (("a", 0.04), ("b", 0.01)):
        answers(
            facts,
            variant,
            random.normal(0.7, 0.1, 600).clip(0, 1),
            cost=random.normal(price, 0.002, 600).clip(0),
        )
    found = looked(experiment)
    assert (found.decision, found.variant) == ("cheaper", "b")
    assert "not inferior to a on score" in found.sentence
    assert "cheaper by $0.03" in found.sentence


def test_split_that_is_not_what_the_weights_promise_blocks_the_decision() -> None:
    experiment = running([SCORE])
    facts, random = Facts(experiment), np.random.default_rng(5)
    answers(facts, "a", random.normal(0.5, 0.1, 500).clip(0, 1))
    answers(facts, "b", random.normal(0.7, 0.1, 300).clip(0, 1))
    found = looked(experiment)
    assert found.decision == "keep"
    assert "the split is not what the weights promise: a has 500 units instead of 400" in found.sentence
    checks = {check["name"]: check["level"] for check in found.health["checks"]}
    assert checks["split"] == "harm"


def test_group_sequential_looks_count_when_information_grew_and_end_at_the_planned_sample() -> None:
    experiment = running([SCORE], design="group_sequential", planned_sample=800)
    facts, random = Facts(experiment), np.random.default_rng(6)
    boundaries = []
    for part in range(5):
        for variant in "ab":
            answers(facts, variant, random.random(100), prefix=f"p{part}")
        one = row(looked(experiment, NOW + (8 + part) * DAY), "score", "b")
        boundaries.append(one.boundary)
        again = row(looked(experiment, NOW + (8 + part) * DAY + timedelta(hours=1)), "score", "b")
        assert again.boundary is None
    assert all(bound is not None for bound in boundaries[:4])
    assert boundaries[:4] == sorted((bound for bound in boundaries[:4] if bound), reverse=True)
    assert boundaries[4] is None


def test_segments_show_each_language_and_simpson() -> None:
    experiment = running([SCORE])
    facts, random = Facts(experiment), np.random.default_rng(7)
    for variant, language, n, mean in (
        ("a", "en", 300, 0.60), ("b", "en", 900, 0.55), ("a", "es", 900, 0.30), ("b", "es", 300, 0.25),
    ):  # fmt: skip
        answers(
            facts,
            variant,
            random.normal(mean, 0.05, n).clip(0, 1),
            prefix=language,
            attributes={"language": language},
        )
    (found,) = looked(experiment).segments
    assert (found["attribute"], found["variant"]) == ("language", "b")
    assert [part["value"] for part in found["segments"]] == ["en", "es"]
    assert [round(part["effect"], 2) for part in found["segments"]] == [-0.05, -0.05]
    assert all(part["high"] < 0 for part in found["segments"])
    assert found["is_simpson"]


def test_looks_are_written_once() -> None:
    found = looked(running([SCORE]))
    for change in (
        lambda: Look.objects.filter(pk=found.pk).update(sentence="other"),
        lambda: LookEstimate.objects.filter(look=found).update(effect=1.0),
        lambda: LookEstimate.objects.filter(look=found).delete(),
    ):
        with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
            change()


def test_two_looks_at_once_do_not_wait_for_each_other() -> None:
    experiment = running([SCORE])
    collect.collect(NOW)
    results: list[Look | None] = []

    def other() -> None:
        results.append(look(experiment, now=NOW))
        connection.close()

    with transaction.atomic():
        Experiment.objects.select_for_update().get(pk=experiment.pk)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
    assert results == [None]


def errors(facts: Facts, of: dict[str, int], n: int, *, prefix: str, at: datetime = NOW) -> None:
    """n units an arm, some of which got an error."""
    for variant, failed in of.items():
        answers(facts, variant, [0.5] * (n - failed), prefix=f"{prefix}ok", at=at, status="success")
        answers(facts, variant, [0.5] * failed, prefix=prefix, at=at, status="error")


def resumed_after_harm(person: User, guardrail: dict[str, Any]) -> tuple[Experiment, Facts]:
    """Halted at 20 % errors against 0, on 300 units an arm; resumed a day later by a person."""
    experiment = running([SCORE, guardrail])
    facts = Facts(experiment)
    errors(facts, {"a": 0, "b": 60}, 300, prefix="old")
    assert looked(experiment, NOW + DAY).decision == "harmful"
    halted = Experiment.objects.get()
    assert halted.state == State.HALTED
    return lifecycle.resume(halted, by=person, now=NOW + 2 * DAY, reason="mended"), facts


GUARDRAILS = [
    ERRORS,
    {**ERRORS, "key": "rare", "kind": "rare", "name": "units with an error"},
]


@pytest.mark.parametrize("guardrail", GUARDRAILS, ids=["ratio", "rare"])
def test_after_a_resume_known_harm_does_not_halt_and_harm_that_goes_on_does(
    guardrail: dict[str, Any], django_user_model: type[User]
) -> None:
    person = django_user_model.objects.create_user("ann")
    experiment, facts = resumed_after_harm(person, guardrail)
    quiet = looked(experiment, NOW + 2 * DAY)
    assert ExperimentEvent.objects.filter(action="halt").count() == 1
    assert Experiment.objects.get().state == State.RUNNING
    assert row(quiet, guardrail["key"], "b").verdict == "accepted"
    assert "Accepted at the resume: b is worse than a on" in quiet.sentence
    errors(facts, {"a": 0, "b": 45}, 300, prefix="new", at=NOW + 2 * DAY)
    again = looked(experiment, NOW + 3 * DAY)
    assert again.decision == "harmful"
    assert "Units exposed since the resume show it by themselves" in again.sentence
    assert Experiment.objects.get().state == State.HALTED
    evidence = ExperimentEvent.objects.filter(action="halt").latest("id").evidence
    assert evidence["since_resume"]["effect"] == pytest.approx(0.15)
    assert evidence["since_resume"]["n"] == 300
    assert evidence["accepted"] == pytest.approx(0.2)
    lifecycle.resume(Experiment.objects.get(), by=person, now=NOW + 4 * DAY, reason="once more")
    looked(experiment, NOW + 4 * DAY)
    assert Experiment.objects.get().state == State.RUNNING


def test_after_a_resume_what_was_mended_runs_on(django_user_model: type[User]) -> None:
    person = django_user_model.objects.create_user("ann")
    experiment, facts = resumed_after_harm(person, ERRORS)
    errors(facts, {"a": 3, "b": 3}, 600, prefix="new", at=NOW + 2 * DAY)
    found = looked(experiment, NOW + 3 * DAY)
    assert Experiment.objects.get().state == State.RUNNING
    since = row(found, ERRORS["key"], "b").details["since_resume"]
    assert since["n"] == 600
    assert since["effect"] == pytest.approx(0)


def test_after_a_resume_more_harm_among_those_who_were_there_before_halts(
    django_user_model: type[User],
) -> None:
    """Nobody new comes; the old units get errors at every answer, more than what was accepted."""
    person = django_user_model.objects.create_user("ann")
    experiment, facts = resumed_after_harm(person, ERRORS)
    facts.respond_many(
        [
            ResponseShape(
                response_id=f"{turn}-{variant}-{prefix}{number}",
                experiment=experiment.key,
                variant=variant,
                unit=f"{prefix}{variant}{number}",
                occurred_at=NOW + 2 * DAY + timedelta(hours=turn),
                status="error" if variant == "b" else "success",
            )
            for turn in range(4)
            for variant, prefix, units in (("a", "oldok", 300), ("b", "oldok", 240), ("b", "old", 60))
            for number in range(units)
        ]
    )
    found = looked(experiment, NOW + 3 * DAY)
    assert found.decision == "harmful"
    assert "more than the 20" in found.sentence
    assert Experiment.objects.get().state == State.HALTED


def test_what_was_accepted_is_not_shipped_by_itself(django_user_model: type[User]) -> None:
    person = django_user_model.objects.create_user("ann")
    experiment = running([SCORE, ERRORS], auto_ship=True)
    facts, random = Facts(experiment), np.random.default_rng(8)
    for variant, mean, status in (("a", 0.4, "success"), ("b", 0.7, "error")):
        for prefix, said in (("ok", "success"), ("", status)):
            answers(facts, variant, random.normal(mean, 0.1, 200).clip(0, 1), prefix=prefix, status=said)
    looked(experiment, NOW + DAY)
    lifecycle.resume(Experiment.objects.get(), by=person, now=NOW + 2 * DAY, reason="known")
    found = looked(experiment, NOW + 8 * DAY)
    assert (found.decision, found.variant) == ("ship", "b")
    assert Experiment.objects.get().state == State.RUNNING


def checks_of(found: Look) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["level"], one["sentence"]) for one in found.health["checks"]}


def test_health_that_cannot_be_checked_is_not_called_well() -> None:
    experiment = running([SCORE])
    nothing = checks_of(looked(experiment))
    assert {nothing[name][0] for name in ("split", "crossovers", "served as assigned")} == {"none"}
    facts = Facts(experiment)
    for variant in "ab":
        answers(facts, variant, [0.4, 0.6] * 50)
    found = checks_of(looked(experiment))
    assert found["split"][0] == found["crossovers"][0] == "ok"
    assert found["config unchanged"] == (
        "none",
        "No response says with which config it was made: send config_hash with it.",
    )
    assert found["feedback rate"] == ("none", "No response got feedback yet.")


def test_the_cheapest_of_the_good_enough_is_named_and_who_is_worse_loses_its_traffic() -> None:
    experiment = running(
        [{**SCORE, "margin": 0.1}, COST], weights={"a": 2_500, "b": 2_500, "c": 2_500, "d": 2_500}
    )
    facts, random = Facts(experiment), np.random.default_rng(6)
    for variant, mean, price in (("a", 0.7, 0.04), ("b", 0.7, 0.02), ("c", 0.66, 0.01), ("d", 0.4, 0.001)):
        answers(
            facts,
            variant,
            random.normal(mean, 0.1, 600).clip(0, 1),
            cost=random.normal(price, price / 20, 600).clip(0),
        )
    found = looked(experiment)
    assert (found.decision, found.variant) == ("cheaper", "c")
    assert found.sentence.startswith("c is worse than a on score by 0.03")
    assert "within the margin of 0.1" in found.sentence
    assert "d is worse than a on score by 0.2" in found.sentence
    assert found.sentence.endswith("take its traffic away.")
