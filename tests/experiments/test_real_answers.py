"""The real answers beside the project as a three-arm experiment, one unit an instruction, against a computation of its own."""

import gzip
import json
import math
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.special import lambertw

from experiments import allocation
from experiments.analysis.look import look
from experiments.exposures import collect
from experiments.models import LookEstimate
from feedback.shapes import ResponseShape
from tests.experiments.factories import NOW, WEIGHTS
from tests.experiments.world import Facts, running

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "llm_answers.jsonl.gz"
MODELS = {"gpt-4": "gpt4_1106_preview", "claude-2": "claude-2", "llama2-70b": "llama-2-70b-chat-hf"}
WIN = {
    "key": "win_share",
    "name": "win share",
    "role": "primary",
    "kind": "ratio",
    "source": "quality:win",
    "is_adjusted": False,
}

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not FILE.exists(), reason="the real answers are not beside the project"),
]


def wins() -> dict[str, dict[str, float | None]]:
    """Instruction -> model -> 1 won, 0.5 draw, 0 lost, None not judged."""
    found: dict[str, dict[str, float | None]] = defaultdict(dict)
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            found[line["instruction_id"]][line["model"]] = line["win"]
    return found


def tau2_of(alpha: float, information: float) -> float:
    return float((-lambertw(-(alpha**2) / math.e, -1).real - 1) / information)


def common_error(left: tuple[float, float, int], right: tuple[float, float, int]) -> float:
    """The larger of Welch's standard error and the one with a variance that both arms share."""
    (_, a, n_a), (_, b, n_b) = left, right
    return max(math.hypot(a, b), math.sqrt(n_a / n_b * a * a + n_b / n_a * b * b))


def half_width(se: float, tau2: float, alpha: float) -> float:
    r = tau2 / se**2
    return se * math.sqrt((1 + 1 / r) * (math.log(1 + r) + 2 * math.log(1 / alpha)))


def test_win_shares_errors_effects_and_intervals_equal_an_independent_computation() -> None:
    experiment = running([WIN], WEIGHTS, key="answers")
    data = wins()
    assert len(data) == 805
    units = sorted(data)
    questions = [allocation.Asked(allocation.known("answers"), unit, {}) for unit in units]
    arms = {
        one[1]: one[0].variant or "" for one in zip(allocation.decide(questions, now=NOW), units, strict=True)
    }
    shapes, scores = [], defaultdict(list)
    for unit in units:
        win = data[unit][MODELS[arms[unit]]]
        scores[arms[unit]].append(win)
        shapes.append(
            ResponseShape(
                response_id=unit,
                experiment="answers",
                variant=arms[unit],
                unit=unit,
                occurred_at=NOW + timedelta(minutes=1),
                metrics={"win": win},
            )
        )
    Facts(experiment).respond_many(shapes)
    collect.collect(NOW)
    found = look(experiment, now=NOW + timedelta(days=8))
    assert found is not None
    assert found.unit_count == 805

    expected = {}
    for arm, values in scores.items():
        judged = np.array([value is not None for value in values], dtype=float)
        won = np.array([value or 0.0 for value in values])
        share = won.sum() / judged.sum()
        residual = (won - share * judged) / judged.mean()
        expected[arm] = (share, math.sqrt(residual.var(ddof=1) / len(values)), len(values))
    alpha = 0.05 / 2
    rows = {row.variant: row for row in LookEstimate.objects.filter(look=found)}
    assert set(rows) == set(WEIGHTS)
    for arm, (share, error, n) in expected.items():
        row = rows[arm]
        assert row.n == n
        assert row.value == pytest.approx(share, rel=1e-12)
        assert row.details["value_se"] == pytest.approx(error, rel=1e-9)
        if arm == "gpt-4":
            continue
        control_share, _, control_n = expected["gpt-4"]
        effect, se = share - control_share, common_error(expected[arm], expected["gpt-4"])
        tau2 = tau2_of(alpha, 5_000 / (n + control_n) / se**2)
        width = half_width(se, tau2, alpha)
        r = tau2 / se**2
        log_e = -0.5 * math.log1p(r) + (effect / se) ** 2 * r / (2 * (1 + r))
        assert row.effect == pytest.approx(effect, rel=1e-9)
        assert row.se == pytest.approx(se, rel=1e-9)
        assert row.low == pytest.approx(effect - width, rel=1e-8)
        assert row.high == pytest.approx(effect + width, rel=1e-8)
        assert row.log_e == pytest.approx(log_e, rel=1e-8)
        assert row.p_any == pytest.approx(min(1.0, math.exp(-log_e)), rel=1e-8)
    (pair,) = rows["llama2-70b"].details["others"]
    effect = expected["llama2-70b"][0] - expected["claude-2"][0]
    se = common_error(expected["llama2-70b"], expected["claude-2"])
    against_control = common_error(expected["llama2-70b"], expected["gpt-4"])
    n = expected["llama2-70b"][2] + expected["gpt-4"][2]
    width = half_width(se, tau2_of(alpha, 5_000 / n / against_control**2), alpha)
    assert pair["variant"] == "claude-2"
    assert [pair[name] for name in ("effect", "se", "low", "high")] == pytest.approx(
        [effect, se, effect - width, effect + width], rel=1e-8
    )
