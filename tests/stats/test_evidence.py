import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triageops.stats.evidence import Evidence

LOGARITHMS = st.floats(-1e6, 1e6) | st.just(-math.inf) | st.floats(-1e-300, 1e-300)
TIMES = st.none() | st.floats(-1e12, 1e12)


@given(st.lists(st.tuples(LOGARITHMS, st.floats(0, 1e6), TIMES), min_size=1, max_size=9), TIMES)
def test_evidence_json_round_trip_is_exact(
    rows: list[tuple[float, float, float | None]], at: float | None
) -> None:
    log_m, log_g, onset_at = zip(*rows, strict=True)
    evidence = Evidence(log_m, log_g, onset_at, at)
    text = json.dumps(evidence.as_json(), allow_nan=False)
    assert Evidence.from_json(json.loads(text)) == evidence


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"log_m": [0.0], "log_g": [0.0]},
        {"log_m": [], "log_g": [], "onset_at": []},
        {"log_m": [0.0, 1.0], "log_g": [0.0], "onset_at": [None]},
        {"log_m": [math.nan], "log_g": [0.0], "onset_at": [None]},
        {"log_m": [math.inf], "log_g": [0.0], "onset_at": [None]},
        {"log_m": [0.0], "log_g": [None], "onset_at": [None]},
        {"log_m": [0.0], "log_g": [-1.0], "onset_at": [None]},
        {"log_m": [0.0], "log_g": [0.0], "onset_at": [math.nan]},
        {"log_m": ["0"], "log_g": [0.0], "onset_at": [None]},
        {"log_m": [True], "log_g": [0.0], "onset_at": [None]},
        {"log_m": [0.0], "log_g": [0.0], "onset_at": [None], "at": math.inf},
    ],
)
def test_evidence_broken_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"evidence|NaN|negative|finite|number"):
        Evidence.from_json(state)


def test_evidence_json_minus_infinity_is_null_and_whole_numbers_come_back_as_floats() -> None:
    assert Evidence.none(1).as_json() == {"log_m": [None], "log_g": [0.0], "onset_at": [None], "at": None}
    # PostgreSQL's jsonb may write 1e3 as 1000.
    stored = {"log_m": [-3], "log_g": [1000], "onset_at": [1_700_000_000], "at": 1_700_000_300}
    assert all(type(number) is float for number in Evidence.from_json(stored).log_g)
    assert Evidence.from_json(stored) == Evidence((-3.0,), (1e3,), (1.7e9,), 1_700_000_300.0)
