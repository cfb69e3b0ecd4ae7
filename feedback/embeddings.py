"""How far the embeddings of responses point away from where they used to: one more metric of a response.

The distance is 1 - cos between a response's embedding and a centroid, the mean direction of embeddings seen before. A
centroid is learned once, when there are LEARN_FROM embeddings of one model and size, and then stays, so that distances
stay comparable; `relearn` makes a new version. An embedding is measured by the newest version that was learned when its
response was received, by our clock: live and after a rebuild alike. Not measured, and never an error: what was received
before the first centroid of its model and size.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import structlog
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Max

from feedback.cells import Emitted
from feedback.models import EmbeddingCentroid
from feedback.shapes import EMBEDDING_DISTANCE
from feedback.spans import Span
from triageops.stats.moments import FloatArray

log = structlog.get_logger(__name__)

BOUNDS = (0.0, 2.0)
LEARN_FROM = 500
LEARN_FROM_MOST = 10_000
"""The newest ones."""

MAX_CENTROIDS = 100
"""More models and sizes than this are not measured: somebody puts ids into names."""

_CHUNK = 500
_SHORTEST = 1e-6
"""Of a mean of directions: shorter, and they cancel out."""

Source = tuple[str, int]
"""embedding_model, dims"""


class TooFewEmbeddings(ValueError):
    """There is nothing to learn a centroid from."""


@dataclass(frozen=True)
class _Centroid:
    """One version; `direction` has length 1, or is None where the directions cancelled out."""

    version: int
    learned_at: datetime
    direction: FloatArray | None


def take_in(cursor: CursorWrapper, span: Span, emitted: Emitted, now: datetime) -> None:
    """Measure what the transactions of `span` brought, and learn the centroids that can be learned now."""
    cursor.execute(
        "SELECT response_id, embedding_model, dims FROM feedback_embedding"
        " WHERE tx >= %s::text::xid8 AND tx < %s::text::xid8 ORDER BY id",
        [span.start, span.end],
    )
    rows = cursor.fetchall()
    if not rows:
        return
    sources = {(row[1], row[2]) for row in rows}
    centroids = _centroids(sources)
    known = [row[0] for row in rows if (row[1], row[2]) in centroids]
    for start in range(0, len(known), _CHUNK):
        _measure(cursor, known[start : start + _CHUNK], centroids, emitted)
    for source in _learnable(cursor, sources - set(centroids)):
        _learn(cursor, source, now)


def relearn(embedding_model: str, now: datetime) -> list[EmbeddingCentroid]:
    """New versions from the newest embeddings of this model, for each size that has enough; raises TooFewEmbeddings.

    Distances before and after are not comparable: what watches them should start anew.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # No rollup measures meanwhile, so that each embedding is measured by the version that its time says.
        cursor.execute("SELECT 1 FROM feedback_rollupcursor WHERE name = 'facts' FOR UPDATE")
        sources = _enough(cursor, {(embedding_model, dims) for dims in _sizes(cursor, embedding_model)})
        if not sources:
            raise TooFewEmbeddings(f"{LEARN_FROM} embeddings of one size are needed.")
        return [_learn(cursor, source, now) for source in sources]


def _centroids(sources: Iterable[Source]) -> dict[Source, list[_Centroid]]:
    """All versions of these, newest first."""
    found: dict[Source, list[_Centroid]] = {}
    models = {source[0] for source in sources}
    for row in EmbeddingCentroid.objects.filter(embedding_model__in=models).order_by("-version"):
        vector = np.frombuffer(row.vector, dtype="<f8")
        length = float(np.sqrt((vector * vector).sum()))
        direction = vector / length if length >= _SHORTEST else None
        of_source = found.setdefault((row.embedding_model, row.dims), [])
        of_source.append(_Centroid(row.version, row.learned_at, direction))
    return found


def _measure(
    cursor: CursorWrapper,
    response_ids: Sequence[str],
    centroids: dict[Source, list[_Centroid]],
    emitted: Emitted,
) -> None:
    cursor.execute(
        "SELECT r.endpoint, r.model, r.provider, r.experiment, r.variant, r.attributes, r.occurred_at, r.received_at,"
        " e.embedding_model, e.dims, e.vector"
        " FROM feedback_embedding e JOIN feedback_response r USING (response_id)"
        " WHERE e.response_id = ANY(%s) ORDER BY e.id",
        [list(response_ids)],
    )
    by_centroid: dict[tuple[Source, int], tuple[FloatArray, list[tuple[Any, ...]]]] = {}
    for row in cursor.fetchall():
        source = (row[8], row[9])
        centroid = next((one for one in centroids[source] if one.learned_at <= row[7]), None)
        if centroid is not None and centroid.direction is not None:
            by_centroid.setdefault((source, centroid.version), (centroid.direction, []))[1].append(row)
    for direction, rows in by_centroid.values():
        distances = cosine_distances([row[10] for row in rows], direction)
        for row, distance in zip(rows, distances.tolist(), strict=True):
            values = {EMBEDDING_DISTANCE: distance}
            emitted.add(row[:5], msgspec.json.decode(row[5]), row[6], "", values, received_at=row[7])


def cosine_distances(vectors: Sequence[bytes], direction: FloatArray) -> FloatArray:
    """1 - cos of each vector (float32 bytes, not all zeros) and `direction` (of length 1), in [0, 2]."""
    matrix = _matrix(vectors)
    # Not by a matrix product, whose order of additions depends on the machine and on how many rows there are.
    cosines = (matrix * direction).sum(axis=1) / np.sqrt((matrix * matrix).sum(axis=1))
    distances: FloatArray = np.clip(1.0 - cosines, *BOUNDS)
    return distances


def _matrix(vectors: Sequence[bytes]) -> FloatArray:
    return np.stack([np.frombuffer(vector, dtype="<f4") for vector in vectors]).astype(np.float64)


def _learnable(cursor: CursorWrapper, sources: set[Source]) -> list[Source]:
    """Those that have enough embeddings by now, as long as there is room for their centroids."""
    if not sources:
        return []
    room = MAX_CENTROIDS - EmbeddingCentroid.objects.values("embedding_model", "dims").distinct().count()
    return _enough(cursor, sources)[: max(0, room)]


def _enough(cursor: CursorWrapper, sources: set[Source]) -> list[Source]:
    cursor.execute(
        """
        SELECT wanted.embedding_model, wanted.dims
        FROM unnest(%s::text[], %s::int[]) AS wanted(embedding_model, dims) CROSS JOIN LATERAL (
            SELECT count(*) FROM (
                SELECT 1 FROM feedback_embedding e
                WHERE e.embedding_model = wanted.embedding_model AND e.dims = wanted.dims LIMIT %s
            ) first
        ) AS found(n)
        WHERE found.n >= %s
        """,
        [[source[0] for source in sources], [source[1] for source in sources], LEARN_FROM, LEARN_FROM],
    )
    return sorted(cursor.fetchall())


def _sizes(cursor: CursorWrapper, embedding_model: str) -> list[int]:
    """The dims that this model's embeddings have, by one look into the index for each."""
    cursor.execute(
        """
        WITH RECURSIVE size(dims) AS (
            SELECT min(dims) FROM feedback_embedding WHERE embedding_model = %(model)s
            UNION ALL
            SELECT (SELECT min(e.dims) FROM feedback_embedding e WHERE e.embedding_model = %(model)s AND e.dims > size.dims)
            FROM size WHERE size.dims IS NOT NULL
        )
        SELECT dims FROM size WHERE dims IS NOT NULL
        """,
        {"model": embedding_model},
    )
    return [row[0] for row in cursor.fetchall()]


def _learn(cursor: CursorWrapper, source: Source, now: datetime) -> EmbeddingCentroid:
    """A new version: the mean of the newest directions, read in pieces."""
    total, n, newest = np.zeros(source[1]), 0, now
    for vectors, received_at in _newest_first(cursor, source):
        matrix = _matrix(vectors)
        total += (matrix / np.sqrt((matrix * matrix).sum(axis=1))[:, None]).sum(axis=0)
        n += len(vectors)
        # What was received by then may be counted already, without this version.
        newest = max(newest, received_at + timedelta(microseconds=1))
    version = EmbeddingCentroid.objects.filter(embedding_model=source[0], dims=source[1]).aggregate(
        last=Max("version", default=0)
    )["last"]
    centroid = EmbeddingCentroid.objects.create(
        embedding_model=source[0],
        dims=source[1],
        version=version + 1,
        vector=(total / n).astype("<f8").tobytes(),
        n=n,
        learned_at=newest,
    )
    log.info("centroid.learned", embedding_model=source[0], dims=source[1], version=centroid.version, n=n)
    return centroid


def _newest_first(cursor: CursorWrapper, source: Source) -> Iterator[tuple[list[bytes], datetime]]:
    """Vectors of at most _CHUNK embeddings, and when the last of them was received."""
    before, left = 2**63 - 1, LEARN_FROM_MOST
    while left:
        cursor.execute(
            "SELECT e.id, e.vector, r.received_at FROM feedback_embedding e JOIN feedback_response r USING (response_id)"
            " WHERE e.embedding_model = %s AND e.dims = %s AND e.id < %s ORDER BY e.id DESC LIMIT %s",
            [*source, before, min(left, _CHUNK)],
        )
        rows = cursor.fetchall()
        if not rows:
            return
        yield [row[1] for row in rows], max(row[2] for row in rows)
        before, left = rows[-1][0], left - len(rows)
