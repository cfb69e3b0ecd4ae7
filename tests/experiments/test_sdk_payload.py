"""The payload as GrowthBook's Python SDK, unmodified, reads it over HTTP: its local answers are the server's."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from growthbook import GrowthBook, feature_repo
from hypothesis import given
from hypothesis import strategies as st

from experiments import allocation, asking, catalogue, epochs, forcing, layers, lifecycle, sdk_payload
from experiments.allocation import Asked, Decision
from experiments.assignment import BASIS_POINTS
from experiments.models import EpochKind, Experiment, Layer
from experiments.placement import Reason
from experiments.ranges import FREE, Segment, departures, moves, retargeted, segments_of
from feedback.models import ApiKey, Scope
from tests.experiments.callers import client, key
from tests.experiments.factories import NOW, draft, running, stopped

pytestmark = pytest.mark.django_db
LETTERS = ("abcxyz0189-_", "äßéñøž", "漢字かな", "😀🧪👩\u200d⚕️")
Unit = dict[str, Any]


def many_units(count: int) -> list[Unit]:
    """Attributes of units that nobody chose: ASCII, other letters, emoji, long and short."""
    source = random.Random(20260301)
    found: dict[str, Unit] = {}
    while len(found) < count:
        letters = source.choice(LETTERS) + source.choice(LETTERS)
        name = "".join(source.choices(letters, k=source.choice([1, 2, 5, 12, 36])))
        found[name] = {
            "id": name,
            "language": source.choice(["en", "es", "fr", None]),
            "age": source.choice([17, 18, 40.5]),
            "app": {"version": source.choice(["1.9.0", "2.0.0", "2.10.1"])},
        }
    return list(found.values())


def decided(key_: str, units: list[Unit], *, is_read_only: bool) -> list[Decision]:
    definition = catalogue.definitions()[key_]
    questions = [asking.asked(definition, unit["id"], unit) for unit in units]
    return [
        decision
        for first in range(0, len(questions), 1_000)
        for decision in allocation.decide(
            questions[first : first + 1_000], now=NOW, is_read_only=is_read_only
        )
    ]


def payload_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def served() -> dict[str, Any]:
    found: dict[str, Any] = payload_of(Client().get(f"/api/features/{key(Scope.SDK_READ)}"))["features"]
    return found


@pytest.fixture
def fetched(transactional_db: None, live_server: Any) -> Iterator[Any]:
    """Fetches the payload as the SDK does and gives the SDK."""
    opened: list[GrowthBook] = []

    def fetch() -> GrowthBook:
        feature_repo.clear_cache()
        sdk = GrowthBook(api_host=live_server.url, client_key=key(Scope.SDK_READ))
        opened.append(sdk)
        sdk.load_features()
        return sdk

    yield fetch
    for sdk in opened:
        sdk.destroy()


def check_equal(sdk: GrowthBook, key_: str, units: list[Unit], decisions: list[Decision]) -> None:
    differing = []
    for unit, decision in zip(units, decisions, strict=True):
        sdk.set_attributes(unit)
        found = sdk.eval_feature(key_)
        result = found.experimentResult
        variant = result.key if result is not None and found.source == "experiment" else None
        expected = decision.variant if decision.in_experiment else None
        if (found.value, variant) != (decision.config, expected):
            differing.append((unit, found.value, variant, decision))
    assert differing == []


def check_all(sdk: GrowthBook, key_: str, units: list[Unit]) -> list[Decision]:
    looked = decided(key_, units, is_read_only=True)
    check_equal(sdk, key_, units, looked)
    stored = decided(key_, units, is_read_only=False)
    assert [one.variant for one in stored] == [one.variant for one in looked]
    return stored


def test_sdk_answers_as_the_server_for_ten_thousand_units(fetched: Any) -> None:
    units = many_units(10_000)
    running({"control": 5_000, "other": 5_000}, control="control", key="even")
    grown = running({"a": 6_000, "b": 3_000, "c": 1_000}, control="b", key="grown", coverage_bp=2_000)
    layers.hold_out(1_000, by=None, now=NOW)
    layer = layers.save(Layer(key="answers"), by=None, now=NOW)
    running(key="neighbour", layer=layer, layer_share_bp=3_000)
    moved = running(
        {"x": 5_000, "y": 3_000, "z": 2_000},
        control="x",
        key="moved",
        layer=layer,
        layer_share_bp=6_000,
        targeting={"language": {"$in": ["en", "es"]}, "app.version": {"$vgte": "2.0.0"}, "age": {"$gte": 18}},
    )
    before = {name: decided(name, units[:6_000], is_read_only=False) for name in ("grown", "moved")}
    epochs.cover(grown, 3_500, by=None, now=NOW)
    epochs.change_weights(
        moved, EpochKind.MINIMAL_MOVE, {"x": 3_000, "y": 4_500, "z": 2_500}, by=None, now=NOW
    )
    sdk = fetched()
    after = {name: check_all(sdk, name, units) for name in ("even", "grown", "moved", "neighbour")}
    # All of this happened: nobody who was in the smaller coverage went elsewhere, and the move moved some.
    kept = zip(before["grown"], after["grown"], strict=False)
    assert all(now.variant == then.variant for then, now in kept if then.in_experiment)
    went = [
        now.variant != then.variant
        for then, now in zip(before["moved"], after["moved"], strict=False)
        if then.in_experiment
    ]
    assert 0 < sum(went) < len(went) / 2
    reasons = {one.reason for one in after["moved"]}
    assert reasons == {Reason.SPLIT, Reason.TARGETING, Reason.LAYER, Reason.HOLDOUT}
    assert {one.reason for one in after["grown"]} == {Reason.SPLIT, Reason.COVERAGE}
    share = sum(one.in_experiment for one in after["grown"]) / len(units)
    assert share == pytest.approx(0.35, abs=0.03)


def test_sdk_hashes_the_attribute_that_the_experiment_names(fetched: Any) -> None:
    running(unit_attribute="clinic_id")
    sdk = fetched()
    definition = catalogue.definitions()["llm_model_ab_test"]
    for clinic in ("17", 17, 2**53, "0", "josé"):
        context = {"id": "user-1", "clinic_id": clinic}
        sdk.set_attributes(context)
        asked = asking.asked_in_context(definition, context)
        found = sdk.eval_feature("llm_model_ab_test")
        assert found.value == allocation.decide([asked], now=NOW)[0].config
        assert found.source == "experiment"
    sdk.set_attributes({"clinic_id": 0})
    assert sdk.eval_feature("llm_model_ab_test").source != "experiment"
    with pytest.raises(asking.MissingUnit):
        asking.asked_in_context(definition, {"clinic_id": 0})


@pytest.mark.parametrize(
    ("act", "model"),
    [
        (lambda one: lifecycle.pause(one, by=None, now=NOW), "gpt-4"),
        (lambda one: lifecycle.kill(one, by=None, now=NOW), "gpt-4"),
        (lambda one: lifecycle.stop(one, by=None, now=NOW), "gpt-4"),
        (
            lambda one: lifecycle.ship(lifecycle.stop(one, by=None, now=NOW), "claude-2", by=None, now=NOW),
            "claude-2",
        ),
    ],
)
def test_experiment_that_is_not_running_serves_one_config(act: Any, model: str) -> None:
    one = running()
    assert "rules" in served()["llm_model_ab_test"]
    act(one)
    assert served() == {"llm_model_ab_test": {"defaultValue": {"model": model}}}


def test_what_never_started_or_is_archived_is_in_no_payload() -> None:
    one = draft(key="a", starts_at=NOW + timedelta(days=1))
    draft(key="b", control=None)
    forcing.force(draft(key="c"), "user-1", "claude-2", by=None, now=NOW)
    lifecycle.archive(stopped(key="d"), by=None, now=NOW)
    assert served() == {}
    one = lifecycle.schedule(one, by=None, now=NOW)
    assert served() == {}
    lifecycle.start(one, by=None, now=NOW)
    assert list(served()) == ["a"]


def test_rule_says_seed_ranges_and_arms_in_order() -> None:
    one = running({"a": 5_000, "b": 3_000, "never": 0, "c": 2_000}, control="a")
    rule = served()["llm_model_ab_test"]["rules"][0]
    assert rule["seed"] == one.epochs.get().salt
    assert (rule["hashVersion"], rule["hashAttribute"], rule["phase"]) == (2, "id", "1")
    assert rule["ranges"] == [[0, 0.5], [0.5, 0.8], [0, 0], [0.8, 1]]
    assert [arm["key"] for arm in rule["meta"]] == ["a", "b", "never", "c"]
    assert rule["variations"] == [{"model": arm} for arm in ("a", "b", "never", "c")]
    epochs.change_weights(
        one,
        EpochKind.MINIMAL_MOVE,
        {"a": 4_000, "b": 3_000, "never": 0, "c": 3_000},
        by=None,
        now=NOW,
    )
    rule = served()["llm_model_ab_test"]["rules"][0]
    assert [arm["key"] for arm in rule["meta"]] == ["a", "b", "never", "c", "c"]
    assert rule["ranges"] == [[0, 0.4], [0.5, 0.8], [0, 0], [0.4, 0.5], [0.8, 1]]


def check_marked(one: Experiment, *words: str) -> None:
    feature = served()[one.key]
    assert "rules" not in feature
    assert feature["defaultValue"] == {"model": "gpt-4"}
    reasons = feature["x-triageops"]["inexpressible"]
    assert len(reasons) == len(words)
    assert all(word in reason for word, reason in zip(words, reasons, strict=True))


NEW_WEIGHTS = {"gpt-4": 2_000, "claude-2": 3_000, "llama2-70b": 5_000}


def test_sticky_experiment_is_marked_and_serves_the_control(fetched: Any) -> None:
    one = running()
    stored = decided(one.key, many_units(200), is_read_only=False)
    epochs.change_weights(one, EpochKind.STICKY, NEW_WEIGHTS, by=None, now=NOW)
    check_marked(one, "Epoch 2 has weights that count for newcomers only")
    assert [now.variant for now in decided(one.key, many_units(200), is_read_only=True)] == [
        then.variant for then in stored
    ]
    sdk = fetched()
    for unit in many_units(50):
        sdk.set_attributes(unit)
        found = sdk.eval_feature(one.key)
        assert (found.value, found.source) == ({"model": "gpt-4"}, "defaultValue")


def test_bandit_smaller_coverage_and_forced_units_are_marked() -> None:
    one = running()
    epochs.change_weights(one, EpochKind.BANDIT, NEW_WEIGHTS, by=None, now=NOW)
    check_marked(one, "Epoch 2 has the bandit's weights")
    epochs.change_weights(
        one, EpochKind.BANDIT, NEW_WEIGHTS | {"gpt-4": 1_000, "claude-2": 4_000}, by=None, now=NOW
    )
    check_marked(one, "2 epochs up to 3 have the bandit's weights")
    forcing.force(one, "user-1", "gpt-4", by=None, now=NOW)
    check_marked(one, "1 unit is forced", "bandit")
    other = running(key="other")
    epochs.cover(other, 5_000, by=None, now=NOW)
    check_marked(other, "Epoch 2 has a smaller coverage")


def test_dealing_anew_makes_it_expressible_again() -> None:
    one = running()
    epochs.change_weights(one, EpochKind.STICKY, NEW_WEIGHTS, by=None, now=NOW)
    assert "rules" not in served()[one.key]
    epochs.change_weights(one, EpochKind.RERANDOMISE, NEW_WEIGHTS, by=None, now=NOW)
    assert served()[one.key]["rules"][0]["phase"] == "2"


def test_coverage_that_shrinks_and_grows_back_is_expressible() -> None:
    one = running({"gpt-4": 5_000, "claude-2": 5_000})
    epochs.cover(one, 5_000, by=None, now=NOW)
    assert "rules" not in served()[one.key]
    epochs.cover(one, 10_000, by=None, now=NOW)
    is_as_before = one.epochs.get(number=1).ranges == one.epochs.get(number=3).ranges
    assert ("rules" in served()[one.key]) is is_as_before


@dataclass
class Dealt:
    """An epoch as the payload reads it."""

    number: int
    kind: str
    ranges: list[Segment]
    moved: list[tuple[str, str, int, int]] = field(default_factory=list)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sticky", "minimal_move", "coverage", "rerandomise"]),
        st.lists(st.integers(0, 40), min_size=3, max_size=3),
    ),
    max_size=5,
)


@given(STEPS)
def test_inexpressible_says_what_following_every_bucket_finds(steps: list[tuple[str, list[int]]]) -> None:
    """The oracle stores a unit for every bucket in every epoch, one by one, in plain Python."""
    arms = "abc"
    dealt = [
        Dealt(1, "start", segments_of(list("a" * 40 + "b" * 40 + "c" * 20) + [FREE] * (BASIS_POINTS - 100)))
    ]
    units = {(bucket, arm) for arm, first, end in dealt[0].ranges for bucket in range(first, end)}
    for kind, sizes in steps:
        former = dealt[-1].ranges
        after = retargeted(former, dict(zip(arms, sizes, strict=True)))
        taken: list[tuple[str, str, int, int]] = []
        if kind == "minimal_move":
            taken = moves(former, after)
        elif kind == "coverage":
            taken = departures(former, after)
        dealt.append(Dealt(len(dealt) + 1, kind, after, taken))
        targets = {
            (bucket, source): target
            for source, target, first, end in taken
            if target != FREE
            for bucket in range(first, end)
        }
        units = set() if kind == "rerandomise" else {(b, targets.get((b, arm), arm)) for b, arm in units}
        units |= {(bucket, arm) for arm, first, end in after for bucket in range(first, end)}
    now = {bucket: arm for arm, first, end in dealt[-1].ranges for bucket in range(first, end)}
    differs = any(now.get(bucket) != arm for bucket, arm in units)
    assert bool(sdk_payload.inexpressible(dealt, ())) is differs


def test_payload_that_the_client_has_is_a_304() -> None:
    one = running()
    path = f"/api/features/{key(Scope.SDK_READ)}"
    first = Client().get(path)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"].startswith("public, max-age=30,")
    again = Client().get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert Client().get(path).content == first.content
    assert Client().head(path).headers["ETag"] == etag
    lifecycle.kill(one, by=None, now=NOW)
    changed = Client().get(path, headers={"if-none-match": etag})
    assert (changed.status_code, changed.headers["ETag"] != etag) == (200, True)


def test_payload_is_for_pages_of_every_origin_and_without_credentials() -> None:
    running()
    path = f"/api/features/{key(Scope.SDK_READ)}"
    answer = Client().get(path, headers={"origin": "https://anywhere.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    preflight = Client().options(
        path, headers={"origin": "https://anywhere.example", "access-control-request-method": "GET"}
    )
    assert preflight.status_code == 204
    assert "if-none-match" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "scopes", [(Scope.EXPERIMENTS_READ,), tuple(Scope(one) for one in Scope if one != Scope.SDK_READ)]
)
def test_other_keys_do_not_open_the_payload(scopes: tuple[Scope, ...]) -> None:
    running()
    answer = Client().get(f"/api/features/{key(*scopes)}")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/permission-denied")


@pytest.mark.parametrize("text", ["sdk-unknown", "a%00b", "%F0%9F%98%80", "x" * 500])
def test_unknown_sdk_key_is_a_401_that_is_not_kept(text: str) -> None:
    answer = Client().get(f"/api/features/{text}")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/authentication-failed"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert Client().post(f"/api/features/{text}").status_code == 405


def test_revoked_sdk_key_is_refused(transactional_db: None) -> None:
    secret = key(Scope.SDK_READ)
    assert Client().get(f"/api/features/{secret}").status_code == 200
    row = ApiKey.objects.get(digest=ApiKey.digest_of(secret))
    row.revoked_at = NOW
    row.save()
    assert Client().get(f"/api/features/{secret}").status_code == 401


def test_sdk_key_begins_like_one_and_opens_nothing_else() -> None:
    running()
    assert key(Scope.SDK_READ).startswith("sdk-")
    caller = client(Scope.SDK_READ)
    for path in ("/api/v1/experiments", "/api/v1/experiments/llm_model_ab_test", "/api/v1/responses"):
        assert caller.get(path).status_code == 403
    body: dict[str, Any] = {"data": '{"unit": "a", "context": {"targetingKey": "a"}}'}
    for path in ("/api/v1/experiments/llm_model_ab_test/assign", "/ofrep/v1/evaluate/flags"):
        assert caller.post(path, content_type="application/json", **body).status_code == 403


def test_questions_are_read_only_when_asked_so() -> None:
    running()
    definition = catalogue.definitions()["llm_model_ab_test"]
    looked = allocation.decide([Asked(definition, "user-1", {})], now=NOW, is_read_only=True)[0]
    assert (looked.in_experiment, looked.assigned_at) == (True, None)
    assert allocation.assign("llm_model_ab_test", "user-1", now=NOW).variant == looked.variant


def test_payload_of_what_is_shipped_leaves_the_holdout_with_the_control(fetched: Any) -> None:
    layers.hold_out(3_000, by=None, now=NOW)
    experiment = lifecycle.stop(running(), by=None, now=NOW)
    lifecycle.ship(experiment, "claude-2", by=None, now=NOW)
    decisions = check_all(fetched(), experiment.key, many_units(400))
    assert {one.reason for one in decisions} == {Reason.HOLDOUT, Reason.SHIPPED}
