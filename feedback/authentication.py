"""API keys and feedback tokens.

A key costs one SHA-256. A process asks Redis for the key's record and for a number of calls in advance, at most once a
second, so most calls ask nobody, a changed or revoked key is known within a second, and the limit of calls a minute
still holds over all processes. Without Redis keys are read from PostgreSQL and calls are not counted: facts must be
taken in even then.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
import structlog
from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.db.models.signals import post_save
from django.utils import timezone
from django_redis import get_redis_connection
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from feedback.models import ApiKey, Scope

log = structlog.get_logger(__name__)

TOKEN_PREFIX = "fbt_"  # noqa: S105 - not a secret
_TOKEN_SALT = "feedback-token"  # noqa: S105 - names the use of the signature
_TOKEN_CALLS_PER_MINUTE = 30
_CACHE_SECONDS = 5
_LAST_USED_SECONDS = 60
_REDIS_RETRY_SECONDS = 1.0
_LEASE_CALLS = 100
_LEASE_SECONDS = 1.0


@dataclass(frozen=True)
class Grant:
    """What a caller may do. `response_id`, `user_id` and `source` bind a feedback token."""

    key_id: int
    scopes: frozenset[str]
    expires_at: float | None = None
    requests_per_minute: int | None = None
    response_id: str | None = None
    user_id: str | None = None
    source: str = "web"
    is_authenticated: bool = True

    @property
    def is_token(self) -> bool:
        return self.response_id is not None


@dataclass
class _Lease:
    """Calls that this process may let through without asking Redis again, and until when (monotonic seconds)."""

    grant: Grant
    count: int
    remaining: int
    minute: int
    until: float


_leases: dict[str, _Lease] = {}
_last_used: dict[int, float] = {}
_state = {"redis_down_until": 0.0}


def _cache_name(digest: str) -> str:
    return f"triageops:key:{digest}"


def _counter_name(digest: str, minute: int) -> str:
    return f"triageops:calls:{digest}:{minute}"


def _as_grant(record: dict[str, Any]) -> Grant:
    return Grant(record["id"], frozenset(record["scopes"]), record["expires_at"], record["limit"])


def _record_of(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "scopes": key.scopes,
        "expires_at": key.expires_at.timestamp() if key.expires_at else None,
        "limit": key.requests_per_minute,
    }


def _read(digest: str, now: datetime) -> dict[str, Any] | None:
    key = ApiKey.objects.usable(now).filter(digest=digest).first()
    return None if key is None else _record_of(key)


def _calls_at_once(grant: Grant) -> int:
    """How many calls a lease is for: few enough that the limit is kept to about one in a hundred."""
    limit = grant.requests_per_minute
    return _LEASE_CALLS if limit is None else max(1, min(_LEASE_CALLS, limit // 100))


def _count(digest: str, minute: int, calls: int) -> int:
    """Count calls of one minute over all processes; how many there were before."""
    connection = get_redis_connection("default")
    total = int(connection.incrby(_counter_name(digest, minute), calls))
    if total == calls:
        connection.expire(_counter_name(digest, minute), 120)
    return total - calls


def _cached(digest: str, now: datetime) -> dict[str, Any] | None:
    """The record of a key, through Redis; raises RedisError."""
    connection = get_redis_connection("default")
    found = connection.get(_cache_name(digest))
    if found is not None:
        return dict(json.loads(found))
    record = _read(digest, now)
    if record is not None:
        connection.set(_cache_name(digest), json.dumps(record), ex=_CACHE_SECONDS)
    return record


def _lease(digest: str, now: datetime, former: _Lease | None) -> _Lease | None:
    """A fresh lease, with the calls that are left of the former; None: no such key.

    A wrong key leaves nothing behind, so a flood of them fills no memory.
    """
    minute = int(now.timestamp() // 60)
    is_same_minute = former is not None and former.minute == minute
    count, calls = (former.count, former.remaining) if former is not None and is_same_minute else (0, 0)
    record: dict[str, Any] | None = None
    try:
        if time.monotonic() < _state["redis_down_until"]:
            raise redis.ConnectionError
        record = _cached(digest, now)
        if record is not None and calls <= 0:
            calls = _calls_at_once(_as_grant(record))
            count = _count(digest, minute, calls)
    except (redis.RedisError, OSError):
        log.warning("authentication.redis_unavailable")
        _state["redis_down_until"] = time.monotonic() + _REDIS_RETRY_SECONDS
        record, count, calls = record or _read(digest, now), 0, _LEASE_CALLS
    if record is None:
        return None
    return _Lease(_as_grant(record), count, calls, minute, time.monotonic() + _LEASE_SECONDS)


def grant_of(secret: str, now: datetime) -> tuple[Grant | None, int]:
    """What `secret` may do (None: no usable key), and which call of its minute this is."""
    digest = ApiKey.digest_of(secret)
    lease = _leases.get(digest)
    is_good = lease is not None and lease.remaining > 0 and time.monotonic() < lease.until
    if lease is None or not is_good or lease.minute != int(now.timestamp() // 60):
        lease = _lease(digest, now, lease)
        if lease is None:
            _leases.pop(digest, None)
            return None, 0
        _leases[digest] = lease
    # Two threads may take the same number; the limit is no more exact than that.
    lease.remaining -= 1
    lease.count += 1
    if lease.grant.expires_at is not None and lease.grant.expires_at <= now.timestamp():
        return None, 0
    return lease.grant, lease.count


def forget(key: ApiKey) -> None:
    """Take a key out of the cache after it was changed or revoked; other processes' leases end within a second."""
    _leases.pop(key.digest, None)
    try:
        get_redis_connection("default").delete(_cache_name(key.digest))
    except (redis.RedisError, OSError):
        log.warning("authentication.redis_unavailable")


def _forget_saved(sender: type[ApiKey], instance: ApiKey, **_: Any) -> None:
    # Before the commit another process would read, and keep, what the key was until then.
    transaction.on_commit(lambda: forget(instance))


post_save.connect(_forget_saved, sender=ApiKey, dispatch_uid="feedback.forget_saved_key")


def _note_use(key_id: int, now: datetime) -> None:
    """Keep `last_used_at` to the minute, with one write a minute and process."""
    at = now.timestamp()
    if at - _last_used.get(key_id, 0.0) < _LAST_USED_SECONDS:
        return
    _last_used[key_id] = at
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=_LAST_USED_SECONDS))
    ApiKey.objects.filter(stale, pk=key_id).update(last_used_at=now)


def issue_token(grant: Grant) -> tuple[str, datetime]:
    """A token for a grant that is bound to a response, a user and a source; and when it expires."""
    expires_at = datetime.fromtimestamp(int(grant.expires_at or 0), tz=UTC)
    payload = {
        "k": grant.key_id, "r": grant.response_id, "u": grant.user_id, "s": grant.source,
        "e": int(expires_at.timestamp()),
    }  # fmt: skip
    return TOKEN_PREFIX + signing.dumps(payload, salt=_TOKEN_SALT, compress=True), expires_at


def _count_token(token: str, at: float) -> int:
    try:
        return _count(hashlib.sha256(token.encode()).hexdigest()[:32], int(at // 60), 1) + 1
    except (redis.RedisError, OSError):
        return 0


def grant_of_token(token: str, now: datetime) -> tuple[Grant, int]:
    """What a feedback token may do; raises AuthenticationFailed when it is forged, expired or its key is gone."""
    try:
        payload = signing.loads(token.removeprefix(TOKEN_PREFIX), salt=_TOKEN_SALT)
    except signing.BadSignature:
        raise AuthenticationFailed("This feedback token is not one of ours.") from None
    if payload["e"] <= now.timestamp():
        raise AuthenticationFailed("This feedback token has expired; ask your server for a new one.")
    if not ApiKey.objects.usable(now).filter(pk=payload["k"]).exists():
        raise AuthenticationFailed("The API key that issued this feedback token was revoked.")
    scopes = frozenset({Scope.FEEDBACK_WRITE.value})
    grant = Grant(
        payload["k"], scopes, payload["e"], _TOKEN_CALLS_PER_MINUTE, payload["r"], payload["u"] or ""
    )
    return grant, _count_token(token, now.timestamp())


def grant_in(request: Request) -> Grant:
    """The grant of an authenticated request."""
    grant = request.auth
    if not isinstance(grant, Grant):
        raise AuthenticationFailed("Send your API key as “Authorization: Bearer <key>”.")
    return grant


def secret_in(headers: Mapping[str, Any]) -> str:
    """The key of a request, from its META; raises AuthenticationFailed where there is none."""
    scheme, _, secret = headers.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return str(secret.strip())
    secret = headers.get("HTTP_X_API_KEY", "")
    if not secret:
        raise AuthenticationFailed("Send your API key as “Authorization: Bearer <key>”.")
    return str(secret)


def admitted(secret: str, now: datetime) -> Grant:
    """What a key or a feedback token may do; counts the call. Raises AuthenticationFailed or Throttled."""
    if secret.startswith(TOKEN_PREFIX):
        grant, count = grant_of_token(secret, now)
    else:
        found, count = grant_of(secret, now)
        if found is None:
            raise AuthenticationFailed("This API key does not exist, has expired or was revoked.")
        grant = found
    if grant.requests_per_minute is not None and count > grant.requests_per_minute:
        raise Throttled(wait=60 - now.timestamp() % 60)
    _note_use(grant.key_id, now)
    return grant


def check_scope(grant: Grant, needed: Scope) -> None:
    """Raises PermissionDenied."""
    if needed not in grant.scopes:
        raise PermissionDenied(_lacking(needed))


def _lacking(scope: str) -> str:
    return f"This key lacks the scope “{scope}”; an admin can add it."


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`, or `X-API-Key: <key>`; also a feedback token in place of the key."""

    def authenticate(self, request: Request) -> tuple[Grant, Grant]:
        grant = admitted(secret_in(request.META), timezone.now())
        return grant, grant

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """The view says in `required_scopes` which scope each method needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        needed = view.required_scopes.get(method)
        if needed is None:
            # The view has no such method and will say so; one that has it without a scope answers nobody.
            return not hasattr(view, str(method).lower()) or method == "OPTIONS"
        self.message = _lacking(needed)
        return needed in grant_in(request).scopes


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "feedback.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, or a feedback token where only feedback is posted.",
        }
