"""API keys and feedback tokens.

A key costs one SHA-256 and one round trip to Redis, which brings the key's record and counts the call at once. A changed
or revoked key leaves the cache at once. Without Redis keys are read from PostgreSQL and calls are not counted: facts
must be taken in even then.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog
from django.core import signing
from django.db.models import Q
from django.db.models.signals import post_save
from django.utils import timezone
from django_redis import get_redis_connection
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from feedback.models import ApiKey, Scope

log = structlog.get_logger(__name__)

TOKEN_PREFIX = "fbt_"  # noqa: S105 - not a secret
_TOKEN_SALT = "feedback-token"  # noqa: S105 - names the use of the signature
_TOKEN_CALLS_PER_MINUTE = 30
_CACHE_SECONDS = 30
_LAST_USED_SECONDS = 60
_REDIS_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Grant:
    """What a caller may do. `response_id` and `user_id` bind a feedback token; None in keys."""

    key_id: int
    scopes: frozenset[str]
    expires_at: float | None = None
    requests_per_minute: int | None = None
    response_id: str | None = None
    user_id: str | None = None
    is_authenticated: bool = True

    @property
    def is_token(self) -> bool:
        return self.response_id is not None


_known_digests: set[str] = set()
_last_used: dict[int, float] = {}
_state = {"redis_down_until": 0.0}


def _cache_name(digest: str) -> str:
    return f"triageops:key:{digest}"


def _counter_name(digest: str, at: float) -> str:
    return f"triageops:calls:{digest}:{int(at // 60)}"


def _as_grant(record: dict[str, Any]) -> Grant:
    return Grant(record["id"], frozenset(record["scopes"]), record["expires_at"], record["limit"])


def _record_of(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "scopes": key.scopes,
        "expires_at": key.expires_at.timestamp() if key.expires_at else None,
        "limit": key.requests_per_minute,
    }


def _look_up(digest: str, at: float) -> tuple[dict[str, Any] | None, int]:
    """The cached record of a key and how many calls it made this minute; raises RedisError."""
    connection = get_redis_connection("default")
    pipeline = connection.pipeline(transaction=False)
    pipeline.get(_cache_name(digest))
    # Only digests that were seen to be good get a counter: a flood of wrong keys must not fill Redis.
    is_counted = digest in _known_digests
    if is_counted:
        pipeline.incr(_counter_name(digest, at))
    answers = pipeline.execute()
    count = int(answers[1]) if is_counted else 0
    if count == 1:
        connection.expire(_counter_name(digest, at), 120)
    return (json.loads(answers[0]) if answers[0] else None), count


def _read(digest: str, now: datetime) -> dict[str, Any] | None:
    key = ApiKey.objects.usable(now).filter(digest=digest).first()
    return None if key is None else _record_of(key)


def grant_of(secret: str, now: datetime) -> tuple[Grant | None, int]:
    """What `secret` may do (None: no usable key), and its calls in this minute."""
    digest = ApiKey.digest_of(secret)
    at = now.timestamp()
    record, count = None, 0
    is_redis_up = time.monotonic() >= _state["redis_down_until"]
    try:
        if is_redis_up:
            record, count = _look_up(digest, at)
        if record is None:
            record = _read(digest, now)
            if record is not None and is_redis_up:
                get_redis_connection("default").set(
                    _cache_name(digest), json.dumps(record), ex=_CACHE_SECONDS
                )
    except (redis.RedisError, OSError):
        log.warning("authentication.redis_unavailable")
        _state["redis_down_until"] = time.monotonic() + _REDIS_RETRY_SECONDS
        record = record or _read(digest, now)
    if record is None or (record["expires_at"] is not None and record["expires_at"] <= at):
        _known_digests.discard(digest)
        return None, 0
    _known_digests.add(digest)
    return _as_grant(record), count


def forget(key: ApiKey) -> None:
    """Take a key out of the cache after it was changed or revoked."""
    try:
        get_redis_connection("default").delete(_cache_name(key.digest))
    except (redis.RedisError, OSError):
        log.warning("authentication.redis_unavailable")


def _forget_saved(sender: type[ApiKey], instance: ApiKey, **_: Any) -> None:
    forget(instance)


post_save.connect(_forget_saved, sender=ApiKey, dispatch_uid="feedback.forget_saved_key")


def _note_use(key_id: int, now: datetime) -> None:
    """Keep `last_used_at` to the minute, with one write a minute and process."""
    at = now.timestamp()
    if at - _last_used.get(key_id, 0.0) < _LAST_USED_SECONDS:
        return
    _last_used[key_id] = at
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=_LAST_USED_SECONDS))
    ApiKey.objects.filter(stale, pk=key_id).update(last_used_at=now)


def issue_token(
    grant: Grant, *, response_id: str, user_id: str | None, lifetime: timedelta, now: datetime
) -> tuple[str, datetime]:
    """A token that may post feedback on one response until it expires, and that moment."""
    expires_at = now + lifetime
    payload = {"k": grant.key_id, "r": response_id, "u": user_id, "e": int(expires_at.timestamp())}
    return TOKEN_PREFIX + signing.dumps(payload, salt=_TOKEN_SALT, compress=True), expires_at


def _count_token(token: str, at: float) -> int:
    name = _counter_name(hashlib.sha256(token.encode()).hexdigest()[:32], at)
    try:
        pipeline = get_redis_connection("default").pipeline(transaction=False)
        pipeline.incr(name)
        pipeline.expire(name, 120)
        return int(pipeline.execute()[0])
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


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`, or `X-API-Key: <key>`; also a feedback token in place of the key."""

    def authenticate(self, request: Request) -> tuple[Grant, Grant]:
        secret = self._secret(request)
        now = timezone.now()
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
        return grant, grant

    @staticmethod
    def _secret(request: Request) -> str:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return str(secret.strip())
        secret = request.META.get("HTTP_X_API_KEY", "")
        if not secret:
            raise AuthenticationFailed("Send your API key as “Authorization: Bearer <key>”.")
        return str(secret)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """The view says in `required_scopes` which scope each method needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        needed = view.required_scopes.get(request.method)
        if needed is None:
            return True  # the view has no such method and will say so
        self.message = f"This key lacks the scope “{needed}”; an admin can add it."
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
