"""Copies in Redis of what was stored, which never changes; without Redis nobody misses them but PostgreSQL."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import redis
import structlog
from django.db import connection
from django_redis import get_redis_connection

from experiments.allocation.waiting import Row, Waiting
from experiments.placement import Definition, Stored

log = structlog.get_logger(__name__)

_KEEP_SECONDS = 86_400
_RETRY_SECONDS = 1.0
_state = {"down_until": 0.0}


def _encoded(one: Waiting) -> str:
    if one.row is None:
        raise AssertionError("only what is stored is remembered")
    stored = one.row.stored
    arm = one.asked.definition.arms[stored.arm]
    at = one.row.assigned_at.timestamp()
    return f"{arm.id} {stored.bucket} {stored.epoch} {stored.generation} {at!r}"


def decoded(text: bytes, definition: Definition) -> Row | None:
    arm_id, bucket, epoch, generation, at = text.split()
    position = next((i for i, arm in enumerate(definition.arms) if arm.id == int(arm_id)), None)
    if position is None:
        return None
    stored = Stored(position, int(bucket), int(epoch), int(generation))
    return Row(stored, datetime.fromtimestamp(float(at), tz=UTC))


def cached(names: Sequence[str]) -> list[bytes | None]:
    if time.monotonic() < _state["down_until"]:
        return [None] * len(names)
    try:
        client = get_redis_connection("default")
        return [client.get(names[0])] if len(names) == 1 else list(client.mget(names))
    except (redis.RedisError, OSError):
        _note_down()
        return [None] * len(names)


def remember(found: Sequence[Waiting]) -> None:
    """Keep copies of what is committed; inside a transaction that could still be undone nothing is kept."""
    if not found or connection.in_atomic_block or time.monotonic() < _state["down_until"]:
        return
    try:
        client = get_redis_connection("default")
        if len(found) == 1:
            client.set(found[0].name, _encoded(found[0]), ex=_KEEP_SECONDS)
            return
        pipe = client.pipeline(transaction=False)
        for one in found:
            pipe.set(one.name, _encoded(one), ex=_KEEP_SECONDS)
        pipe.execute()
    except (redis.RedisError, OSError):
        _note_down()


def _note_down() -> None:
    log.warning("assignment.redis_unavailable")
    _state["down_until"] = time.monotonic() + _RETRY_SECONDS
