"""How far a look is, for who waits for it; kept in the cache for a few minutes, and no part of any result."""

from dataclasses import dataclass
from datetime import datetime

import redis
from django.core.cache import cache

_KEEP_SECONDS = 300


@dataclass(frozen=True)
class Progress:
    """what: being done now. share: of the look, in [0, 1]."""

    what: str
    share: float
    since: str


def _name(experiment_id: int) -> str:
    return f"look:{experiment_id}"


class Reporter:
    """Tells about one look, from when it was asked for until it is done."""

    def __init__(self, experiment_id: int, since: datetime) -> None:
        self._id, self._since = experiment_id, since

    def __call__(self, what: str, share: float) -> None:
        _put(_name(self._id), {"what": what, "share": share, "since": self._since.isoformat()})

    def done(self) -> None:
        _put(_name(self._id), None)


def read(experiment_id: int) -> Progress | None:
    """None when nobody is at it, or nothing can be said."""
    try:
        found = cache.get(_name(experiment_id))
    except (redis.RedisError, OSError):
        return None
    return None if found is None else Progress(found["what"], found["share"], found["since"])


def _put(name: str, value: dict[str, object] | None) -> None:
    try:
        if value is None:
            cache.delete(name)
        else:
            cache.set(name, value, _KEEP_SECONDS)
    except (redis.RedisError, OSError):
        return
