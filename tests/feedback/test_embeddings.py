import io
import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from feedback import embeddings, rollups, spans, stats
from feedback.models import Embedding, EmbeddingCentroid, LedgerEntry, QualityMetric, Response
from feedback.shapes import ResponseShape
from tests.feedback.facts import BUCKET_AT, NOW, respond
from tests.feedback.test_ingest_api import Api, a_response, api  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(seconds=1)


@pytest.fixture(autouse=True)
def few(monkeypatch: Any) -> None:
    monkeypatch.setattr(embeddings, "LEARN_FROM", 4)


def embed(response_id: str, *embedding: float, embedding_model: str = "", **fields: Any) -> None:
    respond(response_id, embedding=[float(x) for x in embedding], embedding_model=embedding_model, **fields)


def learn(*, embedding_model: str = "") -> None:
    """A centroid in the direction (1, 0)."""
    for i in range(4):
        embed(f"{embedding_model}-first-{i}", 1.0 + i, 0.0, embedding_model=embedding_model)
    rollups.roll_up(NOW)


def read(*split_by: str, **changes: Any) -> list[stats.ClosedBucket]:
    values: dict[str, Any] = {"after": NOW - timedelta(days=1), "until": NOW + timedelta(days=9), "where": {}}
    return stats.closed_buckets(
        "embedding_distance", split_by=split_by, not_before=NOW - timedelta(days=1), **values | changes
    )


def test_embedding_is_stored_as_float32_together_with_its_response(api: Api) -> None:  # noqa: F811
    values = [0.1, -2, 3e38 / 10, 1e-40]
    first = api.post("/responses", a_response(embedding=values, embedding_model="text-3"))
    again = api.post("/responses", a_response(embedding=values, embedding_model="text-3"))
    assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (201, 201, "true")
    row = Embedding.objects.get()
    assert (row.response_id, row.embedding_model, row.dims) == ("r-1", "text-3", 4)
    assert np.frombuffer(row.vector, "<f4").tolist() == np.array(values, np.float32).tolist()
    other = api.post("/responses", a_response(embedding=[*values[:3], 0.0], embedding_model="text-3"))
    assert other.status_code == 409
    assert api.post("/responses", a_response()).status_code == 409
    assert Embedding.objects.count() == 1


def test_embeddings_of_a_bulk_call_are_stored_with_the_responses_that_are_new(api: Api) -> None:  # noqa: F811
    api.post("/responses", a_response(response_id="known", embedding=[1, 2]))
    items = [
        a_response(response_id="known", embedding=[1, 2]),
        a_response(response_id="new", embedding=[3, 4], embedding_model="m\\\t"),
        a_response(response_id="without"),
        a_response(response_id="zeros", embedding=[0, 0]),
        {"request_id": "q", "embedding": [5.5]},
    ]
    for _ in range(2):
        answer = api.post("/responses/bulk", items).json()
        assert [line["status"] for line in answer["results"]] == [
            "accepted", "accepted", "accepted", "rejected", "accepted",
        ]  # fmt: skip
    assert answer["results"][3]["problem"]["field"] == "embedding"
    rows = {row.response_id: np.frombuffer(row.vector, "<f4").tolist() for row in Embedding.objects.all()}
    assert rows == {"known": [1, 2], "new": [3, 4], answer["results"][4]["response_id"]: [5.5]}
    assert Embedding.objects.get(response_id="new").embedding_model == "m\\\t"


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        ("[0, 0.0, -0.0]", "all zeros"),
        ("[1e-60]", "all zeros"),
        ("[]", "length >= 1"),
        (json.dumps([1.0] * 4097), "length <= 4096"),
        ('[1, "2"]', "expected `float`, got `str`"),
        ("[1, null]", "expected `float`, got `null`"),
        ("[true]", "expected `float`, got `bool`"),
        ("[[1]]", "expected `float`, got `array`"),
        ("{}", "expected `array | null`, got `object`"),
        ('"AAAA"', "expected `array | null`, got `str`"),
        ("[1e39]", "expected `float` <= 1e+38"),
        ("[-1e39]", "expected `float` >= -1e+38"),
        ("[1e999]", "out of range"),
        ("[NaN]", "not valid JSON"),
        ("[Infinity]", "not valid JSON"),
    ],
)
@pytest.mark.parametrize("is_bulk", [False, True])
def test_embedding_that_has_no_direction_is_refused_with_the_fix(
    api: Api,  # noqa: F811
    embedding: str,
    said: str,
    is_bulk: bool,
) -> None:
    item = '{"response_id": "r-1", "embedding": %s}' % embedding  # noqa: UP031
    answer = api.post("/responses/bulk", f"[{item}]") if is_bulk else api.post("/responses", item)
    problem = answer.json()
    if is_bulk and answer.status_code == 200:
        problem = problem["results"][0]["problem"]
    assert problem["status"] == 400
    assert said.lower() in problem["detail"].lower()
    assert problem["fix"]
    if "JSON" not in said and said != "out of range":
        assert problem["field"].startswith("embedding")
    assert (Response.objects.count(), Embedding.objects.count()) == (0, 0)


def test_embedding_model_without_embedding_and_the_reserved_name_are_refused(api: Api) -> None:  # noqa: F811
    answer = api.post("/responses", a_response(embedding_model="m")).json()
    assert answer["field"] == "embedding_model"
    answer = api.post("/responses", a_response(metrics={"embedding_distance": 0.5})).json()
    assert answer["field"] == "metrics.embedding_distance"
    assert LedgerEntry.objects.filter(rejected_count__gt=0).exists()


def test_digest_of_a_response_without_embedding_is_as_before() -> None:
    item = ResponseShape(response_id="r", model="m", latency_seconds=1.5, metrics={"a": 1.0})
    assert item.digest() == "3d02f407e14845fd9278732d7ebce8ba"


def test_embedding_cannot_be_changed() -> None:
    embed("r1", 1, 2)
    with pytest.raises(DatabaseError, match="do not change"):
        Embedding.objects.update(dims=3)


def test_distance_is_measured_from_the_first_centroid_on_and_counted_once() -> None:
    learn()
    assert read() == []
    centroid = EmbeddingCentroid.objects.get()
    assert (centroid.n, centroid.dims, centroid.version) == (4, 2, 1)
    assert np.frombuffer(centroid.vector, "<f8").tolist() == [1.0, 0.0]
    for name, vector in {"same": (7, 0), "right": (0, 5), "opposite": (-1, 0), "diagonal": (3, 3)}.items():
        embed(name, *vector, model=name, attributes={"language": "en"}, now=LATER)
    respond("without", now=LATER)
    rollups.roll_up(NOW)
    rollups.roll_up(NOW)
    found = {bucket.group[0]: bucket.moments.mean for bucket in read("model")}
    assert found == {
        "same": 0.0, "right": 1.0, "opposite": 2.0, "diagonal": pytest.approx(1 - np.sqrt(0.5), rel=1e-12),
    }  # fmt: skip
    (whole,) = read()
    assert (whole.moments.n, whole.at) == (4, BUCKET_AT)
    assert whole.histogram["uniform:0.0:2.0"][201] == 1
    assert read(where={"language": "en"})[0].moments.n == 4
    assert not QualityMetric.objects.filter(kind="discovered").exists()


def test_distances_are_those_of_numpy_and_do_not_depend_on_the_batch(monkeypatch: Any) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(0.3, 1, (40, 64)).astype(np.float32)
    for i in range(20):
        embed(f"r{i}", *vectors[i])
    rollups.roll_up(NOW)
    for i in range(20, 40):
        embed(f"r{i}", *vectors[i], model=f"m{i}", now=LATER)
    monkeypatch.setattr(embeddings, "_CHUNK", 3)
    monkeypatch.setattr(spans, "BATCH", 7)
    rollups.roll_up(NOW)
    unit = vectors[:20] / np.linalg.norm(vectors[:20].astype(float), axis=1)[:, None]
    centre = unit.mean(axis=0)
    expected = {
        f"m{i}": 1 - vectors[i] @ centre / np.linalg.norm(vectors[i]) / np.linalg.norm(centre)
        for i in range(20, 40)
    }
    found = {bucket.group[0]: bucket.moments.mean for bucket in read("model")}
    assert found == pytest.approx(expected, abs=1e-6)
    rows = [np.ascontiguousarray(row).tobytes() for row in vectors]
    direction = centre / np.linalg.norm(centre)
    together = embeddings.cosine_distances(rows, direction).tolist()
    assert together == [embeddings.cosine_distances([row], direction)[0] for row in rows]


def test_other_sizes_and_models_have_centroids_of_their_own_and_are_never_an_error() -> None:
    learn()
    embed("other-size", 1, 2, 3, now=LATER)
    embed("other-model", 0, 1, embedding_model="m", now=LATER)
    rollups.roll_up(NOW)
    assert read() == []
    learn(embedding_model="m")
    embed("r1", 0, 1, embedding_model="m", now=LATER + timedelta(seconds=1))
    rollups.roll_up(NOW)
    assert [(bucket.moments.n, round(bucket.moments.mean, 3)) for bucket in read()] == [(1, 0.757)]
    assert EmbeddingCentroid.objects.count() == 2


def test_centroid_stays_until_it_is_learned_anew_and_a_rebuild_gives_the_same_numbers() -> None:
    learn()
    for i in range(8):
        embed(f"up{i}", 0, 1, model="first", now=LATER)
    rollups.roll_up(NOW)
    assert EmbeddingCentroid.objects.count() == 1
    out = io.StringIO()
    call_command("learn_centroid", stdout=out)
    assert "version 2" in out.getvalue()
    EmbeddingCentroid.objects.filter(version=2).update(learned_at=LATER + timedelta(seconds=1))
    embed("after", 0, 1, model="second", now=LATER + timedelta(seconds=1))
    rollups.roll_up(NOW)
    before = read("model")
    assert [(bucket.group[0], bucket.moments.n) for bucket in before] == [("first", 8), ("second", 1)]
    assert before[0].moments.mean == 1.0
    assert before[1].moments.mean == pytest.approx(1 - 8 / np.hypot(8, 4), rel=1e-12)
    rollups.rebuild()
    rollups.roll_up(NOW)
    assert read("model") == before


def test_centroid_of_too_few_embeddings_is_not_learned() -> None:
    embed("r1", 1, 0)
    rollups.roll_up(NOW)
    assert not EmbeddingCentroid.objects.exists()
    with pytest.raises(embeddings.TooFewEmbeddings):
        embeddings.relearn("", NOW)
    with pytest.raises(CommandError, match="needed"):
        call_command("learn_centroid", "--model", "")
    with pytest.raises(CommandError, match="No model"):
        call_command("learn_centroid")


def test_directions_that_cancel_out_measure_nothing() -> None:
    for i in range(4):
        embed(f"r{i}", (-1) ** i, 0)
    rollups.roll_up(NOW)
    embed("later", 1, 0, now=LATER)
    rollups.roll_up(NOW)
    assert EmbeddingCentroid.objects.count() == 1
    assert read() == []


def test_centroids_are_learned_from_the_newest_and_not_without_end(monkeypatch: Any) -> None:
    monkeypatch.setattr(embeddings, "LEARN_FROM_MOST", 5)
    monkeypatch.setattr(embeddings, "_CHUNK", 2)
    monkeypatch.setattr(embeddings, "MAX_CENTROIDS", 1)
    for i in range(9):
        embed(f"r{i}", *((1, 0) if i < 4 else (0, 1)))
        embed(f"x{i}", 1, 2, embedding_model="x")
    rollups.roll_up(NOW)
    centroid = EmbeddingCentroid.objects.get()
    assert (centroid.embedding_model, centroid.n) == ("", 5)
    assert np.frombuffer(centroid.vector, "<f8").tolist() == [0.0, 1.0]


def test_rollup_without_embeddings_asks_one_cheap_question_about_them() -> None:
    respond("r1")
    with CaptureQueriesContext(connection) as queries:
        rollups.roll_up(NOW)
    asked = [query["sql"] for query in queries if "FROM feedback_embedding" in query["sql"]]
    assert len([sql for sql in asked if "OFFSET" not in sql]) == 1
